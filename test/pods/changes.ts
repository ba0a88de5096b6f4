import path from 'node:path';
import type { Cluster } from './cluster.ts';
import { list, until } from './kube.ts';
import {
  countedTo,
  describe,
  healthy,
  lineCount,
  MINUTE,
  NAMESPACE,
  rolledOut,
  runningPod,
  type Story,
} from './look.ts';

const chart = path.join(import.meta.dirname, '../../charts/holdfast');

/** From 320 to 448 MiB. */
const GROWTH_KIB = 128 * 1024;

export async function expandVolume({ cluster, tell }: Story): Promise<void> {
  await tell.step('the claim grows, and the file system with it, while the pod writes', async () => {
    const before = await sizeKib(cluster);
    const started = performance.now();
    const change = JSON.stringify({ spec: { resources: { requests: { storage: '448Mi' } } } });
    await cluster.kubectl('patch', 'pvc', 'ledger', '--patch', change);
    const after = await until(
      'the file system has grown',
      4 * MINUTE,
      async () => {
        const now = await sizeKib(cluster);
        // What the file system needs for itself changes by a little at any time.
        return now >= before + GROWTH_KIB / 2 ? now : undefined;
      },
      () => describe(cluster, 'pvc/ledger'),
    );
    tell.figure('expansionSeconds', (performance.now() - started) / 1000);
    await countedTo(cluster, (await lineCount(cluster)) + 3);
    return `${before} KiB, then ${after} KiB`;
  });
}

async function sizeKib(cluster: Cluster): Promise<number> {
  const { metadata } = await runningPod(cluster, 'writer');
  const said = await cluster.kubectl('exec', metadata.name, '--', 'df', '-k', '/data');
  return Number(/(\d+)\s+\d+\s+\d+\s+\d+%/.exec(said)?.[1] ?? 0);
}

/** Every program of ours is replaced by another process; arrays, exports and mounts are the kernel's, and stay. */
export async function upgrade({ cluster, tell }: Story): Promise<void> {
  await tell.step('the chart is upgraded, and the pod writes on', async () => {
    const pod = await runningPod(cluster, 'writer');
    const before = await lineCount(cluster);
    const values = ['--reuse-values', '--set', 'logLevel=debug'];
    await cluster.helm('upgrade', 'holdfast', chart, '--namespace', NAMESPACE, ...values);
    await rolledOut(cluster);
    const after = await runningPod(cluster, 'writer');
    if (after.metadata.uid !== pod.metadata.uid) throw new Error('the pod is another one');
    const lines = await countedTo(cluster, before + 3);
    await healthy(cluster, 'ledger');
    return `${lines - before} lines meanwhile`;
  });
}

export async function leaveNothing({ cluster, tell }: Story): Promise<void> {
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
        const [volumes, replicas, attachments] = await Promise.all([
          list(cluster.connection, `${paths[0]}/replicatedvolumes`),
          list(cluster.connection, `${paths[0]}/volumereplicas`),
          list(cluster.connection, `${paths[1]}/volumeattachments`),
        ]);
        return volumes.length + replicas.length + attachments.length === 0 ? true : undefined;
      },
      () => cluster.kubectl('get', 'pv,volumeattachments,replicatedvolumes,volumereplicas'),
    );
    const found = (await cluster.holdfast('check')).trim();
    if (!found.endsWith('all is well')) throw new Error(found);
    return found.split('\n').at(-1);
  });
}
