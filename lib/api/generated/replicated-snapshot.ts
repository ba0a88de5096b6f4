// Generated from crds/ by generate.ts: do not edit.
import type {Condition, ObjectMeta} from '../meta.ts';

/**
 * The content of a volume at one instant, kept as copies beside the replicas that it was taken from.
 */
export interface ReplicatedSnapshot {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: ReplicatedSnapshotSpec;
  status?: ReplicatedSnapshotStatus;
}
export interface ReplicatedSnapshotSpec {
  /**
   * The ReplicatedVolume that it is taken of.
   */
  volume: string;
  /**
   * The UID of that volume; without it the volume that has the name when the snapshot is taken.
   */
  volumeUid?: string;
  /**
   * Several snapshots that are taken at one instant. All have the same group; it is taken once the snapshots of all its volumes are there.
   */
  group?: {
    name: string;
    /**
     * @minItems 1
     * @maxItems 64
     */
    volumes: string[];
  };
  /**
   * The ReplicatedVolume that is made from it and for which alone it is taken; it goes away once that volume has its data.
   */
  forVolume?: string;
}
export interface ReplicatedSnapshotStatus {
  phase?: 'Pending' | 'Taking' | 'Ready' | 'Failed' | 'Deleting';
  /**
   * One line for people.
   */
  message?: string;
  /**
   * The UID of the volume that it was taken of.
   */
  volumeUid?: string;
  /**
   * The capacity of the volume when it was taken.
   */
  sizeBytes?: number;
  size?: string;
  /**
   * When its content was that of the volume.
   */
  takenAt?: string;
  /**
   * The try that is under way, or the one that succeeded. Copies of different tries are never mixed.
   */
  attempt?: number;
  /**
   * Before this the try does not begin.
   */
  attemptAt?: string;
  /**
   * The try in which the copies below were taken. In a group they count once those of all volumes are of the same try.
   */
  takenAttempt?: number;
  copiesSummary?: string;
  /**
   * The copies that hold the content. Those of one try are identical, so a volume can be made from any of them.
   *
   * @maxItems 8
   */
  copies?: {
    /**
     * The SnapshotReplica.
     */
    name: string;
    uid: string;
    replica: string;
    storageNode: string;
    pool: string;
  }[];
}
