import { describe, expect, test } from '@jest/globals';
import { GIB, node, pool, request, zones } from './fixtures.ts';
import { place } from './place.ts';
import type { CandidateNode, PlaceRequest } from './request.ts';

function message(of: PlaceRequest): string {
  const result = place(of);
  return result.ok ? `placed on ${result.choices.map((choice) => choice.node).join(', ')}` : result.message;
}

const full: Partial<CandidateNode> = { pools: [pool({ usedBytes: 10 * GIB })] };

describe('no node fits', () => {
  test('the message counts the nodes that each reason removed, most first', () => {
    const nodes = [
      ...zones('a', 'a', 'a', 'a', 'a', 'a', 'a', 'a'),
      ...['c1', 'c2', 'c3'].map((name) => node(name, { zone: 'b' }, { cordoned: true })),
      node('f1', { zone: 'c' }, full),
    ];
    const members = [{ replica: 'a', node: 'elsewhere', labels: { zone: 'a' } }];
    const result = place(request('distinct(zone)', nodes, { members }));
    expect(result).toMatchObject({
      ok: false,
      message: '0 of 12 storage nodes fit: 8 share a zone with replica a, 3 are cordoned, 1 is full',
      removed: [
        { filter: 'members', reason: 'share a zone with replica a', count: 8 },
        { filter: 'cordoned', reason: 'are cordoned', nodes: ['c1', 'c2', 'c3'], count: 3 },
        { filter: 'capacity', reason: 'is full', nodes: ['f1'], count: 1 },
      ],
    });
  });

  test('a node counts for what is hardest to change: the cordoned ones would fit after an uncordon', () => {
    const nodes = [node('n1', { zone: 'a' }, { cordoned: true }), node('n2', { zone: 'b' }, { cordoned: true })];
    const members = [{ replica: 'a', node: 'n0', labels: { zone: 'a' } }];
    expect(message(request('distinct(zone)', nodes, { members }))).toBe(
      '0 of 2 storage nodes fit: 1 shares a zone with replica a, 1 is cordoned',
    );
  });

  test.each<[string, PlaceRequest, string]>([
    ['no nodes', request('distinct(zone)', []), 'there are no storage nodes'],
    [
      'an unknown label',
      request('distinct(zonee)', [node('n1', { zone: 'a', rack: 'r' }), node('n2', { media: 'ssd' })]),
      'no storage node has the label `zonee`; labels seen: zone, media, rack',
    ],
    [
      'an unknown label, and other reasons',
      request('distinct(zonee)', zones('a', 'b'), { exclude: [{ node: 'n1', reason: 'held the failed replica' }] }),
      '0 of 2 storage nodes fit: 1 held the failed replica, 1 has no label zonee; ' +
        'no storage node has the label `zonee`; labels seen: zone',
    ],
    [
      'no labels at all',
      request('exists(zone)', [node('n1')]),
      'no storage node has the label `zone`; labels seen: no label at all',
    ],
    [
      'an unknown value',
      request('in(zone, x|y)', zones('a', 'b')),
      'no storage node has `x` or `y` as its zone; values seen: a, b',
    ],
    [
      'a label that some have',
      request('distinct(zone)', [node('n1', { zone: 'a' }, { alive: false }), node('n2')]),
      '0 of 2 storage nodes fit: 1 has no label zone, 1 has no fresh heartbeat',
    ],
    [
      'label constraints are quoted as written',
      request('in(zone, a); notIn(media, hdd)', [node('n1', { zone: 'b' }), node('n2', { zone: 'a', media: 'hdd' })]),
      '0 of 2 storage nodes fit: 1 does not match in(zone, a), 1 does not match notIn(media, hdd)',
    ],
    [
      'an article before a vowel',
      request('distinct(availability_zone)', [node('n1', { availability_zone: 'a' })], {
        members: [{ replica: 'data-r0', node: 'n0', labels: { availability_zone: 'a' } }],
      }),
      '0 of 1 storage nodes fit: 1 shares an availability_zone with replica data-r0',
    ],
    [
      'same, with a member',
      request('same(zone)', zones('a', 'b'), { members: [{ replica: 'a', node: 'n0', labels: { zone: 'c' } }] }),
      '0 of 2 storage nodes fit: 2 have another zone than replica a',
    ],
    [
      'nodes of the volume itself',
      request('', zones('a', 'b'), {
        members: [
          { replica: 'a', node: 'n1', labels: { zone: 'a' } },
          { replica: 'b', node: 'n2', labels: { zone: 'b' } },
        ],
      }),
      '0 of 2 storage nodes fit: 2 already hold a replica of this volume',
    ],
    [
      'a long list of labels is cut',
      request('exists(label-x)', [
        node('n1', Object.fromEntries(Array.from({ length: 13 }, (_, i) => [`label-${i + 10}`, 'v']))),
      ]),
      'no storage node has the label `label-x`; labels seen: ' +
        'label-10, label-11, label-12, label-13, label-14, label-15, label-16, label-17, label-18, label-19 and 3 more',
    ],
  ])('%s', (_, of, expected) => {
    expect(message(of)).toBe(expected);
  });
});

const racks = (...pairs: readonly [string, string][]) => pairs.map(([zone, rack], i) => node(`n${i}`, { zone, rack }));

describe('too few nodes or domains for all replicas', () => {
  test.each<[string, PlaceRequest, string]>([
    [
      'too few domains',
      request('distinct(zone)', zones('a', 'a', 'b', 'b'), { count: 3 }),
      'placed 0 of 3 replicas: the 4 storage nodes have only 2 different values of zone (a, b)',
    ],
    [
      'one domain',
      request('distinct(zone)', zones('a', 'a'), { count: 2 }),
      'placed 0 of 2 replicas: the 2 storage nodes have only 1 value of zone (a)',
    ],
    [
      'too few domains among those that fit',
      request('distinct(zone)', [...zones('a', 'a', 'b'), node('c1', { zone: 'c' }, { cordoned: true })], { count: 3 }),
      'placed 0 of 3 replicas: the 3 storage nodes that fit have only 2 different values of zone (a, b); ' +
        'of the others, 1 is cordoned',
    ],
    [
      'members stay',
      request('distinct(zone)', zones('a', 'b', 'b'), {
        count: 2,
        members: [{ replica: 'a', node: 'n1', labels: { zone: 'a' } }],
      }),
      'placed 0 of 2 more replicas: the 2 storage nodes that fit have only 1 value of zone (b); ' +
        'of the others, 1 already holds a replica of this volume',
    ],
    [
      'too few nodes',
      request('', zones('a', 'b'), { count: 3 }),
      'placed 0 of 3 replicas: there are only 2 storage nodes',
    ],
    [
      'too few nodes fit',
      request('', [...zones('a', 'b'), node('n9', {}, full)], { count: 3 }),
      'placed 0 of 3 replicas: only 2 of 3 storage nodes fit: 1 is full',
    ],
    [
      'two labels that cross',
      request(
        'distinct(zone); distinct(rack)',
        racks(['a', 'r1'], ['a', 'r2'], ['a', 'r3'], ['b', 'r1'], ['c', 'r1']),
        { count: 3 },
      ),
      'placed 0 of 3 replicas: of the 5 storage nodes at most 2 differ in both zone and rack',
    ],
    [
      'no domain is large enough',
      request('same(zone)', zones('a', 'a', 'b', 'c'), { count: 3 }),
      'placed 0 of 3 replicas: same(zone) needs 3 storage nodes with one value of zone, and the 4 storage nodes have 2 in a, 1 in b, 1 in c',
    ],
    [
      'same and distinct together',
      request('same(zone); distinct(rack)', racks(['a', 'r1'], ['a', 'r1'], ['b', 'r2'], ['b', 'r2']), { count: 2 }),
      'placed 0 of 2 replicas: no 2 of the 4 storage nodes satisfy same(zone) and distinct(rack) together',
    ],
    [
      'a contradiction',
      request('same(zone); distinct(zone)', zones('a', 'b'), { count: 2 }),
      'placed 0 of 2 replicas: distinct(zone) and same(zone) contradict each other for more than one replica',
    ],
  ])('%s', (_, of, expected) => {
    expect(message(of)).toBe(expected);
  });

  test('as soon as a node is added, the same request is placed', () => {
    const before = request('distinct(zone)', zones('a', 'a', 'b', 'b'), { count: 3 });
    expect(place(before).ok).toBe(false);
    expect(place({ ...before, nodes: [...before.nodes, node('n5', { zone: 'c' })] }).ok).toBe(true);
  });
});

describe('warnings', () => {
  test('name the rules that do nothing because of an unknown label', () => {
    const of = request(
      'notIn(medai, hdd); prefer distinct(rak); prefer(50) in(zone, x); prefer near(client, room); prefer near(client, row)',
      [node('n1', { zone: 'a', rack: 'r1', room: '1' })],
      { clientLabels: { zone: 'a' } },
    );
    const result = place(of);
    expect(result.ok && result.warnings).toEqual([
      'no storage node has the label `medai`; labels seen: rack, room, zone; notIn(medai, hdd) has no effect',
      'no storage node has the label `rak`; labels seen: rack, room, zone; prefer distinct(rak) has no effect',
      'no storage node has `x` as its zone; values seen: a; prefer(50) in(zone, x) has no effect',
      'no storage node has the label `row`; labels seen: room, rack, zone; prefer near(client, row) has no effect',
      'the client node has no label `room`; prefer near(client, room) has no effect',
      'the client node has no label `row`; prefer near(client, row) has no effect',
    ]);
  });
});
