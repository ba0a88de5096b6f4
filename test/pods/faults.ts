import { startAgentOn } from './storage.ts';
import { until } from './kube.ts';
import {
  countedTo,
  healthy,
  lineCount,
  MINUTE,
  nodeReady,
  rolledOut,
  runningPod,
  volumeOf,
  type Story,
} from './look.ts';

export async function loseStorage({ cluster, tell }: Story): Promise<void> {
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

export async function loseClient({ cluster, tell }: Story): Promise<void> {
  const { lab } = cluster;
  const { spec } = await runningPod(cluster, 'writer');
  const vm = lab.vm(spec.nodeName ?? '');
  let before = 0;
  await tell.step(`the client VM ${vm.name} dies`, async () => {
    before = await lineCount(cluster);
    await vm.powerOff();
    await nodeReady(cluster, vm.name, false);
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
    await nodeReady(cluster, vm.name, true);
    await cluster.kubectl('taint', 'node', vm.name, 'node.kubernetes.io/out-of-service-');
    await rolledOut(cluster, ['daemonset/holdfast-csi-node']);
    await healthy(cluster, 'ledger');
    return undefined;
  });
}

export async function drainNode({ cluster, tell }: Story): Promise<void> {
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
