// Generated from crds/ by generate.ts: do not edit.
import type {Condition, ObjectMeta} from '../meta.ts';

/**
 * One copy of a snapshot on one storage node - a thin snapshot of a replica's logical volume.
 */
export interface SnapshotReplica {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: SnapshotReplicaSpec;
  status?: SnapshotReplicaStatus;
}
export interface SnapshotReplicaSpec {
  snapshot: string;
  snapshotUid: string;
  volume: string;
  volumeUid: string;
  /**
   * The VolumeReplica that it is a copy of.
   */
  replica: string;
  replicaUid: string;
  storageNode: string;
  pool: string;
  /**
   * The volume's capacity.
   */
  sizeBytes: number;
  /**
   * The replica's.
   */
  provisioning: 'Thin' | 'Thick';
  attempt: number;
  /**
   * The standstill in which it is to be taken; empty while it is only to be prepared. It names one standstill of the volume for ever.
   */
  take: string;
}
export interface SnapshotReplicaStatus {
  phase?: 'Pending' | 'Prepared' | 'Taken' | 'Erasing' | 'Failed';
  message?: string;
  /**
   * The spec.take for which it was taken.
   */
  take?: string;
  usedBytes?: number;
}
