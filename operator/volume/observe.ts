import { clientLeaseName, storageLeaseName } from '../../lib/api/names.ts';
import { sourceSnapshotOf } from '../snapshot/source.ts';
import { candidatesOf } from './candidates.ts';
import type { ReplicatedSnapshot } from '../../lib/api/index.ts';
import type { ReplicatedVolume, StorageNode, VolumeConnection, VolumeReplica } from './model.ts';
import type { Liveness, Settings, SnapshotSource, World } from './world.ts';

/** What the informers know. */
export interface Caches {
  readonly volume: (name: string) => ReplicatedVolume | undefined;
  readonly snapshot: (name: string) => ReplicatedSnapshot | undefined;
  readonly replicasOf: (volume: string) => readonly VolumeReplica[];
  readonly connectionsOf: (volume: string) => readonly VolumeConnection[];
  readonly storageNodes: () => readonly StorageNode[];
  readonly replicasOn: (storageNode: string) => readonly VolumeReplica[];
}

/** Who renews its lease, by this process's own clock. */
export interface LeaseView {
  readonly isFresh: (lease: string) => boolean;
  /** As the wall clock of this process would have shown it. */
  readonly lastSeenMs: (lease: string) => number | undefined;
}

/** Gathers everything that the planner of one volume looks at; undefined when there is no such volume. */
export function observe(name: string, caches: Caches, leases: LeaseView, settings: Settings): World | undefined {
  const volume = caches.volume(name);
  if (volume === undefined) {
    return undefined;
  }
  const connections = caches.connectionsOf(name);
  const clients = [
    volume.spec.attachTo,
    volume.status?.attachment?.node ?? '',
    ...connections.map(({ spec }) => spec.node),
  ].filter((node) => node !== '');
  const liveness = (lease: string): Liveness => ({
    alive: leases.isFresh(lease),
    lastSeenMs: leases.lastSeenMs(lease),
  });
  return {
    volume,
    source: sourceOf(volume, caches),
    replicas: caches.replicasOf(name),
    connections,
    candidates: () =>
      candidatesOf(caches.storageNodes(), caches.replicasOn, (node) => leases.isFresh(storageLeaseName(node))),
    unknownReplicas: () =>
      caches
        .storageNodes()
        .flatMap(({ metadata, status }) =>
          (status?.unknownReplicas ?? [])
            .filter((each) => each.volume === name && each.erased !== true)
            .map(({ replica, logicalVolume }) => `${replica ?? logicalVolume} on ${metadata.name}`),
        ),
    storageAgents: { get: (node) => liveness(storageLeaseName(node)) },
    clients: new Map(clients.map((node) => [node, liveness(clientLeaseName(node))])),
    settings,
  };
}

/** What a volume without data is to begin with; undefined for nothing. */
function sourceOf(volume: ReplicatedVolume, caches: Caches): SnapshotSource | undefined {
  const name = sourceSnapshotOf(volume);
  if (name === undefined) return undefined;
  const snapshot = caches.snapshot(name);
  if (snapshot === undefined) return { ready: false, why: `there is no snapshot ${name} (yet)` };
  const { phase, message, sizeBytes = 0, copies = [] } = snapshot.status ?? {};
  if (snapshot.metadata.deletionTimestamp !== undefined)
    return { ready: false, why: `snapshot ${name} is being deleted` };
  if (phase !== 'Ready') return { ready: false, why: `snapshot ${name} is not ready: ${message ?? 'not begun yet'}` };
  if (sizeBytes > volume.spec.capacityBytes) {
    return { ready: false, why: `snapshot ${name} has ${sizeBytes} bytes, more than the volume` };
  }
  return { ready: true, copies };
}
