import { clientLeaseName, storageLeaseName } from '../../lib/api/names.ts';
import { candidatesOf } from './candidates.ts';
import type { ReplicatedVolume, StorageNode, VolumeConnection, VolumeReplica } from './model.ts';
import type { Liveness, Settings, World } from './world.ts';

/** What the informers know. */
export interface Caches {
  readonly volume: (name: string) => ReplicatedVolume | undefined;
  readonly replicasOf: (volume: string) => readonly VolumeReplica[];
  readonly connectionsOf: (volume: string) => readonly VolumeConnection[];
  readonly storageNodes: () => readonly StorageNode[];
  readonly replicasOn: (storageNode: string) => readonly VolumeReplica[];
}

/** Who renews its lease, by this process's own clock. */
export interface LeaseView {
  readonly isFresh: (lease: string, nowMs: number) => boolean;
  readonly lastSeenMs: (lease: string) => number | undefined;
}

/** Gathers everything that the planner of one volume looks at; undefined when there is no such volume. */
export function observe(
  name: string,
  caches: Caches,
  leases: LeaseView,
  settings: Settings,
  nowMs: number,
): World | undefined {
  const volume = caches.volume(name);
  if (volume === undefined) {
    return undefined;
  }
  const connections = caches.connectionsOf(name);
  const agents = (volume.status?.replicas ?? []).map(({ storageNode }) => storageNode);
  const clients = [
    volume.spec.attachTo,
    volume.status?.attachment?.node ?? '',
    ...connections.map(({ spec }) => spec.node),
  ].filter((node) => node !== '');
  const liveness = (lease: string): Liveness => ({
    alive: leases.isFresh(lease, nowMs),
    lastSeenMs: leases.lastSeenMs(lease),
  });
  return {
    volume,
    replicas: caches.replicasOf(name),
    connections,
    candidates: () =>
      candidatesOf(caches.storageNodes(), caches.replicasOn, (node) => leases.isFresh(storageLeaseName(node), nowMs)),
    unknownReplicas: () =>
      caches
        .storageNodes()
        .flatMap(({ metadata, status }) =>
          (status?.unknownReplicas ?? [])
            .filter((each) => each.volume === name && each.erased !== true)
            .map(({ replica, logicalVolume }) => `${replica ?? logicalVolume} on ${metadata.name}`),
        ),
    storageAgents: new Map(agents.map((node) => [node, liveness(storageLeaseName(node))])),
    clients: new Map(clients.map((node) => [node, liveness(clientLeaseName(node))])),
    settings,
  };
}
