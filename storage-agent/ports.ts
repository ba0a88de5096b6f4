import type {
  ReplicatedSnapshot,
  ReplicatedVolume,
  SnapshotReplica,
  SnapshotReplicaStatus,
  StorageNode,
  StorageNodeStatus,
  VolumeReplica,
  VolumeReplicaStatus,
} from '../lib/api/index.ts';
import type { BlockDevices } from '../lib/host/blockdev.ts';
import type { Lvm } from '../lib/host/lvm.ts';
import type { Nvmet } from '../lib/host/nvmet.ts';
import type { Logger } from '../lib/log.ts';

/** What the storage-agent asks and tells the API server. `cached...` may be seconds old, `read...` is the truth now. */
export interface StorageApi {
  cachedNode(): StorageNode | undefined;
  cachedReplica(name: string): VolumeReplica | undefined;
  cachedReplicas(): readonly VolumeReplica[];
  readReplica(name: string): Promise<VolumeReplica | undefined>;
  readVolume(name: string): Promise<ReplicatedVolume | undefined>;
  writeReplicaStatus(name: string, status: VolumeReplicaStatus): Promise<void>;
  writeNodeStatus(status: StorageNodeStatus): Promise<void>;
  /** Removes our finalizer from the object if it still has this UID. */
  releaseReplica(name: string, uid: string): Promise<void>;
}

/** The same for the copies of snapshots. */
export interface CopyApi {
  cachedNode(): StorageNode | undefined;
  cachedCopy(name: string): SnapshotReplica | undefined;
  readSnapshot(name: string): Promise<ReplicatedSnapshot | undefined>;
  writeCopyStatus(name: string, status: SnapshotReplicaStatus): Promise<void>;
  /** Removes our finalizer from the object if it still has this UID. */
  releaseCopy(name: string, uid: string): Promise<void>;
}

/** Everything outside of the storage-agent that its loops touch. */
export interface Ports {
  readonly api: StorageApi;
  readonly lvm: Lvm;
  readonly disks: BlockDevices;
  readonly nvmet: Nvmet;
  /** The kernel's boot id; every export's name contains it. */
  readonly bootId: string;
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  readonly log: Logger;
}
