import path from 'node:path';
import type { ReplicatedVolume } from '../../lib/api/index.ts';
import { kinds, resource } from '../../lib/kube/client.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { apply, nodeToken } from '../system/manifests.ts';
import { IMAGE_PREFIX, type Cluster } from './cluster.ts';
import { get, isReady, list, until, type Pod } from './kube.ts';
import { APP_NODES, claim, CONTROL_NODES, counter, LEDGER, pod, type Manifest } from './manifests.ts';
import type { Teller } from './report.ts';

const NAMESPACE = 'holdfast-system';
const PODS = '/api/v1/namespaces/default/pods';
const MINUTE = 60_000;

/** What the steps share. */
interface Story {
  readonly cluster: Cluster;
  readonly tell: Teller;
}

/** Everything in order; the first step that does not come true ends it. */
export async function runStory(cluster: Cluster, tell: Teller): Promise<void> {
  const story: Story = { cluster, tell };
  await install(story);
  await claimVolumes(story);
  await loseStorage(story);
  await loseClient(story);
  await drainNode(story);
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
    const kindsOfWork = [
      'daemonset/holdfast-csi-node',
      'daemonset/holdfast-storage-agent',
      'deployment/holdfast-operator',
    ];
    for (const name of [...kindsOfWork, 'deployment/holdfast-csi-controller']) {
      await cluster.kubectl('rollout', 'status', '--namespace', NAMESPACE, '--timeout=5m', name);
    }
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
    storageClasses: [
      {
        name: 'holdfast',
        parameters: { replicas: 2, placement: 'distinct(zone)', legTimeout: '3s', replicaTimeout: '10m' },
      },
    ],
  };
  return await cluster.file('values.json', JSON.stringify(values));
}

/** The object that says what a storage node has; and, on a machine that runs no pods, the agent itself. */
async function addStorageNode(cluster: Cluster, vm: Vm): Promise<void> {
  await cluster.storageNodes.create({
    metadata: { name: vm.name, labels: { zone: vm.zone } },
    spec: {
      addresses: [{ ip: vm.address, port: 4420 }],
      pools: [{ name: 'pool', devices: ['/dev/vdc'] }],
      cordoned: false,
      draining: false,
    },
  });
  if (!cluster.isNode(vm)) await startAgentOn(cluster, vm);
}

async function startAgentOn({ connection, lab }: Cluster, vm: Vm): Promise<void> {
  await apply(connection, { apiVersion: 'v1', kind: 'Node', metadata: { name: vm.name } });
  const file = '/etc/holdfast/kubeconfig';
  const text = lab.controlPlane.kubeconfigForToken(await nodeToken(connection, NAMESPACE, 'storage-agent', vm.name));
  await vm.writeFile(file, text, 0o600);
  const options = `--node ${vm.name} --kubeconfig ${file} --lease-duration 15s`;
  await vm.spawn(`node /opt/holdfast/programs/storage-agent.mjs ${options}`, { logFile: '/var/log/holdfast.log' });
}

async function claimVolumes(story: Story): Promise<void> {
  const { cluster, tell } = story;
  await tell.step('a pod without a volume of ours runs', async () => {
    await startPod(cluster, pod('empty', { emptyDir: {} }, 'c1'));
    return undefined;
  });
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
  await tell.step('a pod with a new claim against one with an emptyDir', async () => {
    const seconds: Record<string, number> = {};
    for (const round of ['a', 'b']) {
      seconds[`empty-${round}`] = await startPod(cluster, pod(`empty-${round}`, { emptyDir: {} }, 'c2'));
      await applyAll(cluster, claim(`new-${round}`, '64Mi'));
      const volume = { persistentVolumeClaim: { claimName: `new-${round}` } };
      seconds[`claim-${round}`] = await startPod(cluster, pod(`claim-${round}`, volume, 'c2'));
    }
    tell.figure('emptyDirPodSeconds', seconds['empty-b'] ?? 0);
    tell.figure('claimPodSeconds', seconds['claim-b'] ?? 0);
    await cluster.kubectl('delete', 'pod', 'empty', 'empty-a', 'empty-b', 'claim-a', 'claim-b', '--wait=false');
    await cluster.kubectl('delete', 'pvc', 'new-a', 'new-b', '--timeout=3m');
    return undefined;
  });
}

async function loseStorage({ cluster, tell }: Story): Promise<void> {
  const volume = await volumeOf(cluster, 'ledger');
  // The pods of the control plane are on the first one.
  const name = volume.status?.replicas?.map(({ storageNode }) => storageNode).find((node) => node !== 's1');
  if (name === undefined) throw new Error('the volume has no replica on s2 or s3');
  const vm = cluster.lab.vm(name);
  await tell.step(`the storage VM ${name} dies, and the pod goes on`, async () => {
    const before = await lineCount(cluster);
    const uid = (await runningPod(cluster, 'writer')).metadata.uid;
    await vm.powerOff();
    const started = performance.now();
    await countedTo(cluster, before + 3);
    tell.figure('storageLossStallSeconds', (performance.now() - started) / 1000);
    if ((await runningPod(cluster, 'writer')).metadata.uid !== uid) throw new Error('the pod is another one');
    await until('the lost replica is noticed', MINUTE, async () =>
      (await volumeOf(cluster, 'ledger')).status?.phase === 'Degraded' ? true : undefined,
    );
    return undefined;
  });
  await tell.step(`${name} comes back, and its replica is in sync again`, async () => {
    await cluster.powerOn(vm);
    await startAgentOn(cluster, vm);
    await healthy(cluster, 'ledger');
    return undefined;
  });
}

async function loseClient({ cluster, tell }: Story): Promise<void> {
  const { connection, lab } = cluster;
  const { spec } = await runningPod(cluster, 'writer');
  const vm = lab.vm(spec.nodeName ?? '');
  let before = 0;
  await tell.step(`the client VM ${vm.name} dies`, async () => {
    before = await lineCount(cluster);
    await vm.powerOff();
    await until('the node is not ready', 3 * MINUTE, async () => {
      const node = await get<Pod>(connection, `/api/v1/nodes/${vm.name}`);
      return node !== undefined && !isReady(node.status) ? true : undefined;
    });
    return `${before} lines are written`;
  });
  await tell.step(
    'the node is said to be out of service, and the pod runs on the other one with its data',
    async () => {
      await cluster.kubectl('taint', 'node', vm.name, 'node.kubernetes.io/out-of-service=nodeshutdown:NoExecute');
      const moved = await runningPod(cluster, 'writer', ({ spec: where }) => where.nodeName !== vm.name);
      const lines = await countedTo(cluster, before);
      return `on ${moved.spec.nodeName}, ${lines} lines`;
    },
  );
  await tell.step(`${vm.name} comes back`, async () => {
    await cluster.powerOn(vm);
    await until('the node is ready', 4 * MINUTE, async () => {
      const node = await get<Pod>(connection, `/api/v1/nodes/${vm.name}`);
      return node !== undefined && isReady(node.status) ? true : undefined;
    });
    await cluster.kubectl('taint', 'node', vm.name, 'node.kubernetes.io/out-of-service-');
    await cluster.kubectl('rollout', 'status', '--namespace', NAMESPACE, '--timeout=5m', 'daemonset/holdfast-csi-node');
    await healthy(cluster, 'ledger');
    return undefined;
  });
}

async function drainNode({ cluster, tell }: Story): Promise<void> {
  await tell.step('the node is drained, and the pod moves', async () => {
    const before = await lineCount(cluster);
    const from = (await runningPod(cluster, 'writer')).spec.nodeName ?? '';
    await cluster.kubectl('drain', from, '--ignore-daemonsets', '--delete-emptydir-data', '--timeout=4m');
    const { spec } = await runningPod(cluster, 'writer', (one) => one.spec.nodeName !== from);
    const lines = await countedTo(cluster, before);
    await cluster.kubectl('uncordon', from);
    return `from ${from} to ${spec.nodeName}, ${lines} lines`;
  });
}

async function leaveNothing({ cluster, tell }: Story): Promise<void> {
  await tell.step('the chart is not uninstalled while there are volumes', async () => {
    const refused = await cluster.helm('uninstall', 'holdfast', '--namespace', NAMESPACE).then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    if (refused === undefined) throw new Error('helm has uninstalled it');
    return undefined;
  });
  await tell.step('all is deleted, and nothing is left', async () => {
    await cluster.kubectl('delete', 'deployment', 'writer');
    await cluster.kubectl('delete', 'pvc', '--all', '--timeout=3m');
    await until(
      'no volume is left',
      3 * MINUTE,
      async () => {
        const paths = ['/apis/holdfast.dev/v1alpha1', '/apis/storage.k8s.io/v1'];
        const [volumes, attachments] = await Promise.all([
          list(cluster.connection, `${paths[0]}/replicatedvolumes`),
          list(cluster.connection, `${paths[1]}/volumeattachments`),
        ]);
        return volumes.length + attachments.length === 0 ? true : undefined;
      },
      () => cluster.kubectl('get', 'pv,volumeattachments,replicatedvolumes,volumereplicas'),
    );
    return (await cluster.holdfast('check')).trim().split('\n').at(-1);
  });
}

async function applyAll(cluster: Cluster, ...manifests: readonly Manifest[]): Promise<void> {
  const text = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests });
  await cluster.kubectl('apply', '--filename', await cluster.file('manifest.json', text));
}

/** Applies a pod. @returns seconds until it runs */
async function startPod(cluster: Cluster, manifest: Manifest): Promise<number> {
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

const describe = async (cluster: Cluster, what: string): Promise<string> => {
  const text = await cluster.kubectl('describe', what).catch(() => '');
  return text.slice(text.lastIndexOf('Events:'));
};

/** The ready pod of a Deployment. */
async function runningPod(cluster: Cluster, app: string, is: (found: Pod) => boolean = () => true): Promise<Pod> {
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

async function lineCount(cluster: Cluster): Promise<number> {
  const { metadata } = await runningPod(cluster, 'writer');
  const said = await cluster.kubectl('exec', metadata.name, '--', 'sh', '-c', `wc -l < ${LEDGER}; cat ${LEDGER}`);
  const [count = '', ...lines] = said.trim().split('\n');
  const wrong = lines.findIndex((line, index) => line !== `line ${index + 1}`);
  // The file may have grown between the count and the read.
  if (lines.length < Number(count) || wrong >= 0)
    throw new Error(`the ledger is not what was written: line ${wrong + 1}: "${lines[wrong]}"`);
  return Number(count);
}

/** Waits until so many lines are there. @returns how many there are */
async function countedTo(cluster: Cluster, lines: number): Promise<number> {
  return await until(`${lines} lines are written`, 2 * MINUTE, async () => {
    const count = await lineCount(cluster);
    return count >= lines ? count : undefined;
  });
}

async function bound(cluster: Cluster, name: string): Promise<true | undefined> {
  const found = await get<Pod>(cluster.connection, `/api/v1/namespaces/default/persistentvolumeclaims/${name}`);
  return found?.status.phase === 'Bound' ? true : undefined;
}

/** The volume of a claim. */
async function volumeOf(cluster: Cluster, claimName: string): Promise<ReplicatedVolume> {
  const found = await get<{ spec: { volumeName?: string } }>(
    cluster.connection,
    `/api/v1/namespaces/default/persistentvolumeclaims/${claimName}`,
  );
  const volume = await resource(cluster.connection, kinds.replicatedVolumes).get(found?.spec.volumeName ?? '-');
  if (volume === undefined) throw new Error(`the claim ${claimName} has no volume`);
  return volume;
}

async function healthy(cluster: Cluster, claimName: string): Promise<void> {
  await until(
    'every replica is in sync',
    4 * MINUTE,
    async () => ((await volumeOf(cluster, claimName)).status?.phase === 'Healthy' ? true : undefined),
    async () => await cluster.kubectl('get', 'replicatedvolumes,volumereplicas', '--output', 'wide'),
  );
}
