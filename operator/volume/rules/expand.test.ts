import { describe, expect, test } from '@jest/globals';
import type { Fresh } from '../guard.ts';
import { objectToAction } from '../guard.ts';
import { plan } from '../plan.ts';
import type { WorldSketch } from '../testing/world.ts';
import { ago, candidate, connectionObject, facts, legOf, nowMs, world } from '../testing/world.ts';
import { createReplicas } from './create.ts';
import { expand, offeredBytes, usableBytes } from './expand.ts';

const GIB = 2 ** 30;
const has = (sizeBytes: number, specBytes = sizeBytes) => ({ spec: { sizeBytes: specBytes }, status: { sizeBytes } });
const toTwo = { capacityBytes: 2 * GIB };

/** The sizes that replicas are to have. */
const grown = (sketch: WorldSketch) =>
  (expand(facts(sketch)).actions ?? []).map((action) =>
    action.kind === 'setSize' ? [action.name, action.sizeBytes] : action.kind,
  );

/** What its connection is told. */
function told(sketch: WorldSketch): number | undefined {
  const action = plan(world(sketch), nowMs).actions.find(({ kind }) => kind === 'updateConnection');
  return action?.kind === 'updateConnection' ? action.spec.sizeBytes : undefined;
}

describe('the replicas of a volume that is to grow', () => {
  test('all grow, also one that is away and not in sync', () => {
    const sketch = { spec: toTwo, replicas: [has(GIB), has(GIB)], inSync: ['v-r0'], dead: { s2: 0 } };
    expect(grown(sketch)).toEqual([
      ['v-r0', 2 * GIB],
      ['v-r1', 2 * GIB],
    ]);
  });

  test('are left alone when they are told already, when nothing is to grow, and when the volume goes', () => {
    expect(grown({ spec: toTwo, replicas: [has(GIB, 2 * GIB), has(2 * GIB)] })).toEqual([]);
    expect(grown({ replicas: [has(GIB), has(GIB)] })).toEqual([]);
    expect(grown({ spec: toTwo, replicas: [has(GIB)], metadata: { deletionTimestamp: 'now' } })).toEqual([]);
  });

  // Given a storage agent of a release that doesn't report sizes, then its replica waits until it does.
  test('are told only where the agent says what it has', () => {
    expect(grown({ spec: toTwo, replicas: [has(GIB), {}] })).toEqual([['v-r0', 2 * GIB]]);
  });

  test('none grows when the pool of one has no room, and the pool is named with the bytes', () => {
    const pools = [{ name: 'main', capacityBytes: GIB, usedBytes: 0, provisionedBytes: 9.5 * GIB }];
    const candidates = [candidate('s1', 'a'), { ...candidate('s2', 'b'), pools }];
    const { actions, notes, lookAgainMs } = expand(facts({ spec: toTwo, replicas: [has(GIB), has(GIB)], candidates }));
    expect(actions).toBeUndefined();
    expect(lookAgainMs).toBeGreaterThan(0);
    expect(notes?.[0]?.message).toMatch(/pool main of s2 would promise .* \(1073741824 bytes more are needed\)/);
  });
});

// Found by the simulation (seeds 30010819, 40014421): replicas that were made after a restore had the size of the backup, and no leg
// of theirs could join the array, which never gets smaller.
describe('a volume that is larger than the API server asks for, as it was restored from a backup', () => {
  const larger = { status: { capacityBytes: 2 * GIB } };

  test('has all its replicas as large as it is', () => {
    expect(grown({ ...larger, replicas: [has(2 * GIB, GIB), has(GIB)] })).toEqual([
      ['v-r0', 2 * GIB],
      ['v-r1', 2 * GIB],
    ]);
    const setSize = { kind: 'setSize', name: 'v-r1', uid: 'uid-r1', sizeBytes: 2 * GIB } as const;
    expect(objectToAction(setSize, world({ ...larger, replicas: [has(GIB), has(GIB)] }))).toBeUndefined();
  });

  test('needs no room in the pools of those that are in sync, as they have it', () => {
    const pools = [{ name: 'main', capacityBytes: GIB, usedBytes: 0, provisionedBytes: 10 * GIB }];
    const candidates = ['s1', 's2'].map((node) => ({ ...candidate(node, 'a'), pools }));
    const sketch = { ...larger, replicas: [has(2 * GIB, GIB), has(GIB)], candidates };
    expect(grown({ ...sketch, inSync: ['v-r0', 'v-r1'] })).toHaveLength(2);
    expect(grown({ ...sketch, inSync: ['v-r0'] })).toEqual([]);
  });

  test('gets new ones of that size', () => {
    const { actions = [] } = createReplicas(
      facts({ ...larger, replicas: [has(2 * GIB), { object: false }], inSync: ['v-r0'] }),
    );
    expect(actions).toMatchObject([{ kind: 'createReplica', spec: { sizeBytes: 2 * GIB } }]);
  });
});

describe('the array grows', () => {
  const attached = { attachment: { node: 'c1', epoch: 3 }, spec: { ...toTwo, attachTo: 'c1' } };

  test('once every in-sync replica has proved to have room', () => {
    expect(told({ ...attached, replicas: [has(2 * GIB), has(GIB, 2 * GIB)] })).toBeUndefined();
    expect(told({ ...attached, replicas: [has(2 * GIB), has(2 * GIB)] })).toBe(2 * GIB);
  });

  test('without one that does not count: it can only join at the new size', () => {
    const status = { outOfSync: { 'v-r1': { epoch: 3, at: ago(1000) } } };
    const sketch = { ...attached, status, replicas: [has(2 * GIB), has(GIB, 2 * GIB)], inSync: ['v-r0'] };
    expect(told(sketch)).toBe(2 * GIB);
  });

  test('and starts with what its in-sync replicas have, also of one that is away', () => {
    expect(offeredBytes(facts({ spec: toTwo, replicas: [has(2 * GIB), has(GIB, 2 * GIB)] }))).toBe(GIB);
    expect(offeredBytes(facts({ spec: toTwo, replicas: [{}, {}] }))).toBe(GIB);
  });
});

describe('status.capacityBytes', () => {
  const growing = { spec: toTwo, status: { capacityBytes: GIB } };

  test('of a volume at rest follows the replicas that can be asked', () => {
    const replicas = [has(2 * GIB), has(GIB, 2 * GIB)];
    expect(usableBytes(facts({ ...growing, replicas }))).toBe(GIB);
    expect(usableBytes(facts({ ...growing, replicas, dead: { s2: 0 } }))).toBe(2 * GIB);
    expect(usableBytes(facts({ ...growing, replicas, dead: { s1: 0, s2: 0 } }))).toBe(GIB);
  });

  test('of an attached one follows its array, and that is told once', () => {
    const sketch = (sizeBytes: number, capacityBytes = GIB): WorldSketch => ({
      ...growing,
      attachment: { node: 'c1', epoch: 3 },
      status: { capacityBytes },
      replicas: [has(2 * GIB), has(2 * GIB)],
      connection: { status: { phase: 'Connected', epoch: 3, sizeBytes, legs: [] } },
    });
    const events = (each: WorldSketch) => plan(world(each), nowMs).events.map(({ message }) => message);
    expect(usableBytes(facts(sketch(GIB)))).toBe(GIB);
    expect(usableBytes(facts(sketch(2 * GIB)))).toBe(2 * GIB);
    expect(events(sketch(GIB))).not.toContain('grown from 1.0 GiB to 2.0 GiB');
    expect(events(sketch(2 * GIB))).toContain('grown from 1.0 GiB to 2.0 GiB');
    expect(events(sketch(2 * GIB, 2 * GIB))).not.toContain('grown from 1.0 GiB to 2.0 GiB');
  });

  test('never falls, whatever a client says', () => {
    const status = { capacityBytes: 2 * GIB };
    const sketch: WorldSketch = {
      attachment: { node: 'c1', epoch: 3 },
      status,
      connection: { status: { phase: 'Connected', epoch: 3, sizeBytes: GIB, legs: [] } },
    };
    expect(usableBytes(facts(sketch))).toBe(2 * GIB);
  });
});

describe('the guard', () => {
  const sketch: WorldSketch = { spec: toTwo, attachment: { node: 'c1', epoch: 3 }, replicas: [has(2 * GIB), has(GIB)] };
  const fresh = (of: WorldSketch): Fresh => world(of);
  const grow = (sizeBytes: number) => ({ kind: 'setSize', name: 'v-r1', uid: 'uid-r1', sizeBytes }) as const;

  test('lets a replica neither shrink nor outgrow its volume', () => {
    expect(objectToAction(grow(2 * GIB), fresh(sketch))).toBeUndefined();
    expect(objectToAction(grow(GIB), fresh(sketch))).toMatch('never gets smaller');
    expect(objectToAction(grow(3 * GIB), fresh(sketch))).toMatch('not to be that large');
  });

  test('lets no array outgrow an in-sync replica, or shrink', () => {
    const legs = world(sketch).replicas.map(legOf);
    const { node: _, volume: _v, volumeUid: _u, ...spec } = connectionObject('c1', 3, legs).spec;
    const update = (sizeBytes: number) =>
      ({ kind: 'updateConnection', name: 'v.c1', uid: 'uid-v.c1', spec: { ...spec, sizeBytes }, why: '' }) as const;
    expect(objectToAction(update(GIB), fresh(sketch))).toBeUndefined();
    expect(objectToAction(update(2 * GIB), fresh(sketch))).toMatch('v-r1 has no room');
    expect(objectToAction(update(2 * GIB), fresh({ ...sketch, inSync: ['v-r0'] }))).toBeUndefined();
    expect(objectToAction(update(GIB / 2), fresh(sketch))).toMatch('never gets smaller');
  });
});
