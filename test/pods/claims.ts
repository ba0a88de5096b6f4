/**
 * Many claims at once: how fast they are bound, against the same sidecar with a driver that does nothing, and how many requests to the
 * API server a volume costs. Real control plane, provisioner, CSI controller, operator and storage agents; the agents' disks are in
 * memory. `make bench-claims`; adds its figures to build/pods-report.json.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { storageLeaseName } from '../../lib/api/names.ts';
import { connect, kinds, resource } from '../../lib/kube/client.ts';
import { kubeOver } from '../../lib/kube/kube.ts';
import { createNvmet } from '../../lib/host/nvmet.ts';
import { silentLog } from '../../lib/log.ts';
import { startAgent } from '../../storage-agent/agent.ts';
import { Killer } from '../../storage-agent/testing/crash.ts';
import { FakeStorage } from '../../storage-agent/testing/fake-lvm.ts';
import { FakeTarget } from '../../storage-agent/testing/fake-nvmet.ts';
import { startControlPlane } from '../controlplane/controlplane.ts';
import { startDaemon, type Daemon } from '../lab/process.ts';
import { terminalProgress } from '../lab/progress.ts';
import { apply, applyProject, nodeToken, token } from '../system/manifests.ts';
import { requestTable, summarize, type AuditEntry } from './audit.ts';
import { list, until } from './kube.ts';
import { NOOP_DRIVER, serveNoopDriver } from './noop-driver.ts';
import { podPrograms } from './programs.ts';
import { mergeFigures } from './report.ts';

const { values } = parseArgs({ options: { claims: { type: 'string', default: '200' } } });
const COUNT = Number(values.claims);
const NAMESPACE = 'holdfast-system';
const NODES = ['s1', 's2', 's3', 's4'];
const LEASE_MS = 10_000;
const DRIVERS = { noop: NOOP_DRIVER, holdfast: 'csi.holdfast.dev' } as const;
type Driver = keyof typeof DRIVERS;
const CLAIMS = '/api/v1/namespaces/default/persistentvolumeclaims';

const progress = terminalProgress(process.stderr);
const programs = await podPrograms(progress);
const dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-claims-'));
const auditLog = path.join(dir, 'audit.log');
const auditPolicy = path.join(dir, 'audit.yaml');
await writeFile(
  auditPolicy,
  JSON.stringify({
    apiVersion: 'audit.k8s.io/v1',
    kind: 'Policy',
    omitStages: ['RequestReceived', 'ResponseStarted'],
    rules: [{ level: 'Metadata' }],
  }),
);
const plane = await startControlPlane({
  dir: path.join(dir, 'plane'),
  apiServerArgs: [`--audit-policy-file=${auditPolicy}`, `--audit-log-path=${auditLog}`],
  progress,
});
const connection = connect({ kubeconfigPath: plane.kubeconfigPath, userAgent: 'claims/1' });
const stops: (() => Promise<unknown> | void)[] = [];

try {
  await start();
  const seconds: Record<Driver, number> = { noop: 0, holdfast: 0 };
  for (const driver of ['noop', 'holdfast'] as const) {
    const began = Date.now();
    seconds[driver] = await bindAll(driver);
    process.stdout.write(`${driver}: ${COUNT} claims bound in ${seconds[driver].toFixed(1)} s\n`);
    await deleteAll();
    if (driver === 'holdfast') await requests(began);
  }
  const figures = {
    claims: COUNT,
    noopClaimsPerSecond: COUNT / seconds.noop,
    holdfastClaimsPerSecond: COUNT / seconds.holdfast,
    claimsRatio: seconds.noop / seconds.holdfast,
  };
  await mergeFigures(figures);
  process.stdout.write(`${JSON.stringify(figures)}\n`);
} finally {
  for (const stop of stops.reverse()) await stop();
  connection.close();
  await plane.stop();
  await rm(dir, { recursive: true, force: true });
}

async function start(): Promise<void> {
  const daemon = async (name: string, program: string, args: readonly string[]): Promise<Daemon> => {
    const started = await startDaemon(name, program, args, { logFile: path.join(dir, `${name}.log`) });
    stops.push(() => started.kill());
    return started;
  };
  const kubeconfigOf = async (account: string): Promise<string> => {
    const file = path.join(dir, `${account}.kubeconfig`);
    await writeFile(file, plane.kubeconfigForToken(await token(connection, NAMESPACE, account)), { mode: 0o600 });
    return file;
  };
  const pki = path.join(dir, 'plane/pki');
  await daemon('kube-controller-manager', path.join(programs.kubernetes, 'kube-controller-manager'), [
    `--kubeconfig=${plane.kubeconfigPath}`,
    '--leader-elect=false',
    '--bind-address=127.0.0.1',
    `--service-account-private-key-file=${path.join(pki, 'sa.key')}`,
    `--root-ca-file=${path.join(pki, 'ca.crt')}`,
    '--controllers=*,-node-lifecycle-controller',
  ]);
  await applyProject(connection);
  for (const name of NODES) {
    await apply(connection, { apiVersion: 'v1', kind: 'Node', metadata: { name } });
    await startStorageNode(name);
  }
  const dist = path.join(import.meta.dirname, '../../dist');
  const endpoints = { noop: `unix://${dir}/noop.sock`, holdfast: `unix://${dir}/csi.sock` };
  const noop = await serveNoopDriver(endpoints.noop);
  stops.push(() => noop.stop(0));
  await daemon('operator', process.execPath, [`${dist}/operator.mjs`, '--kubeconfig', await kubeconfigOf('operator')]);
  await daemon(
    'csi-controller',
    process.execPath,
    [
      [`${dist}/csi-driver.mjs`, '--mode', 'controller', '--endpoint', endpoints.holdfast],
      ['--kubeconfig', await kubeconfigOf('csi-controller')],
    ].flat(),
  );
  for (const driver of ['noop', 'holdfast'] as const) {
    await create('/apis/storage.k8s.io/v1/storageclasses', {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: driver },
      provisioner: DRIVERS[driver],
      parameters: driver === 'noop' ? {} : { replicas: '2', placement: 'distinct(zone)' },
    });
    // As in the chart.
    const startProvisioner = async (): Promise<Daemon> =>
      await daemon(
        `provisioner-${driver}`,
        path.join(programs.provisioner, 'csi-provisioner'),
        [
          [`--kubeconfig=${plane.kubeconfigPath}`, `--csi-address=${endpoints[driver]}`, '--timeout=60s'],
          ['--worker-threads=100', '--kube-api-qps=20', '--kube-api-burst=100', '--default-fstype=ext4'],
          ['--extra-create-metadata', '--strict-topology=false', '--immediate-topology=false'],
        ].flat(),
      );
    await startedFor(`provisioner-${driver}`, startProvisioner);
  }
  const nodes = resource(connection, kinds.storageNodes);
  await until('every storage node is ready', 60_000, async () => {
    const { items } = await nodes.list();
    const ready = items.filter((node) =>
      node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
    );
    return ready.length === NODES.length ? true : undefined;
  });
}

/** A sidecar ends when its driver is slow to answer at first; whoever runs it starts it again, as the kubelet does. */
async function startedFor(name: string, begin: () => Promise<Daemon>): Promise<void> {
  let running = await begin();
  await until(`${name} to start`, 120_000, async () => {
    if (running.ended() !== undefined) running = await begin();
    const said = await readFile(running.logFile, 'utf8');
    return running.ended() === undefined && said.includes('Started provisioner controller') ? true : undefined;
  });
}

/** The real storage agent, with a machine in memory. */
async function startStorageNode(name: string): Promise<void> {
  await resource(connection, kinds.storageNodes).create({
    metadata: { name, labels: { zone: `zone-${name}` } },
    spec: {
      addresses: [{ ip: '10.0.0.1', port: 4420 }],
      pools: [{ name: 'main', devices: ['/dev/vdb'] }],
      cordoned: false,
      draining: false,
    },
  });
  const file = path.join(dir, `${name}.kubeconfig`);
  const bearer = await nodeToken(connection, NAMESPACE, 'storage-agent', name);
  await writeFile(file, plane.kubeconfigForToken(bearer), { mode: 0o600 });
  const own = connect({ kubeconfigPath: file, userAgent: 'storage-agent/0.1.0' });
  const killer = new Killer();
  const target = new FakeTarget(killer, { debugfs: true });
  const storage = new FakeStorage(killer, target);
  storage.disks.set('/dev/vdb', { state: 'empty', sizeBytes: 1024 ** 4 });
  const nothing = { code: 0, stdout: '', stderr: '' };
  const agent = startAgent({
    kube: kubeOver(own),
    node: name,
    namespace: NAMESPACE,
    leaseDurationMs: LEASE_MS,
    version: '0.1.0',
    host: {
      disks: storage,
      lvm: storage,
      nvmet: createNvmet({ fs: target, exec: () => Promise.resolve(nothing) }),
      bootId: '0b000001-0000-4000-8000-000000000000',
      now: () => Date.now(),
      sleep: async (ms) => await new Promise((resolve) => setTimeout(resolve, ms)),
    },
    log: silentLog,
  });
  stops.push(async () => {
    await agent.stop();
    own.close();
  });
  await until(`the agent of ${name}`, 30_000, async () => {
    const lease = await resource(connection, kinds.leases, NAMESPACE).get(storageLeaseName(name));
    return lease === undefined ? undefined : true;
  });
}

interface Claim {
  readonly metadata: { readonly name: string };
  readonly status: { readonly phase: string };
}

/** @returns seconds from the first claim to the last that is bound */
async function bindAll(driver: Driver): Promise<number> {
  const started = performance.now();
  await Promise.all(
    Array.from({ length: COUNT }, async (_, index) => {
      const body = {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name: `${driver}-${index}` },
        spec: {
          accessModes: ['ReadWriteOnce'],
          storageClassName: driver,
          resources: { requests: { storage: '64Mi' } },
        },
      };
      await create(CLAIMS, body);
    }),
  );
  await until(`${COUNT} claims are bound`, 600_000, async () => {
    const claims = await list<Claim>(connection, CLAIMS);
    const done = claims.filter(({ status }) => status.phase === 'Bound').length;
    return done === COUNT ? true : undefined;
  });
  return (performance.now() - started) / 1000;
}

async function create(at: string, object: object): Promise<void> {
  const request = { method: 'POST', path: at, body: JSON.stringify(object), contentType: 'application/json' } as const;
  const { status, body } = await connection.request({ ...request, timeoutMs: 60_000 });
  if (status >= 300) throw new Error(`POST ${at}: ${status} ${body}`);
}

async function deleteAll(): Promise<void> {
  const { status, body } = await connection.request({ method: 'DELETE', path: CLAIMS, timeoutMs: 60_000 });
  if (status >= 300) throw new Error(`deleting the claims: ${status} ${body}`);
  await until('nothing is left', 600_000, async () => {
    const paths = [CLAIMS, '/api/v1/persistentvolumes', '/apis/holdfast.dev/v1alpha1/volumereplicas'];
    const left = await Promise.all(paths.map((at) => list(connection, at)));
    return left.every(({ length }) => length === 0) ? true : undefined;
  });
}

/** What making and deleting a volume has cost. */
async function requests(sinceMs: number): Promise<void> {
  const lines = (await readFile(auditLog, 'utf8')).split('\n').filter((line) => line !== '');
  const entries = lines.map((line) => JSON.parse(line) as AuditEntry);
  const found = summarize(entries, sinceMs);
  const { ours, others } = found;
  process.stdout.write(
    `requests per volume, made and deleted: ${(ours / COUNT).toFixed(1)} of ours, ${(others / COUNT).toFixed(1)} of others\n`,
  );
  process.stdout.write(`${requestTable(found, COUNT)}\n`);
  await mergeFigures({ apiRequestsPerVolume: ours / COUNT, apiRequestsPerVolumeOfSidecars: others / COUNT });
}
