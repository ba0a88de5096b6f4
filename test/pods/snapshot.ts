import { list, until } from './kube.ts';
import { applyAll, describe, lineCount, MINUTE, startPod, wrongLine, type Story } from './look.ts';
import { claim, LEDGER, pod, snapshot, SNAPSHOTS } from './manifests.ts';

interface Snapshot {
  readonly metadata: { readonly name: string };
  readonly status?: { readonly readyToUse?: boolean };
}

/** A snapshot of what the pod writes to, while it writes, and a claim that begins with it. */
export async function snapshotAndRestore({ cluster, tell }: Story): Promise<void> {
  const name = 'ledger-now';
  let before = 0;
  await tell.step('a snapshot is taken while the pod writes', async () => {
    before = await lineCount(cluster);
    const started = performance.now();
    await applyAll(cluster, snapshot(name, 'ledger'));
    await until(
      'the snapshot is ready to use',
      3 * MINUTE,
      async () => {
        const all = await list<Snapshot>(
          cluster.connection,
          `/apis/${SNAPSHOTS}/v1/namespaces/default/volumesnapshots`,
        );
        return all.some(({ metadata, status }) => metadata.name === name && status?.readyToUse) ? true : undefined;
      },
      async () => await cluster.kubectl('describe', 'volumesnapshot,volumesnapshotcontent'),
    );
    tell.figure('snapshotSeconds', (performance.now() - started) / 1000);
    return `${before} lines were written`;
  });
  await tell.step('it is restored to a new claim, and a pod finds what was written', async () => {
    const dataSource = { apiGroup: SNAPSHOTS, kind: 'VolumeSnapshot', name };
    const began = performance.now();
    await applyAll(cluster, claim('restored', '448Mi', { dataSource }));
    await startPod(cluster, pod('reader', { persistentVolumeClaim: { claimName: 'restored' } }));
    tell.figure('restoredPodSeconds', (performance.now() - began) / 1000);
    const lines = (await cluster.kubectl('exec', 'reader', '--', 'cat', LEDGER)).trim().split('\n');
    const wrong = wrongLine(lines);
    if (lines.length < before || wrong !== undefined) {
      throw new Error(`${lines.length} of at least ${before} lines${wrong === undefined ? '' : `, ${wrong}`}`);
    }
    await cluster.kubectl('delete', 'pod', 'reader', '--timeout=2m');
    await cluster.kubectl('delete', 'volumesnapshot', name, '--timeout=2m');
    await cluster.kubectl('delete', 'pvc', 'restored', '--timeout=3m');
    await until(
      'nothing is left of the snapshot',
      2 * MINUTE,
      async () => {
        const left = await list(cluster.connection, '/apis/holdfast.dev/v1alpha1/replicatedsnapshots');
        return left.length === 0 ? true : undefined;
      },
      () => describe(cluster, 'replicatedsnapshots'),
    );
    return `${lines.length} lines`;
  });
}
