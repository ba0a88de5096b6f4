import { expect, test } from '@jest/globals';
import { KubeError } from '../../lib/kube/client.ts';
import { createFakeApi } from './testing/store.ts';
import { connectionObject, world } from './testing/world.ts';
import { sweepStrays } from './strays.ts';

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined };

/** Two replicas and a connection whose volume is gone. */
function setUp() {
  const api = createFakeApi(
    () => 0,
    () => undefined,
  );
  for (const replica of world().replicas) api.replicas.rows.set(replica.metadata.name, replica);
  api.connections.rows.set('v.c1', connectionObject('c1', 1));
  const ports = {
    volumes: api.volumes.store,
    replicas: api.replicas.store,
    connections: api.connections.store,
    tell: () => undefined,
    log: silent,
  };
  const sweep = async (alive = false) =>
    await sweepStrays(
      'v',
      { replicas: [...api.replicas.rows.values()], connections: [...api.connections.rows.values()] },
      () => alive,
      ports,
    );
  return { api, ports, sweep };
}

test('what is left of a volume that is gone is taken away', async () => {
  const { api, sweep } = setUp();
  await sweep();
  await sweep();
  expect([...api.replicas.rows.values()].map(({ spec, metadata }) => [spec.state, metadata.deletionTimestamp])).toEqual(
    [
      ['Orphan', '1970-01-01T00:00:00.000Z'],
      ['Orphan', '1970-01-01T00:00:00.000Z'],
    ],
  );
  expect(api.connections.rows.size).toBe(0);
});

test('a client that lives takes its own finalizer off', async () => {
  const { api, sweep } = setUp();
  await sweep(true);
  await sweep(true);
  expect(api.connections.rows.get('v.c1')?.metadata.finalizers).toEqual(['holdfast.dev/client-agent']);
});

test('nothing is touched while the volume is there: the cache was behind', async () => {
  const { api, sweep } = setUp();
  api.volumes.rows.set('v', world().volume);
  await sweep();
  expect(api.writes()).toBe(0);
});

const list = async () => {
  throw new KubeError(404, '', 'the server could not find the requested resource');
};

// A kind that is not served for a moment answers "not found" to everything.
test('nothing is touched when the API server can not list volumes', async () => {
  const { api, ports } = setUp();
  const broken = { ...ports, volumes: { ...ports.volumes, list } };
  const left = { replicas: [...api.replicas.rows.values()], connections: [] };
  await expect(sweepStrays('v', left, () => false, broken)).rejects.toThrow('could not find');
  expect(api.writes()).toBe(0);
});
