import { describe, expect, test } from '@jest/globals';
import { mergePatch } from './merge-patch.ts';
import type { VolumeStatus } from './model.ts';
import { plan } from './plan.ts';
import type { WorldSketch } from './testing/world.ts';
import { ago, nowMs, world } from './testing/world.ts';
import type { World } from './world.ts';

const attached = { attachment: { node: 'c1', epoch: 3 } };
const lost: WorldSketch = {
  ...attached,
  inSync: ['v-r0'],
  replicas: [{}, { leg: 'Unreachable' }],
  status: { outOfSync: { 'v-r1': { epoch: 3, at: ago(60_000) }, 'v-r9': { epoch: 1, at: ago(1) } } },
};

function written(before: World, status: object | undefined): World {
  const after = mergePatch(before.volume.status ?? {}, status ?? {}) as VolumeStatus;
  return { ...before, volume: { ...before.volume, status: after } };
}

describe('what a status patch says', () => {
  test.each<[string, WorldSketch]>([
    ['at rest', {}],
    ['in use', attached],
    ['degraded', lost],
  ])('nothing, when it has been said: %s', (_what, sketch) => {
    const before = world(sketch);
    const first = plan(before, nowMs);
    const second = plan(written(before, first.status), nowMs + 30_000);
    expect(first.status).toBeDefined();
    expect(second.status).toBeUndefined();
    expect(second.events).toEqual([]);
  });

  test('never the in-sync set or the times of an initialised volume: they are the client agent’s', () => {
    const sketches: readonly WorldSketch[] = [
      {},
      attached,
      lost,
      { ...lost, spec: { healing: { replicaTimeout: '1s' } } },
      { ...lost, spec: { attachTo: '' }, connection: null },
      { attachment: { node: 'c1', epoch: 3 }, spec: { attachTo: '' }, connection: null },
    ];
    for (const sketch of sketches) {
      const keys = Object.keys(plan(world(sketch), nowMs).status ?? {});
      expect(keys).not.toContain('inSync');
      expect(keys).not.toContain('outOfSync');
    }
  });

  test('of the times only that of a replica that is forgotten', () => {
    const marked = { role: 'Leaving' as const, spec: { state: 'Orphan' as const }, deleted: true };
    const { status } = plan(world({ ...lost, inSync: ['v-r0', 'v-r2'], replicas: [{}, marked, {}] }), nowMs);
    expect(status).toMatchObject({ outOfSync: { 'v-r1': null } });
    expect(status).not.toHaveProperty(['outOfSync', 'v-r9']);
  });
});

describe('a change of the record', () => {
  test('comes alone: effects follow when it has been written', () => {
    const result = plan(world({ ...lost, spec: { healing: { replicaTimeout: '1s' } } }), nowMs);
    expect(result.record?.kind).toBe('replace');
    expect(result.actions).toEqual([]);
    expect(result.events.map(({ reason }) => reason)).toContain('Healing');
  });

  test('is told with how things stand after it', () => {
    const { status } = plan(world({ ...lost, spec: { healing: { replicaTimeout: '1s' } } }), nowMs);
    expect(status).toMatchObject({ phase: 'Healing', nextReplica: 3 });
  });

  test('leads to its effects', () => {
    const before = world({ attachment: null, replicas: [] });
    const after = plan(written(before, plan(before, nowMs).status), nowMs);
    expect(after.actions.map(({ kind }) => kind)).toEqual(['createReplica', 'createReplica']);
  });
});

describe('events', () => {
  test('a refusal is told once, and again when it changes', () => {
    const before = world({ attachment: null, replicas: [], candidates: [] });
    const first = plan(before, nowMs);
    expect(first.events).toEqual([{ type: 'Warning', reason: 'NoPlace', message: 'there are no storage nodes' }]);
    expect(plan(written(before, first.status), nowMs).events).toEqual([]);
  });
});

test('a volume gets the finalizer before anything else, and is not touched once it has lost it', () => {
  const young = { metadata: { finalizers: [] }, attachment: null, replicas: [] };
  expect(plan(world(young), nowMs)).toMatchObject({ actions: [{ kind: 'addFinalizer' }], status: undefined });
  const gone = { metadata: { finalizers: ['foregroundDeletion'], deletionTimestamp: ago(1) } };
  expect(plan(world(gone), nowMs)).toMatchObject({ actions: [], status: undefined });
});

test('the same world gives the same plan', () => {
  expect(plan(world(lost), nowMs)).toEqual(plan(world(lost), nowMs));
});
