import path from 'node:path';
import { expandVolume, leaveNothing, upgrade } from './changes.ts';
import { IMAGE_PREFIX, type Cluster } from './cluster.ts';
import { drainNode, loseClient, loseStorage } from './faults.ts';
import { isReady, list, until, type Pod } from './kube.ts';
import {
  applyAll,
  bound,
  countedTo,
  describe,
  MINUTE,
  NAMESPACE,
  rolledOut,
  runningPod,
  startPod,
  volumeOf,
  type Story,
} from './look.ts';
import { APP_NODES, claim, CONTROL_NODES, counter, pod, set } from './manifests.ts';
import type { Teller } from './report.ts';
import { snapshotAndRestore } from './snapshot.ts';
import { addStorageNode } from './storage.ts';

/** What happens to the volume between its first and its last day, in order. Each part stands by itself. */
export const PARTS = {
  figures: claimAgainstEmptyDir,
  storage: loseStorage,
  expand: expandVolume,
  snapshot: snapshotAndRestore,
  set: useStatefulSet,
  client: loseClient,
  drain: drainNode,
  upgrade,
} as const;

/** Everything in order; the first step that does not come true ends it. */
export async function runStory(cluster: Cluster, tell: Teller, without: ReadonlySet<string>): Promise<void> {
  const story: Story = { cluster, tell };
  await install(story);
  await claimVolumes(story);
  for (const [name, part] of Object.entries(PARTS)) {
    if (!without.has(name)) await part(story);
  }
  await leaveNothing(story);
}

async function install({ cluster, tell }: Story): Promise<void> {
  const { connection, lab } = cluster;
  await tell.step('nodes are ready', async () => {
    await until('every node is ready', 4 * MINUTE, async () => {
      const nodes = await list<Pod>(connection, '/api/v1/nodes');
      return nodes.length >= 3 && nodes.every(({ status }) => isReady(status)) ? true : undefined;
    });
    return undefined;
  });
  await tell.step('helm install', async () => {
    await cluster.kubectl('create', 'namespace', NAMESPACE);
    await cluster.kubectl('label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=privileged');
    await cluster.helm('install', 'holdfast', chart, '--namespace', NAMESPACE, '--values', await valuesFile(cluster));
    return undefined;
  });
  await tell.step('every program of the chart is ready', async () => {
    await rolledOut(cluster);
    return undefined;
  });
  await tell.step('storage nodes have their pools', async () => {
    for (const vm of lab.storage) await addStorageNode(cluster, vm);
    await until(
      'every storage node is ready',
      4 * MINUTE,
      async () => {
        const { items } = await cluster.storageNodes.list();
        return items.every(({ status }) => isReady({ phase: '', conditions: status?.conditions ?? [] }))
          ? true
          : undefined;
      },
      async () => await cluster.kubectl('get', 'storagenodes', '--output', 'wide'),
    );
    return `${lab.storage.length} nodes`;
  });
}

const chart = path.join(import.meta.dirname, '../../charts/holdfast');

/** What is different from the chart's defaults: our images, one pod of each Deployment, all of them on the first storage VM. */
async function valuesFile(cluster: Cluster): Promise<string> {
  const one = { replicas: 1, nodeSelector: CONTROL_NODES };
  const values = {
    image: { repository: `${IMAGE_PREFIX}holdfast`, pullPolicy: 'Never' },
    agentImage: { repository: `${IMAGE_PREFIX}holdfast-agent` },
    operator: one,
    csiController: one,
    csiNode: { nodeSelector: APP_NODES },
    // Long, as the programs of the control plane have emulated CPUs here.
    leaseDuration: '15s',
    snapshots: { enabled: true, groups: true },
    storageClasses: [
      {
        name: 'holdfast',
        parameters: { replicas: 2, placement: 'distinct(zone)', legTimeout: '3s', replicaTimeout: '10m' },
      },
    ],
  };
  return await cluster.file('values.json', JSON.stringify(values));
}

async function claimVolumes(story: Story): Promise<void> {
  const { cluster, tell } = story;
  await tell.step('a claim is bound', async () => {
    await applyAll(cluster, claim('ledger', '320Mi'));
    await until(
      'the claim is bound',
      2 * MINUTE,
      () => bound(cluster, 'ledger'),
      () => describe(cluster, 'pvc/ledger'),
    );
    return undefined;
  });
  await tell.step('a Deployment writes to it', async () => {
    await applyAll(cluster, counter('writer', 'ledger'));
    const { spec } = await runningPod(cluster, 'writer');
    const lines = await countedTo(cluster, 3);
    return `on ${spec.nodeName}, ${lines} lines`;
  });
}

async function claimAgainstEmptyDir({ cluster, tell }: Story): Promise<void> {
  await tell.step('a pod with a new claim against one with an emptyDir', async () => {
    const seconds: Record<string, number> = {};
    for (const round of ['a', 'b']) {
      seconds[`empty-${round}`] = await startPod(cluster, pod(`empty-${round}`, { emptyDir: {} }, 'c2'));
      await applyAll(cluster, claim(`new-${round}`, '64Mi'));
      const volume = { persistentVolumeClaim: { claimName: `new-${round}` } };
      const stages = claimStages(cluster, `new-${round}`);
      seconds[`claim-${round}`] = await startPod(cluster, pod(`claim-${round}`, volume, 'c2'));
      Object.assign(seconds, await stages);
    }
    tell.figure('emptyDirPodSeconds', seconds['empty-b'] ?? 0);
    tell.figure('claimPodSeconds', seconds['claim-b'] ?? 0);
    // Of it, until the claim was bound, until the volume was attached, and until the client had connected it.
    for (const name of ['claimBoundSeconds', 'claimAttachedSeconds', 'claimConnectedSeconds'])
      tell.figure(name, seconds[name] ?? 0);
    await cluster.kubectl('delete', 'pod', 'empty-a', 'empty-b', 'claim-a', 'claim-b', '--wait=false');
    await cluster.kubectl('delete', 'pvc', 'new-a', 'new-b', '--timeout=3m');
    return undefined;
  });
}

/** Seconds from now until each thing that a pod with a new claim waits for. */
async function claimStages(cluster: Cluster, claimName: string): Promise<Readonly<Record<string, number>>> {
  const started = performance.now();
  const reached = async (what: string, is: () => Promise<true | undefined>): Promise<number> => {
    await until(what, 4 * MINUTE, is);
    return (performance.now() - started) / 1000;
  };
  interface Attachment {
    readonly spec: { readonly source: { readonly persistentVolumeName?: string } };
    readonly status?: { readonly attached: boolean };
  }
  const claimBoundSeconds = await reached('the claim is bound', () => bound(cluster, claimName));
  const { name } = (await volumeOf(cluster, claimName)).metadata;
  const attached = reached('the volume is attached', async () => {
    const all = await list<Attachment>(cluster.connection, '/apis/storage.k8s.io/v1/volumeattachments');
    const own = all.find(({ spec }) => spec.source.persistentVolumeName === name);
    return own?.status?.attached === true ? true : undefined;
  });
  const connected = reached('the client has connected it', async () => {
    const condition = (await volumeOf(cluster, claimName)).status?.conditions?.find(({ type }) => type === 'Attached');
    return condition?.status === 'True' ? true : undefined;
  });
  return { claimBoundSeconds, claimAttachedSeconds: await attached, claimConnectedSeconds: await connected };
}

async function useStatefulSet({ cluster, tell }: Story): Promise<void> {
  await tell.step('a StatefulSet of two, each with a claim of its own', async () => {
    await applyAll(cluster, set('pair', 2));
    await cluster.kubectl('rollout', 'status', '--timeout=5m', 'statefulset/pair');
    await cluster.kubectl('delete', 'statefulset', 'pair');
    await cluster.kubectl('wait', '--for=delete', 'pvc/data-pair-0', 'pvc/data-pair-1', '--timeout=3m');
    return undefined;
  });
}
