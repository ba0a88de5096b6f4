import { expect, test } from '@jest/globals';
import { GIB, node, pool, request } from './fixtures.ts';
import { place } from './place.ts';
import type { PlaceRequest } from './request.ts';

const nodes = [
  node('n1', { zone: 'a', rack: 'r1', media: 'nvme' }, { pools: [pool({ usedBytes: 1 * GIB })] }),
  node('n2', { zone: 'b', rack: 'r1', media: 'nvme' }, { pools: [pool({ usedBytes: 8.2 * GIB })] }),
  node('n3', { zone: 'b', rack: 'r2', media: 'ssd' }, { pools: [pool({ provisionedBytes: 13 * GIB })] }),
];

function why(of: PlaceRequest): Record<string, readonly string[]> {
  const result = place(of);
  return result.ok
    ? Object.fromEntries(result.choices.map((choice) => [choice.node, choice.why]))
    : { refused: [result.message] };
}

test('every rule that spoke for a node is said once, in the order of the rules', () => {
  const of = request(
    'distinct(zone); in(media, nvme); prefer distinct(zone); prefer near(client); prefer spread(capacity)',
    nodes,
    {
      count: 2,
      clientLabels: { zone: 'b', rack: 'r9' },
    },
  );
  expect(why(of)).toEqual({
    n1: ['zone a is not used by another replica', 'media is nvme', '9.0 GiB free, most of the 2 candidates'],
    n2: [
      'zone b is not used by another replica',
      'media is nvme',
      'same zone as the client node',
      '1.8 GiB free, 2nd of the 2 candidates',
    ],
  });
});

test('what a goal could not get is said as well', () => {
  const of = request('prefer distinct(rack); prefer spread(capacity)', nodes, { count: 3 });
  expect(why(of)).toEqual({
    n1: ['rack r1 is shared with 1 of 2 other replicas', '9.0 GiB free, most of the 3 candidates'],
    n2: ['rack r1 is shared with 1 of 2 other replicas', '1.8 GiB free, 2nd of the 3 candidates'],
    n3: ['rack r2 is not used by another replica', 'promised 3.0 GiB more than it has, 3rd of the 3 candidates'],
  });
});

test.each<[string, string, Partial<PlaceRequest>, readonly string[]]>([
  [
    'same, with a member',
    'same(zone)',
    { members: [{ replica: 'a', node: 'x', labels: { zone: 'a' } }] },
    ['zone a is shared with 1 other replica'],
  ],
  [
    'same, with several',
    'same(zone)',
    { members: ['x', 'y'].map((name) => ({ replica: name, node: name, labels: { zone: 'a' } })) },
    ['zone a is shared with all 2 other replicas'],
  ],
  ['an existing label', 'exists(media); in(zone, a)', {}, ['has media', 'zone is a']],
  ['no other replica and no goal', 'in(zone, a); distinct(zone)', {}, ['zone is a']],
  ['the only one', 'notIn(zone, b)', {}, ['the only storage node that fits']],
])('%s', (_, placement, fields, expected) => {
  expect(why(request(placement, nodes, fields))).toEqual({ n1: expected });
});

test('without rules, the reason is that the node fits', () => {
  expect(Object.values(why(request('', nodes)))).toEqual([['fits, as do 2 other storage nodes']]);
});

test('among over-provisioned pools the one that promised least comes first', () => {
  const over = [13, 12].map((gib) => node(`n${gib}`, {}, { pools: [pool({ provisionedBytes: gib * GIB })] }));
  expect(why(request('prefer spread(capacity)', over))).toEqual({
    n12: ['promised 2.0 GiB more than it has, least of the 2 candidates'],
  });
});
