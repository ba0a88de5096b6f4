import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { loadAll } from 'js-yaml';
import { clusterBinaries } from '../cluster/binaries.ts';
import { startControlPlane, type ControlPlane } from '../controlplane/controlplane.ts';
import { run } from '../lab/process.ts';
import { terminalProgress } from '../lab/progress.ts';
import { until } from './harness.ts';

// Helm may have to be built first, and on a busy machine a control plane takes its time.
jest.setTimeout(15 * 60_000);

/*
 * The chart as a user has it: Helm itself renders and installs it, on a real API server, which has no nodes: what is
 * installed is accepted, and does not run.
 */

const root = path.join(import.meta.dirname, '../..');
const chart = path.join(root, 'charts/holdfast');
const golden = path.join(import.meta.dirname, 'golden');
const namespace = 'holdfast-system';

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

let dir: string;
let plane: ControlPlane;
let helmPath: string;

beforeAll(async () => {
  const progress = terminalProgress(process.stderr);
  dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-chart-'));
  helmPath = (await clusterBinaries(progress)).helm;
  plane = await startControlPlane({ dir, progress });
});

afterAll(async () => {
  await plane?.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Helm with a home of its own, as the cluster's administrator. @throws Error with what it said, when it fails */
async function helm(...args: string[]): Promise<string> {
  const env = { ...process.env, HELM_CACHE_HOME: dir, HELM_CONFIG_HOME: dir, HELM_DATA_HOME: dir };
  const done = await run(helmPath, args, { env: { ...env, KUBECONFIG: plane.kubeconfigPath } });
  return done.stdout.toString();
}

const template = async (...args: string[]): Promise<string> =>
  helm('template', 'holdfast', chart, '--namespace', namespace, '--kube-version', 'v1.36.3', ...args);

const kubectl = async (...args: string[]): Promise<string> =>
  (await run('kubectl', ['--kubeconfig', plane.kubeconfigPath, ...args], { timeoutMs: 60_000 })).stdout.toString();

/** What a command that fails says; '' when it succeeds. */
const refusal = async (command: Promise<string>): Promise<string> =>
  command.then(
    () => '',
    (error: unknown) => String(error),
  );

test('helm finds nothing to complain about', async () => {
  expect(await helm('lint', '--strict', chart)).toContain('1 chart(s) linted, 0 chart(s) failed');
});

/** With UPDATE_GOLDEN=1 the files are written instead; their difference is what a change of the chart means. */
test.each([
  ['default', []],
  [
    'everything',
    [
      '--set',
      `snapshots.enabled=true,snapshots.groups=true,image.digest=sha256:${'0'.repeat(64)},agentImage.digest=sha256:${'1'.repeat(64)}`,
      '--set',
      'kubeletDir=/data/kubelet,metrics.serviceMonitor.enabled=true,metrics.rules.enabled=true',
    ],
  ],
  ['without-csi', ['--set', 'csiController.enabled=false,networkPolicy.enabled=false,storageClasses=null']],
] as const)('what is rendered with values "%s" is what it was', async (name, args) => {
  const rendered = await template('--set', 'crds.install=false', ...args);
  const file = path.join(golden, `${name}.yaml`);
  if (process.env['UPDATE_GOLDEN'] === '1') await writeFile(file, rendered);
  expect(rendered).toBe(await readFile(file, 'utf8'));
});

test.each([
  ['operator.replicas=0', "at '/operator/replicas': minimum: got 0, want 1"],
  ['operator.replica=2', "at '/operator': additional properties 'replica' not allowed"],
  ['leaseDuration=ten', "at '/leaseDuration': 'ten' does not match pattern"],
  ['image.digest=latest', "at '/image/digest': 'latest' does not match pattern"],
  ['csiNode.maxUnavailable=0%', "at '/csiNode/maxUnavailable'"],
  ['snapshots.enabled=true,csiController.enabled=false', 'snapshots.enabled needs csiController.enabled'],
])('the values %s are refused with what would be right', async (values, message) => {
  await expect(template('--set', values)).rejects.toThrow(message);
});

test('another namespace is used throughout', async () => {
  const rendered = await helm('template', 'x', chart, '--namespace', 'elsewhere', '--kube-version', 'v1.36.3');
  expect(rendered).not.toContain('holdfast-system');
  expect(rendered).toContain('system:serviceaccount:elsewhere:csi-node');
});

test('the API server accepts every manifest', async () => {
  const rendered = await template();
  const file = path.join(dir, 'rendered.yaml');
  await writeFile(file, rendered);
  await kubectl('create', 'namespace', namespace);
  // Of which the controller manager makes one in each namespace.
  await kubectl('create', 'serviceaccount', 'default', '-n', namespace);
  const said = await kubectl('apply', '--dry-run=server', '-f', file);
  const manifests = (loadAll(rendered) as (Manifest | null)[]).filter((manifest) => manifest !== null);
  expect(manifests.length).toBeGreaterThan(40);
  expect(said.match(/created \(server dry run\)/g)).toHaveLength(manifests.length);
  expect(said).not.toMatch(/Warning|unchanged/);
});

test('a namespace that admits no privileged pods is refused with what to do', async () => {
  await kubectl('create', 'namespace', 'strict');
  await kubectl('label', 'namespace', 'strict', 'pod-security.kubernetes.io/enforce=restricted');
  await expect(helm('install', 'holdfast', chart, '--namespace', 'strict')).rejects.toThrow(
    'kubectl label namespace strict pod-security.kubernetes.io/enforce=privileged --overwrite',
  );
});

// Given an installation, when it is upgraded and taken away, then the volumes' definitions stay, and with them the volumes.
test('installed, upgraded, uninstalled', async () => {
  const notes = await helm('install', 'holdfast', chart, '--namespace', namespace, '--create-namespace');
  expect(notes).toContain('kubectl label namespace holdfast-system pod-security.kubernetes.io/enforce=privileged');
  expect(await kubectl('get', 'deployments,daemonsets', '-n', namespace, '-o', 'name')).toBe(
    [
      'deployment.apps/holdfast-csi-controller',
      'deployment.apps/holdfast-operator',
      'daemonset.apps/holdfast-csi-node',
      'daemonset.apps/holdfast-storage-agent',
      '',
    ].join('\n'),
  );
  await helm('upgrade', 'holdfast', chart, '--namespace', namespace, '--set', 'operator.replicas=3');
  const replicas = ['deployment/holdfast-operator', '-o', 'jsonpath={.spec.replicas}'];
  expect(await kubectl('get', '-n', namespace, ...replicas)).toBe('3');

  const volume = path.join(dir, 'volume.json');
  const spec = { capacityBytes: 1 << 20 };
  const named = { apiVersion: 'holdfast.dev/v1alpha1', kind: 'ReplicatedVolume', metadata: { name: 'ledger' }, spec };
  await writeFile(volume, JSON.stringify(named));
  await kubectl('apply', '-f', volume);
  // A policy takes a while to come into force.
  await until('a definition is kept while there is a volume', async () => {
    const refused = await refusal(kubectl('delete', '--dry-run=server', 'crd', 'replicatedvolumes.holdfast.dev'));
    return refused.includes('the volume ledger exists: with the definition its data would be deleted');
  });
  const uninstall = helm('uninstall', 'holdfast', '--namespace', namespace);
  await expect(uninstall).rejects.toThrow('the volume ledger exists, and nobody would look after it');
  expect(await kubectl('get', 'deployments', '-n', namespace, '-o', 'name')).toContain('holdfast-operator');
  await kubectl('delete', 'replicatedvolume', 'ledger');
  await until('nothing holds the definition any more', async () => {
    const refused = await refusal(kubectl('delete', '--dry-run=server', 'crd', 'replicatedvolumes.holdfast.dev'));
    return refused === '';
  });

  await helm('uninstall', 'holdfast', '--namespace', namespace);
  expect(await kubectl('get', 'deployments,daemonsets,configmaps', '-n', namespace, '-o', 'name')).toBe('');
  expect(await kubectl('get', 'crds', '-o', 'name')).toContain('replicatedvolumes.holdfast.dev');
});
