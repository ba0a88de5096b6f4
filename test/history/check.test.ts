import { describe, expect, test } from '@jest/globals';
import { random, type Random } from '../../operator/placement/fixtures.ts';
import { checkHistory, readsOf } from './check.ts';
import { explain, explainAll } from './explain.ts';
import { TORN, type Operation, type Read, type Write } from './history.ts';

const write = (value: number, invokedMs: number, completedMs?: number, more: Partial<Write> = {}): Write => ({
  kind: 'write',
  client: 'c1',
  block: 0,
  value,
  invokedMs,
  completedMs,
  ...more,
});
const read = (value: number, invokedMs: number, completedMs = invokedMs + 1): Read => ({
  kind: 'read',
  client: 'c2',
  block: 0,
  value,
  invokedMs,
  completedMs,
});
const kinds = (...operations: Operation[]): string[] => checkHistory(operations).map(({ kind }) => kind);

describe('a history is explained', () => {
  test.each<[string, Operation[]]>([
    ['nothing at all', []],
    ['a block that was never written', [read(0, 5)]],
    ['the last acknowledged write', [write(1, 0, 1), write(2, 2, 3), read(2, 4)]],
    ['a write that was never acknowledged and is not there', [write(1, 0, 1), write(2, 2), read(1, 9)]],
    ['a write that was never acknowledged and is there', [write(1, 0, 1), write(2, 2), read(2, 9), read(2, 11)]],
    ['a write that was never acknowledged and comes late', [write(1, 0, 1), write(2, 2), read(1, 5), read(2, 9)]],
    ['two writes at a time, either order', [write(1, 0, 5), write(2, 1, 4), read(1, 6), read(1, 8)]],
    ['a read during a write sees either', [write(1, 0, 9), read(0, 1), read(1, 4)]],
  ])('%s', (_name, operations) => {
    expect(checkHistory(operations)).toEqual([]);
  });

  test('from what a block held before', () => {
    expect(checkHistory([read(7, 1)], { initial: new Map([[0, 7]]) })).toEqual([]);
  });
});

describe('a violation', () => {
  test('a lost write: the write and the read are the evidence', () => {
    const [violation] = checkHistory([write(1, 0, 1), write(2, 1001, 1003), read(2, 1200), read(1, 3000)]);
    expect(violation).toMatchObject({ kind: 'lost', block: 0 });
    expect(explain(violation as NonNullable<typeof violation>)).toBe(
      [
        'block 0 lost an acknowledged write: a later read gave an older value',
        '  0.000 s – 0.001 s            c1: wrote 1, acknowledged',
        '  1.001 s – 1.003 s            c1: wrote 2, acknowledged',
        '  3.000 s – 3.001 s            c2: read 1',
      ].join('\n'),
    );
  });

  test('a first write that is lost', () => {
    expect(checkHistory([write(1, 0, 1), read(0, 2)])).toMatchObject([
      { kind: 'lost', evidence: [{ value: 1 }, { value: 0 }] },
    ]);
  });

  test('a torn block, a value from nowhere, and one from the future', () => {
    expect(kinds(write(1, 0, 1), read(TORN, 2))).toEqual(['torn']);
    expect(kinds(write(1, 0, 1), read(3, 2))).toEqual(['from-nowhere']);
    expect(kinds(write(1, 5, 6), read(1, 2))).toEqual(['from-nowhere']);
  });

  test('a write that was seen once and is gone', () => {
    expect(kinds(write(1, 0, 1), write(2, 2), read(2, 4), read(1, 6))).toEqual(['unseen']);
  });

  test('a write of a client that was known to be gone', () => {
    const late = write(2, 2, undefined, { goneMs: 5 });
    expect(kinds(write(1, 0, 1), late, read(2, 9))).toEqual([]);
    expect(kinds(write(1, 0, 1), late, read(1, 6), read(2, 9))).not.toEqual([]);
  });

  test('is told for each block, the plainest first', () => {
    const other = { block: 3 };
    const operations = [
      write(1, 0, 1),
      write(2, 2),
      read(2, 4),
      read(1, 6),
      { ...write(1, 0, 1), ...other },
      ...readsOf([1, 0, 0, 0], 'c1', 9, 10),
    ];
    const violations = checkHistory(operations);
    expect(violations.map(({ block, kind }) => [block, kind])).toEqual([
      [3, 'lost'],
      [0, 'unseen'],
    ]);
    expect(explainAll(violations, undefined, 1)).toContain('… and 1 more blocks');
    expect(explainAll([])).toBe('every read is explained by the writes before it');
  });

  test('bad input is refused', () => {
    expect(() => checkHistory([write(1, 0, 1), write(1, 2, 3)])).toThrow('block 0: the value 1 is written twice');
    expect(() => checkHistory([read(0, 5, 4)])).toThrow('it ends before it begins');
  });
});

/** Whether some order of the operations, in which each comes after those that ended before it began, is a register's. */
function hasOrder(operations: readonly Operation[]): boolean {
  const end = (o: Operation): number => o.completedMs ?? (o as Write).goneMs ?? Infinity;
  const go = (left: readonly Operation[], value: number): boolean => {
    if (left.every((o) => o.kind === 'write' && o.completedMs === undefined)) return true;
    return left.some((next) => {
      if (left.some((other) => other !== next && end(other) < next.invokedMs && mustHappen(other))) return false;
      const rest = left.filter((o) => o !== next && !(end(o) < next.invokedMs));
      if (next.kind === 'write') return go(rest, next.value);
      return next.value === value && go(rest, value);
    });
  };
  const mustHappen = (o: Operation): boolean => o.kind === 'read' || o.completedMs !== undefined;
  return go(operations, 0);
}

function randomHistory(dice: Random): Operation[] {
  const at = (): number => dice.integer(12);
  const writes = Array.from({ length: 1 + dice.integer(3) }, (_, i) => {
    const begin = at();
    const how = dice.integer(4);
    if (how === 0) return write(i + 1, begin);
    if (how === 1) return write(i + 1, begin, undefined, { goneMs: begin + dice.integer(6) });
    return write(i + 1, begin, begin + dice.integer(5));
  });
  const reads = Array.from({ length: dice.integer(4) }, () => {
    const begin = at();
    return read(dice.integer(writes.length + 1), begin, begin + dice.integer(4));
  });
  return [...writes, ...reads];
}

test('agrees with a search through all orders, on 20000 random histories', () => {
  const dice = random(20261121);
  let right = 0;
  for (let round = 0; round < 20_000; round += 1) {
    const operations = randomHistory(dice);
    const good = hasOrder(operations);
    if (good) right += 1;
    const found = checkHistory(operations);
    if ((found.length === 0) !== good)
      throw new Error(`order: ${good}, found ${JSON.stringify({ found, operations }, null, 1)}`);
    // What is shown as evidence is wrong by itself, or says what it needs beside it: the value before the first operation.
    for (const { evidence } of found)
      if (hasOrder(evidence)) throw new Error(`no proof: ${JSON.stringify({ evidence, operations }, null, 1)}`);
  }
  expect(right).toBeGreaterThan(2000);
  expect(right).toBeLessThan(18_000);
});

test('a register under concurrent clients is always explained, and 200,000 operations take less than a few seconds', () => {
  const dice = random(7);
  const operations: Operation[] = [];
  const held = new Map<number, number>();
  for (let step = 0; step < 200_000; step += 1) {
    const block = dice.integer(500);
    const took = { block, invokedMs: step - dice.integer(40), completedMs: step + dice.integer(40) };
    if (dice.integer(3) === 0) operations.push({ ...read(held.get(block) ?? 0, 0), ...took });
    else {
      held.set(block, step + 1);
      operations.push({ ...write(step + 1, 0, 1), ...took });
    }
  }
  const startedMs = performance.now();
  expect(checkHistory(operations)).toEqual([]);
  expect(performance.now() - startedMs).toBeLessThan(5000);
});
