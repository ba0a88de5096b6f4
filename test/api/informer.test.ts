import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import type { ReplicatedVolume } from '../../lib/api/index.ts';
import { connect, kinds, resource } from '../../lib/kube/client.ts';
import { createInformer, type Informer, type InformerOptions } from '../../lib/kube/informer.ts';
import { silentLog } from '../../lib/log.ts';
import { newReplica, newVolume, sleep, startTestApi, until, type TestApi } from './harness.ts';

const MIB = 1024 * 1024;
// A real API server takes its time when it starts anew.
jest.setTimeout(60_000);

let api: TestApi;
const open: Informer<ReplicatedVolume>[] = [];

beforeAll(async () => {
  api = await startTestApi();
}, 120_000);
afterAll(async () => {
  await Promise.all(open.map(async (informer) => await informer.stop()));
  await api?.stop();
});

interface Watched {
  readonly informer: Informer<ReplicatedVolume>;
  /** `+name`, `~name` or `-name`, as they came. */
  readonly changes: string[];
}

function watchVolumes(options: InformerOptions<ReplicatedVolume> = {}): Watched {
  const changes: string[] = [];
  const informer = createInformer(api.connection, kinds.replicatedVolumes, {
    onChange: (object, previous, deleted) =>
      changes.push(`${deleted ? '-' : previous ? '~' : '+'}${object.metadata.name}`),
    ...options,
  });
  open.push(informer);
  informer.start();
  return { informer, changes };
}

const volumes = () => resource(api.connection, kinds.replicatedVolumes);

test('it lists, then follows: created, changed, deleted', async () => {
  await volumes().create(newVolume('follow-a'));
  const { informer, changes } = watchVolumes();
  await informer.synced(10_000);
  expect(informer.get('follow-a')).toMatchObject({ apiVersion: 'holdfast.dev/v1alpha1', kind: 'ReplicatedVolume' });
  expect(informer.get('follow-a')?.metadata).not.toHaveProperty('managedFields');
  await volumes().create(newVolume('follow-b'));
  await volumes().patch('follow-b', { spec: { capacityBytes: 65 * MIB } });
  await volumes().delete('follow-a');
  await until('the deletion is seen', () => informer.get('follow-a') === undefined);
  expect(changes).toEqual(['+follow-a', '+follow-b', '~follow-b', '-follow-a']);
  expect(informer.get('follow-b')?.spec.capacityBytes).toBe(65 * MIB);
  await informer.stop();
  await volumes().delete('follow-b');
});

test('it watches what a field selector chooses, and sees an object leave the selection', async () => {
  const seen: string[] = [];
  const informer = createInformer(api.connection, kinds.volumeReplicas, {
    fieldSelector: 'spec.storageNode=pick-n1',
    indexes: { volume: (replica) => [replica.spec.volume] },
    onChange: ({ metadata }) => seen.push(metadata.name),
  });
  informer.start();
  const replicas = resource(api.connection, kinds.volumeReplicas);
  await replicas.create(newReplica('pick-a', { storageNode: 'pick-n1', volume: 'pick-v' }));
  await replicas.create(newReplica('pick-b', { storageNode: 'pick-n2', volume: 'pick-v' }));
  await replicas.create(newReplica('pick-c', { storageNode: 'pick-n1', volume: 'pick-w' }));
  await until('both are seen', () => seen.includes('pick-c'));
  expect(seen).toEqual(['pick-a', 'pick-c']);
  expect(informer.byIndex('volume', 'pick-v').map(({ metadata }) => metadata.name)).toEqual(['pick-a']);
  await informer.stop();
});

test('it survives a restart of the API server and misses nothing; another may be started meanwhile', async () => {
  await volumes().create(newVolume('restart-gone'));
  const { informer, changes } = watchVolumes();
  await informer.synced(10_000);
  await api.plane.stopApiServer('crash');
  const late = watchVolumes().informer;
  await expect(late.synced(700)).rejects.toThrow(/no list of replicatedvolumes within 700 ms: .*ECONNREFUSED/);
  expect(informer.get('restart-gone')).toBeDefined();
  await api.plane.startApiServer();
  await volumes().delete('restart-gone');
  await volumes().create(newVolume('restart-new'));
  await until('both are seen', () => !informer.get('restart-gone') && informer.get('restart-new') !== undefined);
  expect(changes.filter((change) => change.includes('restart-'))).toEqual([
    '+restart-gone',
    '-restart-gone',
    '+restart-new',
  ]);
  await late.synced(20_000);
  expect(late.get('restart-new')).toBeDefined();
  await Promise.all([informer.stop(), late.stop()]);
});

test('it follows again after the API server was frozen', async () => {
  const { informer } = watchVolumes();
  await informer.synced(10_000);
  await api.plane.stopApiServer('freeze');
  await sleep(1500);
  await api.plane.startApiServer();
  await volumes().create(newVolume('thawed'));
  await until('it is seen', () => informer.get('thawed') !== undefined);
  expect(informer.get('thawed')?.spec.replicas).toBe(2);
  await informer.stop();
});

test('away so long that the server has forgotten the past, it lists anew and sees what was deleted', async () => {
  await volumes().create(newVolume('compact-gone'));
  await volumes().create(newVolume('compact-replaced'));
  const first = (await volumes().get('compact-replaced'))?.metadata.uid;
  const interruptions: string[] = [];
  const note = (_message: string, fields?: object) => interruptions.push(JSON.stringify(fields));
  const log = { ...silentLog, debug: note, warn: note };
  const { informer, changes } = watchVolumes({ log, backoff: { baseMs: 100, maxMs: 500 } });
  await informer.synced(10_000);
  await api.plane.stopApiServer('crash');
  // The informer now waits in its backoff; the past vanishes before the server comes back for it.
  await changeBelow(api, 'compact-gone');
  await api.plane.startApiServer();
  await volumes().delete('compact-replaced');
  await volumes().create(newVolume('compact-replaced'));
  await until('the deletion is seen', () => informer.get('compact-gone') === undefined);
  await until('the new object is seen', () => informer.get('compact-replaced')?.metadata.uid !== first);
  expect(interruptions.join('\n')).toContain('too old resource version');
  expect(changes.filter((change) => change.endsWith('compact-gone')).at(-1)).toBe('-compact-gone');
  expect(changes.filter((change) => change.endsWith('compact-replaced')).slice(-2)).toEqual([
    '-compact-replaced',
    '+compact-replaced',
  ]);
  await informer.stop();
});

test('stopped in the middle of a watch it ends at once, and says nothing more', async () => {
  const { informer, changes } = watchVolumes();
  await informer.synced(10_000);
  const startedMs = performance.now();
  await informer.stop();
  expect(performance.now() - startedMs).toBeLessThan(500);
  const before = changes.length;
  await volumes().create(newVolume('after-stop'));
  await sleep(200);
  expect(changes).toHaveLength(before);
});

test('a user who may not list is told so, and the informer begins when it may', async () => {
  const kubeconfig = await api.plane.kubeconfigForUser('nobody');
  const { mkdtemp, writeFile, rm } = await import('node:fs/promises');
  const dir = await mkdtemp('/tmp/holdfast-kubeconfig-');
  await writeFile(`${dir}/config`, kubeconfig);
  const connection = connect({ kubeconfigPath: `${dir}/config`, userAgent: 'nobody/1' });
  const informer = createInformer(connection, kinds.replicatedVolumes, { backoff: { baseMs: 50, maxMs: 200 } });
  informer.start();
  await expect(informer.synced(500)).rejects.toThrow(/User "nobody" cannot list resource "replicatedvolumes"/);
  const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1', namespaced: false } as const;
  const bindings = resource(api.connection, { ...rbac, kind: 'ClusterRoleBinding', plural: 'clusterrolebindings' });
  const binding = {
    metadata: { name: 'nobody' },
    roleRef: { apiGroup: rbac.group, kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ apiGroup: rbac.group, kind: 'User', name: 'nobody' }],
  };
  await bindings.create(binding);
  await informer.synced(10_000);
  await informer.stop();
  connection.close();
  await rm(dir, { recursive: true });
});

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Deletes an object in etcd itself and compacts its history, as a long absence would look to a watcher. */
async function changeBelow({ plane }: TestApi, name: string): Promise<void> {
  const etcd = async (path: string, body: object) => {
    const response = await fetch(`${plane.etcdUrl}/v3/kv/${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd ${path}: ${await response.text()}`);
    return (await response.json()) as { header: { revision: string }; deleted?: string };
  };
  const key = base64(`/registry/holdfast.dev/replicatedvolumes/${name}`);
  const { deleted } = await etcd('deleterange', { key });
  if (deleted !== '1') throw new Error(`${name} is not in etcd`);
  const { header } = await etcd('put', { key: base64('/holdfast-test'), value: base64('x') });
  await etcd('compaction', { revision: header.revision, physical: true });
}
