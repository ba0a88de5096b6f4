import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { loadAll } from 'js-yaml';
import type { KubeObject, ReplicatedVolume } from '../../lib/api/index.ts';
import { OPERATOR_LEASE, storageLeaseName } from '../../lib/api/names.ts';
import { kinds, resource, type KubeEvent, type ResourceKind } from '../../lib/kube/client.ts';
import { createInformer, type Informer } from '../../lib/kube/informer.ts';
import { startHeartbeat, type Heartbeat } from '../../lib/kube/lease.ts';
import { silentLog } from '../../lib/log.ts';
import { startDaemon, type Daemon } from '../lab/process.ts';
import { terminalProgress } from '../lab/progress.ts';
import { provisionerProgram } from '../pods/programs.ts';
import { apply, token } from '../system/manifests.ts';
import { newNode, startTestApi, until, type TestApi } from './harness.ts';

// The provisioner may have to be built first.
jest.setTimeout(15 * 60_000);

/*
 * The CSI project's provisioner, with the options and permissions that the chart gives it, and our CSI controller as a program,
 * on a real API server. There are no machines: the operator and the agents are played.
 */

const namespace = 'holdfast-system';
const DRIVER = 'csi.holdfast.dev';
const ZONE = 'topology.kubernetes.io/zone';
const GIB = 2 ** 30;
const HEADER = 4 * 2 ** 20;
const charts = path.join(import.meta.dirname, '../../charts/holdfast/files');

interface Claim extends KubeObject {
  spec: object;
}
interface PersistentVolume extends KubeObject {
  spec: { csi: { volumeHandle: string; volumeAttributes?: object }; claimRef: { name: string }; nodeAffinity?: object };
}
interface StorageCapacity extends KubeObject {
  storageClassName: string;
  nodeTopology?: object;
  capacity?: string;
  maximumVolumeSize?: string;
}

const kind = <T extends KubeObject>(
  group: string,
  name: string,
  plural: string,
  namespaced = false,
): ResourceKind<T> => ({
  group,
  version: 'v1',
  kind: name,
  plural,
  namespaced,
});
const storage = 'storage.k8s.io';
const csiNodes = kind<KubeObject>(storage, 'CSINode', 'csinodes');
const classes = kind<KubeObject>(storage, 'StorageClass', 'storageclasses');
const capacities = kind<StorageCapacity>(storage, 'CSIStorageCapacity', 'csistoragecapacities', true);
const claims = kind<Claim>('', 'PersistentVolumeClaim', 'persistentvolumeclaims', true);
const persistentVolumes = kind<PersistentVolume>('', 'PersistentVolume', 'persistentvolumes');

let api: TestApi;
let dir: string;
let volumes: Informer<ReplicatedVolume>;
const daemons: Daemon[] = [];
/** What went wrong for the operator that is played. */
const played: unknown[] = [];
const heartbeats: Heartbeat[] = [];

async function applyFolder(folder: string): Promise<void> {
  for (const file of await readdir(path.join(charts, folder))) {
    const text = await readFile(path.join(charts, folder, file), 'utf8');
    for (const object of loadAll(text)) if (object != null) await apply(api.connection, object as never);
  }
}

/** The arguments of a container of the CSI controller, as the chart renders them. */
async function chartArgs(container: string): Promise<readonly string[]> {
  interface Rendered {
    readonly kind?: string;
    readonly metadata?: { readonly name: string };
    readonly spec?: { readonly template: { readonly spec: { readonly containers: readonly Container[] } } };
  }
  interface Container {
    readonly name: string;
    readonly args: readonly string[];
  }
  const golden = await readFile(path.join(import.meta.dirname, 'golden/default.yaml'), 'utf8');
  const found = (loadAll(golden) as (Rendered | null)[]).find(
    (each) => each?.kind === 'Deployment' && each.metadata?.name === 'holdfast-csi-controller',
  );
  const args = found?.spec?.template.spec.containers.find(({ name }) => name === container)?.args;
  if (args === undefined) throw new Error(`the chart has no container ${container}`);
  return args;
}

beforeAll(async () => {
  const provisioner = await provisionerProgram(terminalProgress(process.stderr));
  dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-provisioner-'));
  api = await startTestApi();
  for (const folder of ['rbac', 'sidecars', 'admission']) await applyFolder(folder);

  const leases = resource(api.connection, kinds.leases, namespace);
  const beat = (name: string): void =>
    void heartbeats.push(startHeartbeat({ leases, name, holder: name, durationMs: 3000, log: silentLog }));
  beat(OPERATOR_LEASE);
  for (const [name, zone, gib] of [
    ['s1', 'a', 10],
    ['s2', 'b', 20],
    ['s3', 'b', 30],
  ] as const) {
    beat(storageLeaseName(name));
    const nodes = resource(api.connection, kinds.storageNodes);
    await nodes.create({ ...newNode(name), metadata: { name, labels: { [ZONE]: zone } } });
    const ready = {
      type: 'Ready',
      status: 'True',
      reason: 'X',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    const pools = [{ name: 'fast', capacityBytes: gib * GIB, usedBytes: 0, provisionedBytes: 0 }];
    await nodes.patch(name, { status: { conditions: [ready], pools } }, { subresource: 'status' });
  }
  for (const zone of ['a', 'b']) {
    const name = `client-${zone}`;
    const labels = { [ZONE]: zone, 'csi.holdfast.dev/client': 'true' };
    await resource(api.connection, kinds.nodes).create({ metadata: { name, labels } });
    const driver = { name: DRIVER, nodeID: name, topologyKeys: Object.keys(labels) };
    await resource(api.connection, csiNodes).create({ metadata: { name }, spec: { drivers: [driver] } } as never);
  }

  // The operator: every volume is in sync at once.
  volumes = createInformer<ReplicatedVolume>(api.connection, kinds.replicatedVolumes, {
    log: silentLog,
    onChange: ({ metadata, status }, _previous, deleted) => {
      if (deleted || status?.inSync !== undefined) return;
      const all = resource(api.connection, kinds.replicatedVolumes);
      const inSync = [`${metadata.name}-r0`];
      all
        .patch(metadata.name, { status: { inSync } }, { subresource: 'status' })
        .catch((error: unknown) => played.push(error));
    },
  });
  volumes.start();

  const kubeconfig = path.join(dir, 'csi-controller.kubeconfig');
  const bearer = await token(api.connection, namespace, 'csi-controller');
  await writeFile(kubeconfig, api.plane.kubeconfigForToken(bearer), { mode: 0o600 });
  const socket = `unix://${dir}/csi.sock`;
  const start = async (name: string, program: string, args: readonly string[]): Promise<void> => {
    const env = { NAMESPACE: namespace, POD_NAME: 'holdfast-csi-controller-x' };
    daemons.push(await startDaemon(name, program, args, { logFile: path.join(dir, `${name}.log`), env }));
  };
  const main = path.join(import.meta.dirname, '../../csi-driver/main.ts');
  const options = ['--mode=controller', `--endpoint=${socket}`, `--kubeconfig=${kubeconfig}`, '--lease-duration=3s'];
  await start('csi-driver', process.execPath, ['--disable-warning=ExperimentalWarning', main, ...options]);
  await start('provisioner', provisioner, [
    ...(await chartArgs('provisioner')),
    `--csi-address=${socket}`,
    `--kubeconfig=${kubeconfig}`,
    // There is no Deployment that could own them, and nobody waits a minute.
    '--capacity-ownerref-level=-1',
    '--capacity-poll-interval=1s',
  ]);
});

afterAll(async () => {
  await Promise.all(daemons.map((daemon) => daemon.kill()));
  await Promise.all(heartbeats.map((heartbeat) => heartbeat.stop()));
  await volumes?.stop();
  await api?.stop();
  await rm(dir, { recursive: true, force: true });
});

async function newClass(name: string, parameters: Readonly<Record<string, string>>): Promise<void> {
  const object = { metadata: { name }, provisioner: DRIVER, parameters, volumeBindingMode: 'WaitForFirstConsumer' };
  await resource(api.connection, classes).create(object);
}

/** A claim as the scheduler and the controller manager leave it to the provisioner. */
async function newClaim(
  name: string,
  storageClassName: string,
  annotations: Readonly<Record<string, string>> = {},
  node = 'client-b',
): Promise<void> {
  await resource(api.connection, claims, 'default').create({
    metadata: {
      name,
      annotations: {
        'volume.kubernetes.io/storage-provisioner': DRIVER,
        'volume.kubernetes.io/selected-node': node,
        ...annotations,
      },
    },
    spec: { storageClassName, accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  });
}

/** The volume that was made for a claim; says what the programs said when there is none in time. */
async function made(name: string): Promise<{ readonly pv: PersistentVolume; readonly rv: ReplicatedVolume }> {
  let pv: PersistentVolume | undefined;
  await until(
    `a volume for ${name}`,
    async () => {
      const { items } = await resource(api.connection, persistentVolumes).list();
      pv = items.find(({ spec }) => spec.claimRef.name === name);
      return pv !== undefined;
    },
    60_000,
  ).catch(async (error: unknown) => {
    const logs = await Promise.all(daemons.map(({ logFile }) => readFile(logFile, 'utf8')));
    throw new Error(`${String(error)}\n${logs.map((log) => log.slice(-3000)).join('\n')}`);
  });
  expect(played).toEqual([]);
  const rv = await resource(api.connection, kinds.replicatedVolumes).get(pv?.spec.csi.volumeHandle ?? '');
  if (pv === undefined || rv === undefined) throw new Error(`no volume for ${name}`);
  return { pv, rv };
}

async function complaint(name: string): Promise<string> {
  let message = '';
  await until(
    `an event of ${name}`,
    async () => {
      const { items } = await resource<KubeEvent>(api.connection, kinds.events, 'default').list();
      message =
        items.find((each) => each.involvedObject.name === name && each.reason === 'ProvisioningFailed')?.message ?? '';
      return message !== '';
    },
    60_000,
  );
  return message;
}

describe('capacity', () => {
  test('is told for each place, by the rules by which volumes are placed', async () => {
    await newClass('thick', { provisioning: 'Thick', placement: `distinct(${ZONE})` });
    const all = resource(api.connection, capacities, namespace);
    let found: readonly StorageCapacity[] = [];
    await until(
      'two CSIStorageCapacity objects',
      async () => {
        found = (await all.list()).items.filter(({ storageClassName }) => storageClassName === 'thick');
        return found.length === 2;
      },
      60_000,
    );
    const places = found.map(
      ({ nodeTopology }) => (nodeTopology as { matchLabels: Record<string, string> }).matchLabels[ZONE],
    );
    expect(new Set(places)).toEqual(new Set(['a', 'b']));
    // One replica in zone a, of 10 GiB.
    for (const { maximumVolumeSize } of found) expect(bytesOf(maximumVolumeSize)).toBe(10 * GIB - HEADER);
  });
});

describe('a claim', () => {
  test('of a class with near(client) gets a volume that knows where its pod will be, and can be used from everywhere', async () => {
    await newClass('near', { placement: 'prefer near(client)' });
    await newClaim('near', 'near');
    const { pv, rv } = await made('near');
    expect(rv.spec.clientLabels).toMatchObject({ [ZONE]: 'b' });
    expect(pv.spec.nodeAffinity).toBeUndefined();
  });

  test('of a class with accessFrom gets a volume with the affinity of its first pod', async () => {
    await newClass('pinned', { accessFrom: ZONE });
    await newClaim('pinned', 'pinned');
    const { pv } = await made('pinned');
    expect(pv.spec.nodeAffinity).toEqual({
      required: { nodeSelectorTerms: [{ matchExpressions: [{ key: ZONE, operator: 'In', values: ['b'] }] }] },
    });
  });

  test('may set what its class lets it set', async () => {
    await newClass('loose', { allowOverride: 'legTimeout, replicas' });
    await newClaim('quick', 'loose', { 'holdfast.dev/legTimeout': '500ms', 'holdfast.dev/replicas': '3' });
    const { rv } = await made('quick');
    expect(rv.spec).toMatchObject({ replicas: 3, healing: { legTimeout: '500ms' } });
  });

  test('is told what it may not set', async () => {
    await newClass('strict', { allowOverride: 'legTimeout' });
    await newClaim('greedy', 'strict', { 'holdfast.dev/provisioning': 'Thick' });
    expect(await complaint('greedy')).toContain(
      'annotation holdfast.dev/provisioning of the claim default/greedy: its StorageClass lets a claim set legTimeout',
    );
  });
});

/** The API server writes quantities in its own units. */
function bytesOf(quantity: string | undefined): number {
  const [, number = '', unit = ''] = /^(\d+)([KMGT]i)?$/.exec(quantity ?? '') ?? [];
  const scale = { '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40 }[unit];
  return Number(number) * (scale ?? Number.NaN);
}
