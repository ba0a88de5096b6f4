import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { loadAll } from 'js-yaml';
import {
  clientLeaseName,
  findCondition,
  hostNqn,
  storageLeaseName,
  type KubeObject,
  type ReplicatedVolume,
  type VolumeConnection,
  type VolumeReplica,
} from '../../lib/api/index.ts';
import { controllerModify } from '../../csi-driver/controller/modify.ts';
import { connect, KubeError, kinds, resource, type KubeConnection } from '../../lib/kube/client.ts';
import { removeFinalizer } from '../../lib/kube/finalizer.ts';
import { startHeartbeat, type Heartbeat } from '../../lib/kube/lease.ts';
import { silentLog } from '../../lib/log.ts';
import { startDaemon, tailOfFile, type Daemon } from '../lab/process.ts';
import { newNode, newVolume, startTestApi, until, type TestApi } from './harness.ts';

// On a busy machine a control plane takes its time.
jest.setTimeout(60_000);

/*
 * The operator as a program, with its own identity and permissions, on a real API server. The agents are played by hand,
 * each with the token of its own node, so that their permissions and the admission policies are tried as well.
 */

const namespace = 'holdfast-system';
const leaseMs = 3_000;

const chart = path.join(import.meta.dirname, '../../charts/holdfast/files');

let api: TestApi;
let dir: string;
let operator: Daemon | undefined;
let healthPort: number;
const opened: KubeConnection[] = [];
const heartbeats = new Map<string, Heartbeat>();

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** Applies what the chart installs: identities, permissions, admission policies. */
async function applyFolder(folder: string): Promise<void> {
  const files = (await readdir(path.join(chart, folder))).toSorted();
  const texts = await Promise.all(files.map((file) => readFile(path.join(chart, folder, file), 'utf8')));
  for (const manifest of texts.flatMap((text) => loadAll(text) as Manifest[])) {
    const { kind, apiVersion, metadata } = manifest;
    const plural = `${kind.toLowerCase()}s`.replace(/ys$/, 'ies');
    const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`;
    await send('PATCH', `${apiVersion}${scope}/${plural}/${metadata.name}?fieldManager=test&force=true`, manifest);
  }
}

/** One request as the administrator, to a path behind /api or /apis. */
async function send(method: 'POST' | 'PATCH', target: string, body: object): Promise<string> {
  const answer = await api.connection.request({
    method,
    path: target.startsWith('v1/') ? `/api/${target}` : `/apis/${target}`,
    body: JSON.stringify(body),
    contentType: method === 'PATCH' ? 'application/apply-patch+yaml' : 'application/json',
  });
  if (answer.status >= 300) throw new Error(`${method} ${target}: ${answer.status} ${answer.body}`);
  return answer.body;
}

/** A token of a service account; bound to a node, as a pod on that node would have it, when one is named. */
async function token(account: string, node?: string): Promise<string> {
  const boundObjectRef = node === undefined ? {} : { boundObjectRef: { apiVersion: 'v1', kind: 'Node', name: node } };
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: 3_600, ...boundObjectRef },
  };
  const answer = await send('POST', `v1/namespaces/${namespace}/serviceaccounts/${account}/token`, body);
  return (JSON.parse(answer) as { status: { token: string } }).status.token;
}

/** What one agent may do, with the token that its pod on that node would have. */
async function agentOf(account: 'storage-agent' | 'csi-node', node: string): Promise<KubeConnection> {
  return await withToken(`${account}-${node}`, await token(account, node));
}

async function withToken(name: string, bearer: string): Promise<KubeConnection> {
  const file = path.join(dir, `${name}.kubeconfig`);
  await writeFile(file, api.plane.kubeconfigForToken(bearer), { mode: 0o600 });
  const connection = connect({ kubeconfigPath: file, userAgent: `${name}/1`, fieldValidation: 'Strict' });
  opened.push(connection);
  return connection;
}

function beat(connection: KubeConnection, name: string, node: string): void {
  const leases = resource(connection, kinds.leases, namespace);
  heartbeats.set(name, startHeartbeat({ leases, name, holder: node, durationMs: leaseMs, log: silentLog }));
}

async function stopBeat(name: string): Promise<void> {
  await heartbeats.get(name)?.stop();
  heartbeats.delete(name);
}

async function startOperator(): Promise<void> {
  const kubeconfig = path.join(dir, 'operator.kubeconfig');
  await writeFile(kubeconfig, api.plane.kubeconfigForToken(await token('operator')));
  const program = path.join(import.meta.dirname, '../../operator/main.ts');
  const args = ['--disable-warning=ExperimentalWarning', program, '--kubeconfig', kubeconfig];
  const health = ['--health', `127.0.0.1:${healthPort}`];
  operator = await startDaemon('operator', process.execPath, [...args, ...health, '--lease-duration', `${leaseMs}ms`], {
    logFile: path.join(dir, 'operator.log'),
  });
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

beforeAll(async () => {
  healthPort = await freePort();
  dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-operator-'));
  api = await startTestApi();
  await applyFolder('rbac');
  await applyFolder('policies');
  for (const name of ['s1', 's2', 's3', 'c1', 'c2']) {
    await resource(api.connection, kinds.nodes).create({ metadata: { name } });
  }
  await startOperator();
}, 600_000);

afterAll(async () => {
  await operator?.kill();
  await Promise.all([...heartbeats.values()].map((heartbeat) => heartbeat.stop()));
  for (const connection of opened) connection.close();
  await api?.stop();
  await rm(dir, { recursive: true, force: true });
});

const volumes = () => resource(api.connection, kinds.replicatedVolumes);
const replicas = () => resource(api.connection, kinds.volumeReplicas);
const connections = () => resource(api.connection, kinds.volumeConnections);

async function volume(name: string): Promise<ReplicatedVolume> {
  const found = await volumes().get(name);
  if (found === undefined) throw new Error(`there is no volume ${name}`);
  return found;
}

/** Waits until the volume is as wanted; otherwise tells how it is, and what the operator said. */
async function untilVolume(
  name: string,
  what: string,
  holds: (v: ReplicatedVolume) => boolean,
): Promise<ReplicatedVolume> {
  try {
    await until(what, async () => holds(await volume(name)));
  } catch (error) {
    const state = JSON.stringify((await volumes().get(name))?.status, undefined, 1);
    const log = tailOfFile(path.join(dir, 'operator.log'), 20);
    throw new Error(`${String(error)}\n${state}\n${log}`, { cause: error });
  }
  return await volume(name);
}

/** A storage agent makes what the API asks for: one look at the replicas of its node. */
async function playStorageAgent(connection: KubeConnection, node: string): Promise<void> {
  const own = resource(connection, kinds.volumeReplicas);
  const { items } = await own.list({ fieldSelector: `spec.storageNode=${node}` });
  for (const { metadata, spec } of items) {
    if (spec.state === 'Orphan') {
      const named = (await resource(connection, kinds.replicatedVolumes).get(spec.volume))?.status?.replicas ?? [];
      const object = await own.get(metadata.name);
      const erasable = metadata.deletionTimestamp !== undefined && !named.some(({ name }) => name === metadata.name);
      if (object !== undefined && erasable) await removeFinalizer(own, object, 'holdfast.dev/storage-agent');
      continue;
    }
    const nqn = `nqn.2026-01.dev.holdfast:replica:${metadata.uid ?? ''}`;
    const where = { nqn, address: '127.0.0.1', port: 4420 };
    const status = { phase: 'Ready', ...where, fencedEpoch: spec.epoch, sizeBytes: spec.sizeBytes } as const;
    await own.apply(
      { metadata: { name: metadata.name }, status },
      { fieldManager: 'storage-agent', force: true, subresource: 'status' },
    );
  }
}

async function addStorageNode(name: string, zone: string): Promise<KubeConnection> {
  const nodes = resource(api.connection, kinds.storageNodes);
  const object = newNode(name);
  await nodes.create({ ...object, metadata: { name, labels: { zone } } });
  const connection = await agentOf('storage-agent', name);
  beat(connection, storageLeaseName(name), name);
  await resource(connection, kinds.storageNodes).apply(
    {
      metadata: { name },
      status: {
        pools: [{ name: 'fast', capacityBytes: 2 ** 34, usedBytes: 0, provisionedBytes: 0 }],
        conditions: [
          { type: 'Ready', status: 'True', reason: 'Ready', message: '', lastTransitionTime: new Date().toISOString() },
        ],
      },
    },
    { fieldManager: 'storage-agent', force: true, subresource: 'status' },
  );
  return connection;
}

/** What a client agent writes when it has its device with these legs. The operator may write at the same time. */
async function playConnected(client: KubeConnection, name: string, node: string, inSync: string[], lost: string[]) {
  const at = new Date().toISOString();
  for (let recorded = false; !recorded;) {
    const { metadata, status } = await volume(name);
    const epoch = status?.attachment?.epoch ?? 0;
    const gone = lost.map((leg) => [leg, { epoch, at, reason: 'no answer', bootId: 'b' }]);
    const patch = {
      metadata: { resourceVersion: metadata.resourceVersion },
      status: {
        inSync,
        recordGeneration: (status?.recordGeneration ?? 0) + 1,
        outOfSync: Object.fromEntries(gone),
        attachment: { clean: false },
      },
    };
    const refused = await refusal(
      resource(client, kinds.replicatedVolumes).patch(name, patch, { subresource: 'status' }),
    );
    if (refused !== '' && !refused.includes('has been modified')) throw new Error(refused);
    recorded = refused === '';
  }
  const { epoch = 0 } = (await volume(name)).status?.attachment ?? {};
  const { sizeBytes } = (await connections().get(`${name}.${node}`))?.spec ?? {};
  await resource(client, kinds.volumeConnections).patch(
    `${name}.${node}`,
    { status: { phase: 'Connected', epoch, devicePath: `/dev/holdfast/${name}`, sizeBytes } },
    { subresource: 'status' },
  );
}

async function eventsOf(name: string): Promise<string[]> {
  const { items } = await resource(api.connection, kinds.events, 'default').list();
  return items.filter(({ involvedObject }) => involvedObject.name === name).map(({ reason = '' }) => reason);
}

/** The message with which the API server refuses; '' when it doesn't. */
async function refusal(write: Promise<unknown>): Promise<string> {
  try {
    await write;
    return '';
  } catch (error) {
    if (error instanceof KubeError) return error.message;
    throw error;
  }
}

const status = { subresource: 'status' } as const;
const patchAs = async <T extends KubeObject>(
  connection: KubeConnection,
  kind: Parameters<typeof resource<T>>[1],
  name: string,
  patch: object,
  options?: { subresource: 'status' },
): Promise<string> => await refusal(resource(connection, kind).patch(name, patch, options));

describe('the operator on a real API server', () => {
  let s1: KubeConnection;
  let s2: KubeConnection;
  let s3: KubeConnection;
  let c1: KubeConnection;
  let c2: KubeConnection;

  const agents = async (): Promise<void> => {
    if (heartbeats.has(storageLeaseName('s1'))) await playStorageAgent(s1, 's1');
    if (heartbeats.has(storageLeaseName('s2'))) await playStorageAgent(s2, 's2');
    if (s3 !== undefined && heartbeats.has(storageLeaseName('s3'))) await playStorageAgent(s3, 's3');
  };

  test('a volume that can not be placed says why, and is placed as soon as a node is added', async () => {
    const placement = { constraints: [{ distinct: { label: 'zone' } }], goals: [] };
    const healing = { replicaTimeout: '2s', legTimeout: '1s', paused: false };
    await volumes().create(newVolume('pg', { placement, healing }));
    const pending = await untilVolume('pg', 'refused', ({ status }) => status?.phase === 'Pending');
    expect(findCondition(pending.status?.conditions, 'Placed')).toMatchObject({
      status: 'False',
      reason: 'NoPlace',
      message: 'there are no storage nodes',
    });
    s1 = await addStorageNode('s1', 'a');
    await untilVolume('pg', 'one node is not enough', ({ status }) => /1/.test(status?.message ?? ''));
    s2 = await addStorageNode('s2', 'b');
    await untilVolume('pg', 'placed', ({ status }) => (status?.replicas ?? []).length === 2);
    expect(await eventsOf('pg')).toContain('NoPlace');
  });

  test('its replicas are made, and it is healthy once all of them are ready', async () => {
    await until('replicas', async () => (await replicas().list()).items.length === 2);
    await agents();
    const created = await untilVolume('pg', 'healthy', ({ status }) => status?.phase === 'Healthy');
    expect(created.status).toMatchObject({
      inSync: ['pg-r0', 'pg-r1'],
      inSyncSummary: '2/2',
      attachment: { node: '', epoch: 0, clean: true },
    });
  });

  test('attaching opens the replicas to the client alone, under a higher epoch, and then connects it', async () => {
    c1 = await agentOf('csi-node', 'c1');
    beat(c1, clientLeaseName('c1'), 'c1');
    await volumes().patch('pg', { spec: { attachTo: 'c1' } });
    await until('fence asked for', async () =>
      (await replicas().list()).items.every(({ spec }) => spec.hostNqn === hostNqn('c1') && spec.epoch === 1),
    );
    expect((await volume('pg')).status?.attachment?.node).toBe('');
    await agents();
    await until('connection', async () => (await connections().get('pg.c1'))?.spec.legs.length === 2);
    await playConnected(c1, 'pg', 'c1', ['pg-r0', 'pg-r1'], []);
    const attached = await untilVolume('pg', 'attached', ({ status }) => {
      return findCondition(status?.conditions, 'Attached')?.status === 'True';
    });
    expect(attached.status).toMatchObject({ phase: 'Healthy', attachment: { node: 'c1', epoch: 1, clean: false } });
  });

  test('a volume grows from below, and nothing of it ever gets smaller', async () => {
    const larger = 128 * 1024 * 1024;
    expect((await volume('pg')).status?.capacityBytes).toBe(larger / 2);
    await volumes().patch('pg', { spec: { capacityBytes: larger } });
    await until('the replicas are to grow', async () =>
      (await replicas().list()).items.every(({ spec }) => spec.sizeBytes === larger),
    );
    expect((await connections().get('pg.c1'))?.spec.sizeBytes).toBe(larger / 2);
    await agents();
    await until('the array is to grow', async () => (await connections().get('pg.c1'))?.spec.sizeBytes === larger);
    expect((await volume('pg')).status?.capacityBytes).toBe(larger / 2);
    expect(await patchAs(c1, kinds.volumeConnections, 'pg.c1', { status: { sizeBytes: larger } }, status)).toBe('');
    await untilVolume('pg', 'grown', (found) => found.status?.capacityBytes === larger);
    await until('told', async () => (await eventsOf('pg')).includes('Expanded'));
    const smaller = 'never';
    expect(
      await patchAs(api.connection, kinds.replicatedVolumes, 'pg', { spec: { capacityBytes: larger / 2 } }),
    ).toMatch(smaller);
    expect(
      await patchAs(api.connection, kinds.replicatedVolumes, 'pg', { status: { capacityBytes: 1 } }, status),
    ).toMatch(smaller);
    expect(
      await patchAs(api.connection, kinds.volumeConnections, 'pg.c1', { spec: { sizeBytes: larger / 2 } }),
    ).toMatch('only grows');
    expect(await patchAs(api.connection, kinds.volumeReplicas, 'pg-r0', { spec: { sizeBytes: larger / 2 } })).toMatch(
      'only grows',
    );
  });

  test('a VolumeAttributesClass changes it while it is used, with the identity of the CSI controller', async () => {
    const own = await withToken('csi-controller', await token('csi-controller'));
    const deps = { volumes: resource(own, kinds.replicatedVolumes) };
    const modify = async (mutableParameters: Record<string, string>): Promise<unknown> =>
      await controllerModify(deps, { volumeId: 'pg', secrets: {}, mutableParameters });
    await modify({ legTimeout: '1500ms', onSlowLeg: 'Drop after 30s' });
    await until('the client is told', async () => (await connections().get('pg.c1'))?.spec.legTimeout === '1500ms');
    expect((await connections().get('pg.c1'))?.spec.onSlowLeg).toBe('Drop after 30s');
    await expect(modify({ provisioning: 'Thick' })).rejects.toThrow(/HF402: provisioning can't be changed/);
    // More replicas than there are places for: the volume stays as it is, and says why.
    await modify({ replicas: '3' });
    const waiting = await untilVolume('pg', 'refused', (found) =>
      /0 of 2 storage nodes fit/.test(found.status?.message ?? ''),
    );
    expect(waiting.status?.replicas).toHaveLength(2);
    await modify({ replicas: '2', legTimeout: '1s', onSlowLeg: 'Report' });
    await untilVolume('pg', 'as before', (found) => found.status?.phase === 'Healthy');
  });

  test('once a volume is at rest, nothing is written any more', async () => {
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = await volume('pg');
    await new Promise((resolve) => setTimeout(resolve, leaseMs));
    expect((await volume('pg')).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
  });

  test('Prometheus is told of the volume, and of the storage nodes', async () => {
    const text = await (await fetch(`http://127.0.0.1:${healthPort}/metrics`)).text();
    expect(text).toContain('holdfast_operator_leading 1\n');
    expect(text).toContain('holdfast_volume_in_sync_replicas{volume="pg"} 2\n');
    expect(text).toContain('holdfast_volume_attached{volume="pg",node="c1"} 1\n');
    expect(text).toContain('holdfast_storage_node_alive{storage_node="s1"} 1\n');
  });

  let replacement = '';

  test('a replica that stays away is replaced, and the operator may be killed in the middle', async () => {
    s3 = await addStorageNode('s3', 'c');
    const failed = (await volume('pg')).status?.replicas?.find(({ name }) => name === 'pg-r1')?.storageNode ?? '';
    await stopBeat(storageLeaseName(failed));
    const lostMs = Date.now();
    await playConnected(c1, 'pg', 'c1', ['pg-r0'], ['pg-r1']);
    await untilVolume('pg', 'degraded', ({ status }) => status?.phase === 'Degraded');
    await operator?.kill();
    await startOperator();
    await until('replacement', async () => {
      replacement =
        (await replicas().list()).items.find(({ metadata }) => /^pg-r([2-9]|\d\d)/.test(metadata.name))?.metadata
          .name ?? '';
      return replacement !== '';
    });
    expect(Date.now() - lostMs).toBeGreaterThanOrEqual(2_000);
    await agents();
    await until('its leg', async () =>
      ((await connections().get('pg.c1'))?.spec.legs ?? []).some(({ replica }) => replica === replacement),
    );
    const legs = (await connections().get('pg.c1'))?.spec.legs.map(({ replica }) => replica);
    expect(legs).toEqual(['pg-r0', replacement]);
    await playConnected(c1, 'pg', 'c1', ['pg-r0', replacement], []);
    const healed = await untilVolume('pg', 'healed', ({ status }) => status?.replicas?.length === 2);
    expect(healed.status).toMatchObject({ phase: 'Healthy', inSync: ['pg-r0', replacement] });
    expect(healed.status?.outOfSync ?? {}).toEqual({});

    // The failed node's orphan waits for the node, and is erased when it is back.
    expect(await replicas().get('pg-r1')).toMatchObject({ spec: { state: 'Orphan' } });
    beat(failed === 's1' ? s1 : s2, storageLeaseName(failed), failed);
    await agents();
    expect(await replicas().get('pg-r1')).toBeUndefined();
  });

  test('a dead client is cut off before another one gets the volume', async () => {
    await stopBeat(clientLeaseName('c1'));
    await volumes().patch('pg', { spec: { attachTo: '' } });
    await until('fence asked for', async () =>
      (await replicas().list()).items.every(({ spec }) => spec.hostNqn === '' && spec.epoch === 2),
    );
    expect((await volume('pg')).status?.attachment).toMatchObject({ node: 'c1', epoch: 1 });
    await agents();
    await untilVolume('pg', 'fenced', ({ status }) => status?.attachment?.node === '');
    // The dead client has to clean up before it may have the volume again: its connection is kept until it has.
    const left = async (): Promise<VolumeConnection | undefined> => await connections().get('pg.c1');
    await until('connection going', async () => (await left())?.metadata.deletionTimestamp !== undefined);
    expect((await left())?.metadata.finalizers).toEqual(['holdfast.dev/client-agent']);
    c2 = await agentOf('csi-node', 'c2');
    beat(c2, clientLeaseName('c2'), 'c2');
    await volumes().patch('pg', { spec: { attachTo: 'c2' } });
    await until('fence asked for', async () => (await replicas().list()).items.every(({ spec }) => spec.epoch === 3));
    await agents();
    await until('connection', async () => (await connections().get('pg.c2')) !== undefined);
    expect((await volume('pg')).status?.attachment).toMatchObject({ node: 'c2', epoch: 3, clean: false });
    expect(await eventsOf('pg')).toEqual(expect.arrayContaining(['ClientFenced', 'AttachmentGranted', 'Healing']));
  });

  test('a client that lost the volume can not record anything any more', async () => {
    const old = resource(c1, kinds.replicatedVolumes);
    // Without a resourceVersion: the operator may still be writing, and a conflict would hide the refusal.
    const patch = { status: { inSync: ['pg-r0'], recordGeneration: 99 } };
    expect(await refusal(old.patch('pg', patch, { subresource: 'status' }))).toMatch('not attached to c1');
  });

  test('a volume is deleted only when nobody has it', async () => {
    await playConnected(c2, 'pg', 'c2', ['pg-r0', replacement], []);
    await volumes().delete('pg');
    await untilVolume('pg', 'refused', ({ status }) => /attached to c2/.test(status?.message ?? ''));
    await volumes().patch('pg', { spec: { attachTo: '' } });
    await until('release asked for', async () => {
      return (await connections().get('pg.c2'))?.metadata.deletionTimestamp !== undefined;
    });
    const own = resource(c2, kinds.replicatedVolumes);
    await own.patch('pg', { status: { attachment: { clean: true } } }, { subresource: 'status' });
    const connection = (await resource(c2, kinds.volumeConnections).get('pg.c2')) as VolumeConnection;
    await removeFinalizer(resource(c2, kinds.volumeConnections), connection, 'holdfast.dev/client-agent');
    await until('volume gone', async () => (await volumes().get('pg')) === undefined);
    expect((await connections().list()).items).toEqual([]);
    // Its replicas are marked once it is gone, and erased once they are marked.
    await until('nothing is left', async () => {
      await agents();
      return (await replicas().list()).items.length === 0;
    });
  });

  test('SIGTERM ends the operator in order, and gives the lead away', async () => {
    operator?.signal('SIGTERM');
    await until('ended', () => operator?.ended() !== undefined);
    const lease = await resource(api.connection, kinds.leases, namespace).get('holdfast-operator');
    expect(lease?.spec?.holderIdentity ?? '').toBe('');
  });
});

describe('a node speaks for itself only', () => {
  const spec = { volume: 'v', volumeUid: 'u', sizeBytes: 2 ** 26 };
  let storage: KubeConnection;
  let client: KubeConnection;

  beforeAll(async () => {
    storage = await agentOf('storage-agent', 's1');
    client = await agentOf('csi-node', 'c1');
    for (const node of ['s1', 's2']) {
      const object = { metadata: { name: `v-${node}`, finalizers: ['holdfast.dev/storage-agent'] } };
      await replicas().create({ ...object, spec: { ...spec, pool: 'fast', storageNode: node } } as VolumeReplica);
    }
    for (const node of ['c1', 'c2']) {
      await volumes().create(newVolume(`of-${node}`));
      const status = {
        inSync: ['a', 'b'],
        attachment: { node, hostNqn: hostNqn(node), epoch: 5, clean: true },
        replicas: ['a', 'b'].map((name) => ({ name, storageNode: 's1', pool: 'fast', role: 'Member' })),
      };
      await volumes().patch(`of-${node}`, { status }, { subresource: 'status' });
      const connection = { ...spec, node, epoch: 5, legTimeout: '3s', ...DEFAULT_STALL_POLICY, raidDisks: 2, legs: [] };
      const metadata = { name: `of-${node}.${node}`, finalizers: ['holdfast.dev/client-agent'] };
      await connections().create({ metadata, spec: connection });
    }
  });

  test('the policies come into force', async () => {
    const loose = await withToken('loose', await token('storage-agent'));
    const patch = { status: { phase: 'Ready' } };
    const write = async () => await patchAs(loose, kinds.volumeReplicas, 'v-s2', patch, status);
    await until('a token that is bound to no node writes nothing', async () => (await write()) !== '', 4_000);
    expect(await write()).toMatch('bound to its node');
  });

  test('a storage agent writes the status of its own replicas and node', async () => {
    const patch = { status: { phase: 'Ready', fencedEpoch: 0 } };
    expect(await patchAs(storage, kinds.volumeReplicas, 'v-s1', patch, status)).toBe('');
    expect(await patchAs(storage, kinds.volumeReplicas, 'v-s2', patch, status)).toMatch('its own node');
    const node = { status: { bootId: 'x' } };
    expect(await patchAs(storage, kinds.storageNodes, 's1', node, status)).toBe('');
    expect(await patchAs(storage, kinds.storageNodes, 's2', node, status)).toMatch('its own StorageNode');
  });

  test('a storage agent changes no spec, and lets go of orphans that are being deleted only', async () => {
    expect(await patchAs(storage, kinds.volumeReplicas, 'v-s1', { spec: { state: 'Orphan' } })).toMatch(
      'does not change a spec',
    );
    for (const metadata of [{ labels: { x: 'y' } }, { annotations: { x: 'y' } }]) {
      expect(await patchAs(storage, kinds.volumeReplicas, 'v-s1', { metadata })).toMatch('does not change labels');
    }
    const none = { metadata: { finalizers: [] } };
    expect(await patchAs(storage, kinds.volumeReplicas, 'v-s1', none)).toMatch('only an orphan');
    await replicas().patch('v-s1', { spec: { state: 'Orphan' } });
    await replicas().delete('v-s1');
    expect(await patchAs(storage, kinds.volumeReplicas, 'v-s1', none)).toBe('');
    expect(await replicas().get('v-s1')).toBeUndefined();
  });

  test('a client agent records the in-sync set of the volumes of its own node only', async () => {
    const patch = { status: { inSync: ['a'], outOfSync: { b: { epoch: 5, at: new Date().toISOString() } } } };
    expect(await patchAs(client, kinds.replicatedVolumes, 'of-c1', patch, status)).toBe('');
    const clean = { status: { attachment: { clean: false } } };
    expect(await patchAs(client, kinds.replicatedVolumes, 'of-c1', clean, status)).toBe('');
    expect(await patchAs(client, kinds.replicatedVolumes, 'of-c2', patch, status)).toMatch('not attached to c1');
  });

  test.each<[string, object, string]>([
    ['the epoch', { attachment: { epoch: 6 } }, 'only whether it is clean'],
    ['the node', { attachment: { node: 'c2' } }, 'only whether it is clean'],
    ['the host', { attachment: { hostNqn: 'nqn.x' } }, 'only whether it is clean'],
    ['the replicas', { replicas: [] }, 'only inSync'],
    ['the phase', { phase: 'Healthy' }, 'only inSync'],
    ['the message', { message: 'fine' }, 'only inSync'],
    ['the lineage', { lineage: 2 }, 'only inSync'],
    ['the size', { capacityBytes: 2 ** 40 }, 'only inSync'],
    ['a name that is no replica', { inSync: ['a', 'z'] }, 'only replicas of the volume'],
    [
      "the operator's conditions",
      {
        conditions: [
          { type: 'Ready', status: 'True', reason: 'X', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' },
        ],
      },
      'only Formatting',
    ],
  ])('a client agent can not change %s of a volume', async (_what, change, message) => {
    expect(await patchAs(client, kinds.replicatedVolumes, 'of-c1', { status: change }, status)).toMatch(message);
  });

  test('a client agent may say that it formats', async () => {
    const condition = {
      type: 'Formatting',
      status: 'True',
      reason: 'X',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    const patch = { status: { conditions: [condition] } };
    expect(await patchAs(client, kinds.replicatedVolumes, 'of-c1', patch, status)).toBe('');
    expect(await patchAs(client, kinds.replicatedVolumes, 'of-c2', patch, status)).toMatch('not attached to c1');
  });

  test('a client agent writes the status of its own connections, and lets go of them', async () => {
    const patch = { status: { phase: 'Connected' } };
    expect(await patchAs(client, kinds.volumeConnections, 'of-c1.c1', patch, status)).toBe('');
    expect(await patchAs(client, kinds.volumeConnections, 'of-c2.c2', patch, status)).toMatch('its own node');
    const none = { metadata: { finalizers: [] } };
    expect(await patchAs(client, kinds.volumeConnections, 'of-c2.c2', none)).toMatch('its own node');
    expect(await patchAs(client, kinds.volumeConnections, 'of-c1.c1', { spec: { epoch: 9 } })).toMatch('a spec');
    expect(await patchAs(client, kinds.volumeConnections, 'of-c1.c1', { metadata: { labels: { x: 'y' } } })).toMatch(
      'does not change labels',
    );
    expect(await patchAs(client, kinds.volumeConnections, 'of-c1.c1', none)).toBe('');
  });

  test('an agent renews the leases of its own node only', async () => {
    const create = async (connection: KubeConnection, name: string, holderIdentity: string) =>
      await refusal(
        resource(connection, kinds.leases, namespace).create({ metadata: { name }, spec: { holderIdentity } }),
      );
    expect(await create(storage, 'storage-s9', 's9')).toMatch('storage-s1 only');
    expect(await create(storage, 'client-s1', 's1')).toMatch('storage-s1 only');
    expect(await create(client, 'client-c9', 'c9')).toMatch('client-c1 only');
    const renew = { spec: { holderIdentity: 's2' } };
    const leases = resource(storage, kinds.leases, namespace);
    expect(await refusal(leases.patch('storage-s2', renew))).toMatch('storage-s1 only');
    expect(await refusal(leases.patch('storage-s1', { spec: { holderIdentity: 's1' } }))).toBe('');
  });

  test('nobody reads secrets, and the operator writes no status of an agent', async () => {
    const brain = await withToken('brain', await token('operator'));
    const patch = { status: { fencedEpoch: 9 } };
    expect(await patchAs(brain, kinds.volumeReplicas, 'v-s2', patch, status)).toMatch('forbidden');
    const answer = await brain.request({ method: 'GET', path: `/api/v1/namespaces/${namespace}/secrets` });
    expect(answer.status).toBe(403);
  });
});
