import { beforeEach, expect, test } from '@jest/globals';
import { OPERATOR_FINALIZER } from '../../lib/api/names.ts';
import { createFakeClock } from '../../lib/fake-clock.ts';
import { storageNode } from './testing/cluster.ts';
import { world } from './testing/world.ts';
import { createReconciler } from './reconcile.ts';
import type { Store } from './ports.ts';
import { createFakeApi, type FakeApi } from './testing/store.ts';
import type { KubeObject } from '../../lib/api/index.ts';
import type { ReplicatedVolume, VolumeReplica } from './model.ts';

/*
 * What one volume costs the API server: each request is there for a reason, and none is made twice because a cache is behind.
 */

let api: FakeApi;
let requests: string[];
let clock: ReturnType<typeof createFakeClock>;
/** What the informers have, as far as they are not kept from it. */
let seen: { volumes: ReplicatedVolume[]; replicas: VolumeReplica[] };
let reconcile: ReturnType<typeof createReconciler>;

function counting<T extends KubeObject>(kind: string, store: Store<T>): Store<T> {
  const note = (verb: string): void => void requests.push(`${verb} ${kind}`);
  return {
    get: async (name) => (note('get'), await store.get(name)),
    list: async (options) => (note('list'), await store.list(options)),
    create: async (object) => (note('create'), await store.create(object)),
    patch: async (name, patch, options) => (note('patch'), await store.patch(name, patch, options)),
    delete: async (name, preconditions) => (note('delete'), await store.delete(name, preconditions)),
  };
}

beforeEach(() => {
  requests = [];
  clock = createFakeClock();
  seen = { volumes: [], replicas: [] };
  api = createFakeApi(
    () => clock.now(),
    () => undefined,
  );
  const nodes = ['a', 'b'].map((zone) => storageNode(`s-${zone}`, { zone }));
  reconcile = createReconciler({
    caches: {
      snapshot: () => undefined,
      volume: (name) => seen.volumes.find(({ metadata }) => metadata.name === name),
      replicasOf: () => seen.replicas,
      connectionsOf: () => [],
      storageNodes: () => nodes,
      replicasOn: () => [],
    },
    leases: { isFresh: () => true, lastSeenMs: () => clock.now() },
    clock,
    ports: {
      volumes: counting('volume', api.volumes.store),
      replicas: counting('replica', api.replicas.store),
      connections: counting('connection', api.connections.store),
      tell: (_volume, { reason }) => requests.push(`event ${reason}`),
      log: { debug: () => undefined, info: () => undefined, warn: () => undefined },
    },
  });
});

/** The informers catch up. */
function catchUp(): void {
  seen = structuredClone({ volumes: [...api.volumes.rows.values()], replicas: [...api.replicas.rows.values()] });
}

async function look(): Promise<string[]> {
  requests.length = 0;
  await reconcile('v');
  return [...requests];
}

/** A volume as the CSI controller makes it, placed. */
async function placed(): Promise<string[]> {
  await api.volumes.store.create({
    metadata: { name: 'v', finalizers: [OPERATOR_FINALIZER] },
    spec: world().volume.spec,
  });
  catchUp();
  return await look();
}

async function becomesReady(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    await api.replicas.store.patch(name, { status: { phase: 'Ready' } }, { subresource: 'status' });
  }
  catchUp();
}

test('a volume is placed and its replicas are made without a single read', async () => {
  expect(await placed()).toEqual(['patch volume', 'create replica', 'create replica']);
  expect(api.volumes.rows.get('v')?.status?.message).toBe('the replicas are being made');
  catchUp();
  expect(await look()).toEqual([]);
});

test('one that is ready before the other changes nothing that people read', async () => {
  await placed();
  await becomesReady('v-r0');
  expect(await look()).toEqual([]);
});

test('it is told who is waited for once that takes long', async () => {
  await placed();
  await becomesReady('v-r0');
  await clock.advance(11_000);
  expect(await look()).toEqual(['patch volume']);
  expect(api.volumes.rows.get('v')?.status?.message).toMatch(/^waits for v-r1 on s-.: it is being made$/);
});

test('the first in-sync set rests on replicas as they are now', async () => {
  await placed();
  await becomesReady('v-r0', 'v-r1');
  expect(await look()).toEqual(['list replica', 'patch volume', 'event Created']);
});

test('nothing is planned while a cache does not show what was written', async () => {
  await placed();
  seen.volumes = structuredClone([...api.volumes.rows.values()]);
  seen.replicas = structuredClone([...api.replicas.rows.values()].slice(0, 1));
  expect(await look()).toEqual([]);
  // Should it never show it, the API server is asked.
  await clock.advance(2_000);
  expect(await look()).toEqual(['get volume', 'create replica', 'get replica']);
});

test('a volume goes first, and what is left of it at once after that, without a read', async () => {
  await placed();
  await becomesReady('v-r0', 'v-r1');
  await look();
  await api.volumes.store.delete('v');
  catchUp();
  expect(await look()).toEqual([
    'patch volume',
    ...['v-r0', 'v-r1'].flatMap(() => ['patch replica', 'delete replica']),
  ]);
  expect(api.volumes.rows.size).toBe(0);
  // The caches still have all of it, then only the replicas, as orphans.
  expect(await look()).toEqual([]);
  seen.volumes = [];
  expect(await look()).toEqual([]);
  catchUp();
  expect(await look()).toEqual([]);
});

test('what an operator that died has left is taken away by the next one, which proves that the volume is gone', async () => {
  await placed();
  await becomesReady('v-r0', 'v-r1');
  api.volumes.rows.delete('v');
  await clock.advance(2_000);
  catchUp();
  expect(await look()).toEqual(['list volume', ...['v-r0', 'v-r1'].flatMap(() => ['patch replica', 'delete replica'])]);
});

test('a volume that another finalizer keeps is not gone', async () => {
  await placed();
  await becomesReady('v-r0', 'v-r1');
  await look();
  const kept = { metadata: { finalizers: [OPERATOR_FINALIZER, 'example.com/keep'] } };
  await api.volumes.store.patch('v', kept);
  await api.volumes.store.delete('v');
  catchUp();
  expect(await look()).toEqual(['patch volume']);
  expect([...api.replicas.rows.values()].map(({ spec }) => spec.state)).toEqual(['Active', 'Active']);
});
