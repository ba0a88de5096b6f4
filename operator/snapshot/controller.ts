import { clientLeaseName, storageLeaseName } from '../../lib/api/names.ts';
import type { ReplicatedVolume, VolumeConnection, VolumeReplica } from '../../lib/api/index.ts';
import type { Clock } from '../../lib/clock.ts';
import { kinds } from '../../lib/kube/client.ts';
import { createController, type Controller } from '../../lib/kube/controller.ts';
import type { Informer } from '../../lib/kube/informer.ts';
import type { Kube } from '../../lib/kube/kube.ts';
import type { Logger } from '../../lib/log.ts';
import { concernsSnapshots, createSnapshotReconciler, keyOf } from './reconcile.ts';
import { sourceSnapshotOf } from './source.ts';

export interface SnapshotControllerOptions {
  readonly kube: Kube;
  readonly clock: Clock;
  readonly random?: () => number;
  readonly log: Logger;
  readonly concurrency: number;
  /** Writes are held no longer than this for a snapshot. */
  readonly standstillMs: number;
  readonly isFresh: (lease: string, nowMs: number) => boolean;
  /** Called with the names of volumes for which a snapshot has changed that they are to be made from. */
  readonly onSource: (volume: string) => void;
  readonly volumes: Informer<ReplicatedVolume>;
  readonly replicas: Informer<VolumeReplica>;
  readonly connections: Informer<VolumeConnection>;
}

/** The index of volumes by the snapshot that they are to be made from, while they have no data. */
export const MADE_FROM = 'madeFrom';

export function madeFromIndex(volume: ReplicatedVolume): string[] {
  const source = (volume.status?.inSync ?? []).length > 0 ? undefined : sourceSnapshotOf(volume);
  return source === undefined ? [] : [source];
}

/** Takes and deletes snapshots. The informers are the volume controller's; it tells of their changes by the `on...` functions. */
export function createSnapshotController(options: SnapshotControllerOptions) {
  const { kube, clock, random, log, concurrency, isFresh, onSource, volumes, replicas, connections } = options;
  const snapshots = kube.informer(kinds.replicatedSnapshots, {
    log,
    indexes: {
      volume: ({ spec }) => [spec.volume],
      group: ({ spec }) => (spec.group === undefined ? [] : [spec.group.name]),
    },
    onChange: (snapshot) => {
      controller.enqueue(keyOf(snapshot));
      for (const { metadata } of volumes.byIndex(MADE_FROM, snapshot.metadata.name)) onSource(metadata.name);
    },
  });
  const copies = kube.informer(kinds.snapshotReplicas, {
    log,
    indexes: { snapshot: ({ spec }) => [spec.snapshot] },
    onChange: ({ spec }) => enqueue(spec.snapshot),
  });
  const reconcile = createSnapshotReconciler({
    clock,
    standstillMs: options.standstillMs,
    isStorageAlive: (node) => isFresh(storageLeaseName(node), clock.now()),
    isClientAlive: (node) => isFresh(clientLeaseName(node), clock.now()),
    caches: {
      snapshot: (name) => snapshots.get(name),
      group: (name) => snapshots.byIndex('group', name),
      snapshotsOf: (volume) => snapshots.byIndex('volume', volume),
      copiesOf: (snapshot) => copies.byIndex('snapshot', snapshot),
      volume: (name) => volumes.get(name),
      madeFrom: (snapshot) => volumes.byIndex(MADE_FROM, snapshot),
      replicasOf: (volume) => replicas.byIndex('volume', volume),
      connectionsOf: (volume) => connections.byIndex('volume', volume),
    },
    ports: {
      snapshots: kube.resource(kinds.replicatedSnapshots),
      copies: kube.resource(kinds.snapshotReplicas),
      connections: kube.resource(kinds.volumeConnections),
      volumes: kube.resource(kinds.replicatedVolumes),
      log,
    },
  });
  const controller: Controller = createController({
    name: 'snapshots',
    reconcile,
    concurrency,
    clock,
    ...(random === undefined ? {} : { random }),
    log,
  });

  function enqueue(name: string): void {
    const snapshot = snapshots.get(name);
    controller.enqueue(snapshot === undefined ? `s/${name}` : keyOf(snapshot));
  }

  /** The snapshots that are taken of a volume just now: a ready one doesn't care what becomes of it. */
  function enqueueOf(volume: string): void {
    for (const snapshot of snapshots.byIndex('volume', volume)) {
      if (snapshot.status?.phase !== 'Ready') controller.enqueue(keyOf(snapshot));
    }
  }

  return {
    informers: [snapshots, copies],
    controller,
    snapshot: (name: string) => snapshots.get(name),
    onVolume: (volume: ReplicatedVolume): void => {
      enqueueOf(volume.metadata.name);
      const source = sourceSnapshotOf(volume);
      if (source !== undefined) enqueue(source);
    },
    onConnection: (after: VolumeConnection, before: VolumeConnection | undefined): void => {
      if (concernsSnapshots(after, before)) enqueueOf(after.spec.volume);
    },
  };
}
