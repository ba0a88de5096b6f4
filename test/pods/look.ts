import { kinds, resource } from '../../lib/kube/client.ts';
import type { ReplicatedVolume } from '../../lib/api/index.ts';
import type { Cluster } from './cluster.ts';
import { get, isReady, list, until, type Pod } from './kube.ts';
import { LEDGER, type Manifest } from './manifests.ts';
import type { Teller } from './report.ts';

export const NAMESPACE = 'holdfast-system';
export const MINUTE = 60_000;
const PODS = '/api/v1/namespaces/default/pods';

/** Every program of the chart. */
const PROGRAMS = [
  'daemonset/holdfast-csi-node',
  'daemonset/holdfast-storage-agent',
  'deployment/holdfast-operator',
  'deployment/holdfast-csi-controller',
];

/** What the steps share. */
export interface Story {
  readonly cluster: Cluster;
  readonly tell: Teller;
}

/** Waits until the chart's programs run as they should. */
export async function rolledOut(cluster: Cluster, programs: readonly string[] = PROGRAMS): Promise<void> {
  for (const name of programs) {
    await cluster.kubectl('rollout', 'status', '--namespace', NAMESPACE, '--timeout=8m', name);
  }
}

/** Waits until a node is ready, or is not. */
export async function nodeReady({ connection }: Cluster, name: string, wanted: boolean): Promise<void> {
  await until(`the node ${name} is ${wanted ? '' : 'not '}ready`, 5 * MINUTE, async () => {
    const node = await get<Pod>(connection, `/api/v1/nodes/${name}`);
    return node !== undefined && isReady(node.status) === wanted ? true : undefined;
  });
}

export async function applyAll(cluster: Cluster, ...manifests: readonly Manifest[]): Promise<void> {
  const text = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests });
  await cluster.kubectl('apply', '--filename', await cluster.file('manifest.json', text));
}

/** Applies a pod. @returns seconds until it runs */
export async function startPod(cluster: Cluster, manifest: Manifest): Promise<number> {
  const { name } = manifest['metadata'] as { readonly name: string };
  const started = performance.now();
  await applyAll(cluster, manifest);
  await until(
    `the pod ${name} runs`,
    4 * MINUTE,
    async () => {
      const found = await get<Pod>(cluster.connection, `${PODS}/${name}`);
      return found !== undefined && isReady(found.status) ? true : undefined;
    },
    () => describe(cluster, `pod/${name}`),
  );
  return (performance.now() - started) / 1000;
}

export const describe = async (cluster: Cluster, what: string): Promise<string> => {
  const text = await cluster.kubectl('describe', what).catch(() => '');
  return text.slice(text.lastIndexOf('Events:'));
};

/** The ready pod of a Deployment. */
export async function runningPod(
  cluster: Cluster,
  app: string,
  is: (found: Pod) => boolean = () => true,
): Promise<Pod> {
  return await until(
    `a pod of ${app} runs`,
    5 * MINUTE,
    async () => {
      const pods = await list<Pod>(cluster.connection, `${PODS}?labelSelector=app%3D${app}`);
      return pods.find((one) => isReady(one.status) && one.metadata.deletionTimestamp === undefined && is(one));
    },
    async () => await cluster.kubectl('describe', 'pods', '--selector', `app=${app}`),
  );
}

export async function lineCount(cluster: Cluster): Promise<number> {
  const { metadata } = await runningPod(cluster, 'writer');
  const said = await cluster.kubectl('exec', metadata.name, '--', 'sh', '-c', `wc -l < ${LEDGER}; cat ${LEDGER}`);
  const [count = '', ...lines] = said.trim().split('\n');
  const wrong = wrongLine(lines);
  // The file may have grown between the count and the read.
  if (lines.length < Number(count) || wrong !== undefined)
    throw new Error(`the ledger is not what was written: ${lines.length} lines of ${count}, ${wrong ?? 'each right'}`);
  return Number(count);
}

/** The first line of a ledger that isn't what was written; undefined when all are. */
export function wrongLine(lines: readonly string[]): string | undefined {
  const wrong = lines.findIndex((line, index) => line !== `line ${index + 1}`);
  return wrong < 0 ? undefined : `line ${wrong + 1} is "${lines[wrong]}"`;
}

/** Waits until so many lines are there. @returns how many there are */
export async function countedTo(cluster: Cluster, lines: number): Promise<number> {
  return await until(`${lines} lines are written`, 2 * MINUTE, async () => {
    const count = await lineCount(cluster);
    return count >= lines ? count : undefined;
  });
}

export async function bound(cluster: Cluster, name: string): Promise<true | undefined> {
  const found = await get<Pod>(cluster.connection, `/api/v1/namespaces/default/persistentvolumeclaims/${name}`);
  return found?.status.phase === 'Bound' ? true : undefined;
}

/** The volume of a claim. */
export async function volumeOf(cluster: Cluster, claimName: string): Promise<ReplicatedVolume> {
  const found = await get<{ spec: { volumeName?: string } }>(
    cluster.connection,
    `/api/v1/namespaces/default/persistentvolumeclaims/${claimName}`,
  );
  const volume = await resource(cluster.connection, kinds.replicatedVolumes).get(found?.spec.volumeName ?? '-');
  if (volume === undefined) throw new Error(`the claim ${claimName} has no volume`);
  return volume;
}

export async function healthy(cluster: Cluster, claimName: string): Promise<void> {
  await until(
    'every replica is in sync',
    4 * MINUTE,
    async () => ((await volumeOf(cluster, claimName)).status?.phase === 'Healthy' ? true : undefined),
    async () => await cluster.kubectl('get', 'replicatedvolumes,volumereplicas', '--output', 'wide'),
  );
}
