import { describe, expect, test } from '@jest/globals';
import type { WorldSketch } from '../testing/world.ts';
import { candidate, facts, nowMs, world } from '../testing/world.ts';
import { factsOf } from '../facts.ts';
import { createReplicas, initialise, replaceUnborn } from './create.ts';
import { placeVolume } from './place.ts';

const unborn = (replicas: WorldSketch['replicas'], more: WorldSketch = {}): WorldSketch => ({
  attachment: null,
  ...(replicas === undefined ? {} : { replicas }),
  ...more,
});

describe('a new volume is placed', () => {
  test('all its replicas are recorded in one write, with the reasons', () => {
    const { record } = placeVolume(facts(unborn([])));
    expect(record).toMatchObject({ kind: 'place', nextReplica: 2 });
    expect(record?.kind === 'place' && record.replicas.map(({ name, role, pool }) => [name, role, pool])).toEqual([
      ['v-r0', 'Member', 'main'],
      ['v-r1', 'Member', 'main'],
    ]);
    expect(record?.kind === 'place' && record.replicas[0]?.why?.[0]).toMatch('zone');
  });

  test('or refused, with what removed how many nodes, and it waits', () => {
    const candidates = [candidate('s1', 'a'), candidate('s2', 'a'), candidate('s3', 'b', false)];
    const { record, notes } = placeVolume(facts(unborn([], { candidates })));
    expect(record).toBeUndefined();
    expect(notes).toMatchObject([{ topic: 'place', reason: 'NoPlace', blocked: true }]);
    expect(notes?.[0]?.message).toMatch('placed 0 of 2 replicas');
    expect(notes?.[0]?.message).toMatch('no fresh heartbeat');
  });

  test.each(['a', 'b', 'c', 'd'])('near its client in zone %s, where a goal asks for it', (zone) => {
    const placement = { constraints: [], goals: [{ weight: 10, near: {} }] };
    const spec = { replicas: 1, placement, clientLabels: { zone } };
    const { record } = placeVolume(facts(unborn([], { spec })));
    const where = { a: 's1', b: 's2', c: 's3', d: 's4' }[zone];
    expect(record?.kind === 'place' && record.replicas.map(({ storageNode }) => storageNode)).toEqual([where]);
  });

  test('a placement that makes no sense is refused with the path of the mistake', () => {
    const spec = { placement: { constraints: [{ distinct: { label: '-' } }], goals: [] } };
    expect(placeVolume(facts(unborn([], { spec }))).notes?.[0]?.message).toMatch('spec.placement.constraints[0]');
  });

  test('names of objects that an earlier volume of this name has left are not used', () => {
    const old = world().replicas.map((each) => ({ ...each, spec: { ...each.spec, volumeUid: 'uid-old' } }));
    const { record } = placeVolume(facts(unborn([], { moreReplicas: old })));
    expect(record?.kind === 'place' && record.replicas.map(({ name }) => name)).toEqual(['v-r2', 'v-r3']);
  });
});

describe('the objects of recorded members', () => {
  test('are made, closed to every host', () => {
    expect(createReplicas(facts(unborn([{}, { object: false }]))).actions).toMatchObject([
      { kind: 'createReplica', name: 'v-r1', spec: { storageNode: 's2', epoch: 0, hostNqn: '', state: 'Active' } },
    ]);
  });

  test('are made open to the client that has the volume, under its epoch', () => {
    const sketch = {
      attachment: { node: 'c1', epoch: 3 },
      inSync: ['v-r0'],
      replicas: [{}, { role: 'Leaving' as const }, { object: false }],
      status: { outOfSync: { 'v-r1': { epoch: 3, at: '2026-01-01T00:00:00Z' } } },
    };
    const { hostNqn } = facts(sketch).attachment;
    expect(createReplicas(facts(sketch)).actions).toMatchObject([{ name: 'v-r2', spec: { epoch: 3, hostNqn } }]);
  });

  // An empty replica under the name of one that the record calls in sync, or to be caught up by bitmap, loses data.
  test.each<[string, WorldSketch]>([
    ['is in sync', { replicas: [{}, { object: false }] }],
    [
      'was in sync once',
      {
        replicas: [{}, { object: false }],
        inSync: ['v-r0'],
        status: { outOfSync: { 'v-r1': { epoch: 3, at: '2026-01-01T00:00:00Z' } } },
      },
    ],
    ['leaves', { replicas: [{}, {}, { object: false, role: 'Leaving' }], inSync: ['v-r0', 'v-r1'] }],
  ])('are never made anew for a replica that %s', (_what, sketch) => {
    expect(createReplicas(facts(sketch)).actions).toEqual([]);
  });
});

describe('a replica that can not be made', () => {
  const young = { sinceMs: 60_000, status: { phase: 'Pending' as const } };

  test.each<[string, WorldSketch, number | undefined]>([
    ['its storage node died 5 s ago', unborn([{}, young], { dead: { s2: nowMs - 5_000 } }), 0],
    ['its storage node died 4 s ago', unborn([{}, young], { dead: { s2: nowMs - 4_000 } }), 1_000],
    ['it failed', unborn([{}, { ...young, status: { phase: 'Failed' } }]), 0],
    ['it failed a moment after it was placed', unborn([{}, { sinceMs: 1_000, status: { phase: 'Failed' } }]), 4_000],
    ['someone deleted it', unborn([{}, { deleted: true }]), 0],
    ['it is being made', unborn([{}, young]), undefined],
    ['it is ready, and its node died after that', unborn([{}, {}], { dead: { s2: nowMs - 60_000 } }), undefined],
  ])('%s', (_what, sketch, inMs) => {
    const { record, lookAgainMs } = replaceUnborn(facts(sketch));
    expect(record?.kind).toBe(inMs === 0 ? 'replace' : undefined);
    expect(lookAgainMs).toBe(inMs === 0 ? undefined : inMs);
    if (record?.kind === 'replace') {
      expect(record.leaving).toEqual(['v-r1']);
      expect(record.replicas.map(({ name, role }) => `${name} ${role}`)).toEqual([
        'v-r0 Member',
        'v-r1 Leaving',
        'v-r2 Member',
      ]);
    }
  });

  test('stays when there is no other place, and says so', () => {
    const candidates = [candidate('s1', 'a'), candidate('s2', 'b', false)];
    const sketch = unborn([{}, young], { candidates, dead: { s2: nowMs - 60_000 } });
    const { record, notes } = replaceUnborn(facts(sketch));
    expect(record).toBeUndefined();
    expect(notes).toMatchObject([{ topic: 'place', reason: 'NoPlace' }]);
  });

  test('of a volume that holds data is not replaced this way', () => {
    expect(replaceUnborn(facts({ dead: { s2: nowMs - 60_000 } }))).toEqual({});
  });
});

describe('the first in-sync set', () => {
  test('is all members, once every one is ready and empty', () => {
    expect(initialise(facts(unborn([{}, {}]))).record).toMatchObject({ kind: 'initialise', inSync: ['v-r0', 'v-r1'] });
  });

  test.each<[string, WorldSketch]>([
    ['one is not ready', unborn([{}, { status: { phase: 'Pending' } }])],
    ['one has no object', unborn([{}, { object: false }])],
    ['one has been opened to a host', unborn([{}, { spec: { epoch: 1, hostNqn: 'x' } }])],
    ['one is being deleted', unborn([{}, { deleted: true }])],
  ])('is not written while %s', (_what, sketch) => {
    const decision = initialise(facts(sketch));
    expect(decision.record).toBeUndefined();
    expect(decision.notes?.[0]?.message).toMatch('waits for v-r1 on s2');
  });

  test('is written once only', () => {
    expect(initialise(factsOf(world(), nowMs))).toEqual({});
  });
});
