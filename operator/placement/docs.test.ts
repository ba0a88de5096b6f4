import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { GIB, node, pool, request, zones } from './fixtures.ts';
import { formatPlacement } from './format.ts';
import { parsePlacement, PlacementSyntaxError } from './parse.ts';
import { place } from './place.ts';
import type { CandidateNode, PlaceRequest } from './request.ts';
import { toSpec } from './spec.ts';

const here = new URL('./', import.meta.url);
const page = readFileSync(new URL('../../docs/reference/placement.md', here), 'utf8');

/** The contents of the page's fenced blocks of one kind. */
function blocks(kind: string): readonly string[] {
  return [...page.matchAll(/^```(\S+)\n([\s\S]*?)^```$/gm)]
    .filter((match) => match[1] === kind)
    .map((match) => match[2] ?? '');
}

describe('docs/reference/placement.md', () => {
  const examples = blocks('placement').flatMap((block) => block.trimEnd().split('\n'));

  test('has examples', () => {
    expect(examples.length).toBeGreaterThan(8);
    expect(blocks('placement-error').length).toBeGreaterThan(3);
    expect(blocks('placement-refusal').length).toBeGreaterThan(4);
  });

  test.each(examples)('the example %j is valid and canonical', (example) => {
    expect(formatPlacement(parsePlacement(example))).toBe(example);
  });

  test.each(blocks('placement-error'))('the error is what the parser says: %s', (display) => {
    const source = (display.split('\n')[1] ?? '').slice(2);
    let found = 'no error';
    try {
      parsePlacement(source);
    } catch (error) {
      found = error instanceof PlacementSyntaxError ? error.display : String(error);
    }
    expect(`${found}\n`).toBe(display);
  });

  test('the structure shown is that of the expression shown beside it', () => {
    const shown = blocks('yaml').map((block) => load(block));
    expect(shown).toEqual([{ spec: { placement: toSpec(parsePlacement(examples[0] ?? '')) } }]);
  });

  test('every refusal on the page is one that the engine gives', () => {
    const given = refusals().map((of) => {
      const result = place(of);
      return result.ok ? 'placed' : result.message;
    });
    expect(blocks('placement-refusal').map((block) => block.trimEnd())).toEqual(given);
  });
});

const cordoned = (name: string, zone: string): CandidateNode => node(name, { zone }, { cordoned: true });

/** The situations that the page describes, in its order. */
function refusals(): readonly PlaceRequest[] {
  const full = node('full', { zone: 'd' }, { pools: [pool({ usedBytes: 10 * GIB })] });
  const twelve: readonly CandidateNode[] = [
    ...zones(...Array.from({ length: 8 }, () => 'a')),
    ...['c1', 'c2', 'c3'].map((name) => cordoned(name, 'b')),
    full,
  ];
  return [
    request('distinct(zone)', twelve, { members: [{ replica: 'a', node: 'n0', labels: { zone: 'a' } }] }),
    request('distinct(zonee)', [node('n1', { zone: 'a', rack: 'r1', media: 'ssd' })]),
    request('in(media, nvme)', [node('n1', { media: 'hdd' }), node('n2', { media: 'ssd' })]),
    request('distinct(zone)', zones('a', 'a', 'b', 'b'), { count: 3 }),
    request('distinct(zone)', [...zones('a', 'a', 'b'), cordoned('c1', 'c')], { count: 3 }),
    request(
      'distinct(zone); distinct(rack)',
      [
        ['a', 'r1'],
        ['a', 'r2'],
        ['a', 'r3'],
        ['b', 'r1'],
        ['c', 'r1'],
      ].map(([zone = '', rack = ''], i) => node(`n${i}`, { zone, rack })),
      { count: 3 },
    ),
  ];
}

test('the engine is pure: no file but the tests imports anything from outside this folder', () => {
  const files = readdirSync(here).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'));
  const imports = files.flatMap((name) =>
    [...readFileSync(new URL(name, here), 'utf8').matchAll(/\bfrom '([^']+)'/g)].map((match) => match[1] ?? ''),
  );
  expect(imports.length).toBeGreaterThan(20);
  expect(imports.filter((path) => !/^\.\/[a-z-]+\.ts$/.test(path))).toEqual([]);
});
