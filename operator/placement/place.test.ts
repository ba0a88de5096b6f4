import { describe, expect, test } from '@jest/globals';
import { GIB, node, pool, random, request, zones } from './fixtures.ts';
import { place } from './place.ts';
import type { CandidateNode, Member, PlaceRequest } from './request.ts';

function chosen(of: PlaceRequest): readonly string[] {
  const result = place(of);
  return result.ok ? result.choices.map((choice) => choice.node).toSorted() : [result.message];
}

function message(of: PlaceRequest): string {
  const result = place(of);
  return result.ok ? `placed on ${result.choices.map((choice) => choice.node).join(', ')}` : result.message;
}

function member(replica: string, labels: Record<string, string> | undefined, on = `node-of-${replica}`): Member {
  return { replica, node: on, labels };
}

describe('constraints', () => {
  const nodes: readonly CandidateNode[] = [
    node('n1', { zone: 'a', rack: 'r1', media: 'nvme' }),
    node('n2', { zone: 'a', rack: 'r2', media: 'ssd' }),
    node('n3', { zone: 'b', rack: 'r3', media: 'hdd' }),
    node('n4', { zone: 'c', rack: 'r4' }),
  ];

  test.each<[string, number, readonly string[]]>([
    ['in(media, ssd)', 1, ['n2']],
    ['in(media, nvme|ssd)', 2, ['n1', 'n2']],
    ['exists(media); notIn(media, nvme|ssd)', 1, ['n3']],
    ['notIn(media, nvme|ssd|hdd)', 1, ['n4']],
    ['distinct(zone); notIn(rack, r1)', 3, ['n2', 'n3', 'n4']],
    ['same(zone)', 2, ['n1', 'n2']],
    ['same(zone); distinct(rack)', 2, ['n1', 'n2']],
    ['', 4, ['n1', 'n2', 'n3', 'n4']],
  ])('%s with %i replicas', (placement, count, expected) => {
    expect(chosen(request(placement, nodes, { count }))).toEqual(expected);
  });

  test('hold with the members that stay, also on repair', () => {
    // Given a volume with replica a in zone a, When one is added, Then it never shares the zone with it
    const members = [member('a', { zone: 'a', rack: 'r9' })];
    for (let i = 0; i < 50; i += 1) {
      const of = request('distinct(zone)', nodes, { members, volumeUid: `v${i}` });
      expect(['n3', 'n4']).toContain(chosen(of)[0]);
    }
    expect(chosen(request('same(zone)', nodes, { members, count: 2 }))).toEqual(['n1', 'n2']);
  });

  test('a replica that is replaced is no member: its zone may be used again, its node not', () => {
    const of = request('distinct(zone)', nodes, {
      members: [member('b', { zone: 'b' }, 'n3'), member('c', { zone: 'c' }, 'n4')],
      exclude: [{ node: 'n1', reason: 'held the failed replica' }],
    });
    expect(chosen(of)).toEqual(['n2']);
  });

  test('a member whose node is not known to have the label blocks the constraint, and the message says so', () => {
    const of = request('distinct(zone)', nodes, { members: [member('a', undefined)] });
    expect(message(of)).toBe(
      '0 of 4 storage nodes fit: 4 cannot be compared with replica a, whose node has no label zone',
    );
  });

  test('labels named like object properties are no labels', () => {
    expect(message(request('exists(constructor)', zones('a')))).toBe(
      'no storage node has the label `constructor`; labels seen: zone',
    );
  });
});

describe('node state', () => {
  test.each<[string, Partial<CandidateNode>, string]>([
    ['cordoned', { cordoned: true }, 'is cordoned'],
    ['draining', { draining: true }, 'is draining'],
    ['heartbeat', { alive: false }, 'has no fresh heartbeat'],
    ['capacity', { pools: [] }, 'has no pool'],
  ])('%s', (filter, fields, reason) => {
    const result = place(request('', [node('n1', {}, fields)]));
    expect(result).toMatchObject({ ok: false, removed: [{ filter, reason, nodes: ['n1'], count: 1 }] });
  });
});

describe('goals', () => {
  const client = { zone: 'b', rack: 'r3', 'kubernetes.io/os': 'linux' };
  const os = { 'kubernetes.io/os': 'linux' };
  const nodes = [
    node('n1', { zone: 'a', rack: 'r1', media: 'ssd', ...os }),
    node('n2', { zone: 'b', rack: 'r2', media: 'hdd', ...os }, { pools: [pool({ usedBytes: 4 * GIB })] }),
    node('n3', { zone: 'b', rack: 'r3', media: 'hdd', ...os }, { pools: [pool({ provisionedBytes: 8 * GIB })] }),
  ];
  const few = (placement: string, fields: Partial<PlaceRequest> = {}) =>
    chosen(request(placement, nodes, { clientLabels: client, ...fields }));

  test.each<[string, readonly string[]]>([
    ['prefer in(media, ssd)', ['n1']],
    ['prefer near(client)', ['n3']],
    ['prefer near(client, rack)', ['n3']],
    ['prefer spread(capacity)', ['n1']],
    ['prefer(20) near(client, zone); prefer(10) spread(capacity)', ['n2']],
    ['prefer(20) near(client, rack); prefer(10) spread(capacity)', ['n3']],
    ['prefer(5) near(client, rack); prefer(50) spread(capacity)', ['n1']],
  ])('%s', (placement, expected) => {
    expect(few(placement)).toEqual(expected);
  });

  test('distinct and same look at the members and at each other', () => {
    expect(few('prefer distinct(zone); prefer(1) in(media, hdd)', { count: 2 })).toContain('n1');
    expect(few('prefer same(zone)', { count: 2 })).toEqual(['n2', 'n3']);
    expect(few('prefer distinct(zone)', { members: [member('a', { zone: 'b' })] })).toEqual(['n1']);
    expect(few('prefer same(rack)', { members: [member('a', { rack: 'r2' })] })).toEqual(['n2']);
  });

  test('a goal is no constraint: it is given up when it must be', () => {
    expect(few('prefer distinct(zone)', { count: 3 })).toEqual(['n1', 'n2', 'n3']);
    expect(few('in(media, hdd); prefer in(media, ssd)')[0]).not.toBe('n1');
  });

  test('more replicas than domains are spread evenly over them', () => {
    const many = zones('a', 'a', 'a', 'a', 'b', 'b', 'c', 'c');
    for (let i = 0; i < 20; i += 1) {
      const names = chosen(request('prefer distinct(zone)', many, { count: 6, volumeUid: `v${i}` }));
      const perZone = Map.groupBy(names, (name) => many.find((of) => of.name === name)?.labels['zone']);
      expect([...perZone.values()].map((of) => of.length)).toEqual([2, 2, 2]);
    }
  });

  test('without a client, near has no effect', () => {
    const result = place(request('prefer near(client)', nodes));
    expect(result).toMatchObject({ ok: true, warnings: [] });
  });
});

describe('tie-break', () => {
  const nodes = zones('a', 'a', 'b', 'b', 'c', 'c');

  test('is stable, whatever the order of the nodes', () => {
    const r = random(3);
    const first = place(request('distinct(zone); prefer spread(capacity)', nodes, { count: 2 }));
    for (let i = 0; i < 20; i += 1) {
      const shuffled = nodes.map((of) => ({ of, key: r.integer(1000) })).toSorted((a, b) => a.key - b.key);
      const again = place(
        request(
          'distinct(zone); prefer spread(capacity)',
          shuffled.map(({ of }) => of),
          { count: 2 },
        ),
      );
      expect(again).toEqual(first);
    }
  });

  test('uses equal nodes evenly for different volumes', () => {
    const uses = new Map<string, number>();
    for (let i = 0; i < 600; i += 1) {
      for (const name of chosen(request('', nodes, { volumeUid: `uid-${i}` }))) {
        uses.set(name, (uses.get(name) ?? 0) + 1);
      }
    }
    // 100 each would be perfectly even.
    expect([...uses.values()].every((count) => count > 60 && count < 140)).toBe(true);
    expect(uses.size).toBe(6);
  });

  test('first prefers the node with fewer replicas, but never over a goal', () => {
    const busy = [node('n1', { zone: 'a' }, { replicaCount: 5000 }), node('n2', { zone: 'b' }, { replicaCount: 3 })];
    expect(chosen(request('', busy))).toEqual(['n2']);
    expect(chosen(request('prefer(1) in(zone, a)', busy))).toEqual(['n1']);
  });
});

describe('requests that are wrong', () => {
  test.each<[string, Partial<PlaceRequest>, string]>([
    ['count', { count: 9 }, 'count: expected a number from 0 to 8, found 9'],
    ['count', { count: 1.5 }, 'count: expected an integer, found 1.5'],
    ['size', { sizeBytes: 0 }, 'sizeBytes: expected a number from 1 to 9007199254740991, found 0'],
    ['size', { sizeBytes: Number.NaN }, 'sizeBytes: expected a number from 1 to 9007199254740991, found NaN'],
    ['ratio', { overProvisioningRatio: 0.5 }, 'overProvisioningRatio: expected a number from 1 to 100, found 0.5'],
    ['share', { minFreeShare: 2 }, 'minFreeShare: expected a number from 0 to 1, found 2'],
    ['nodes', { nodes: [node('n1'), node('n1')] }, 'nodes: expected each node once, found "n1" twice'],
  ])('%s', (_, fields, expected) => {
    expect(() => place({ ...request('', zones('a')), ...fields })).toThrow(new RangeError(expected));
  });

  test('no replicas wanted is no mistake', () => {
    expect(place(request('distinct(zone)', [], { count: 0 }))).toMatchObject({ ok: true, choices: [] });
  });
});

describe('size of the problem', () => {
  const nodes = Array.from({ length: 1000 }, (_, i) =>
    node(
      `node-${i}`,
      {
        zone: `z${i % 4}`,
        rack: `r${i % 50}`,
        power: `p${i % 10}`,
        media: i % 3 === 0 ? 'nvme' : 'ssd',
        'kubernetes.io/hostname': `node-${i}`,
      },
      { replicaCount: i % 20, pools: [pool({ usedBytes: (i % 10) * GIB, provisionedBytes: (i % 13) * GIB })] },
    ),
  );

  // Evaluations and not time, so that a busy machine can't fail the test. One takes well below a microsecond.
  test.each<[string, number]>([
    ['', 20_000],
    ['distinct(rack)', 20_000],
    ['distinct(rack); in(media, nvme|ssd); prefer spread(capacity)', 20_000],
    ['distinct(kubernetes.io/hostname); prefer near(client); prefer spread(capacity)', 50_000],
    ['distinct(rack); distinct(power); prefer near(client); prefer spread(capacity)', 50_000],
    ['distinct(rack); prefer distinct(zone); prefer distinct(power); prefer spread(capacity)', 400_000],
    ['prefer distinct(zone); prefer(50) distinct(rack); prefer near(client); prefer spread(capacity)', 400_000],
  ])('1000 nodes, 8 replicas, %j: at most %i evaluations', (placement, most) => {
    const result = place(
      request(placement, nodes, { count: 8, clientLabels: { zone: 'z1', rack: 'r9', power: 'p9' } }),
    );
    expect(result.ok && result.choices).toHaveLength(8);
    expect(result.effort.evaluations).toBeLessThan(most);
  });
});
