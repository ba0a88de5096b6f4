import { BUSYBOX } from './lab-images.ts';

/** An object of Kubernetes, as it is applied. */
export type Manifest = Readonly<Record<string, unknown>>;

export const APP_NODES = { 'holdfast.dev/lab': 'client' } as const;
export const CONTROL_NODES = { 'holdfast.dev/lab': 'control' } as const;

export function claim(name: string, size: string, more: Readonly<Record<string, unknown>> = {}): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name },
    spec: {
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'holdfast',
      resources: { requests: { storage: size } },
      ...more,
    },
  };
}

/** Counts up in a file, one line after the other; a line is written to disk before the next one. */
export const LEDGER = '/data/ledger';
const COUNT_UP = [
  `n=$(wc -l < ${LEDGER} 2>/dev/null || echo 0)`,
  `while :; do n=$((n + 1)); echo "line $n" >> ${LEDGER}; sync ${LEDGER}; sleep 0.2; done`,
].join('; ');

const container = (command: readonly string[]): Manifest => ({
  name: 'app',
  image: BUSYBOX,
  imagePullPolicy: 'Never',
  command,
  volumeMounts: [{ name: 'data', mountPath: '/data' }],
});

export const SNAPSHOTS = 'snapshot.storage.k8s.io';

/** A snapshot of a claim. */
export const snapshot = (name: string, of: string): Manifest => ({
  apiVersion: `${SNAPSHOTS}/v1`,
  kind: 'VolumeSnapshot',
  metadata: { name },
  spec: { volumeSnapshotClassName: 'holdfast', source: { persistentVolumeClaimName: of } },
});

/** The same for every pod of ours: the API server's token isn't needed, and there is no DNS to wait for. */
const plainPod = {
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  dnsPolicy: 'Default',
  terminationGracePeriodSeconds: 1,
  nodeSelector: APP_NODES,
} as const;

/** A pod that sleeps with something at /data. */
export function pod(name: string, volume: Readonly<Record<string, unknown>>, node?: string): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      ...plainPod,
      ...(node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': node } }),
      containers: [container(['/bin/sleep', '36000'])],
      volumes: [{ name: 'data', ...volume }],
    },
  };
}

/** So many pods, each with a claim of its own that it writes to. */
export function set(name: string, replicas: number): Manifest {
  const { metadata, ...rest } = claim('data', '64Mi');
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name },
    spec: {
      replicas,
      serviceName: name,
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: { app: name } },
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete' },
      template: {
        metadata: { labels: { app: name } },
        spec: { ...plainPod, containers: [container(['/bin/sh', '-c', COUNT_UP])] },
      },
      volumeClaimTemplates: [{ metadata, ...rest }],
    },
  };
}

/** One pod at a time that counts up in a volume, wherever it runs. */
export function counter(name: string, claimName: string): Manifest {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas: 1,
      strategy: { type: 'Recreate' },
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          ...plainPod,
          containers: [container(['/bin/sh', '-c', COUNT_UP])],
          volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
        },
      },
    },
  };
}
