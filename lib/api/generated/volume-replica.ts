// Generated from crds/ by generate.ts: do not edit.
import type {Condition, ObjectMeta} from '../meta.ts';

/**
 * One copy of a volume on one storage node, exported as an NVMe subsystem of its own.
 */
export interface VolumeReplica {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: VolumeReplicaSpec;
  status?: VolumeReplicaStatus;
}
export interface VolumeReplicaSpec {
  volume: string;
  volumeUid: string;
  storageNode: string;
  pool: string;
  /**
   * The volume's capacity; the logical volume is larger by the leg's header.
   */
  sizeBytes: number;
  provisioning: 'Thin' | 'Thick';
  state: 'Active' | 'Orphan';
  /**
   * The only host that may connect; empty for none.
   */
  hostNqn: string;
  /**
   * The attachment epoch that hostNqn belongs to.
   */
  epoch: number;
  /**
   * Grows each time the client asks that all earlier I/O on this replica be proved to have ended. The export is then removed, drained and made anew.
   */
  drain: number;
  /**
   * The history that the data on this replica belongs to, by the volume's record.
   */
  lineage: number;
  /**
   * The copy of a snapshot, in the same pool, that the replica begins with; without one it begins empty.
   */
  source?: {
    /**
     * The UID of the SnapshotReplica.
     */
    copyUid: string;
  };
  /**
   * The replica takes over a logical volume that is on the node already, made for an object that is lost. It never makes an empty one. `holdfast recover` writes it.
   */
  adopt?: {
    replicaUid: string;
    volumeUid: string;
  };
}
export interface VolumeReplicaStatus {
  phase?: 'Pending' | 'Ready' | 'Erasing' | 'Failed';
  message?: string;
  nqn?: string;
  address?: string;
  port?: number;
  /**
   * Every host of an earlier epoch is proved to be gone.
   */
  fencedEpoch?: number;
  /**
   * All I/O that reached the replica before this spec.drain is proved to have ended.
   */
  drained?: number;
  /**
   * The boot in which this status was observed.
   */
  bootId?: string;
  /**
   * The capacity that the logical volume has room for. It follows spec.sizeBytes once the volume has grown.
   */
  sizeBytes?: number;
  usedBytes?: number;
  /**
   * What the disk itself knows. The record was looked at before the last export.
   */
  disk?: {
    /**
     * The history that the data belongs to.
     */
    lineage: number;
    /**
     * The last epoch under which it was exported.
     */
    epoch: number;
    /**
     * The host to which it was exported then.
     */
    host?: string;
    /**
     * There is no record in front of the data: no client has started the volume from it.
     */
    blank?: boolean;
    /**
     * The volume's record as its last client left it in front of the data.
     */
    record?: {
      lineage: number;
      epoch: number;
      generation: number;
      /**
       * Written without the API server: the number of the record that it had accepted last.
       */
      base?: number;
      /**
       * @maxItems 8
       */
      inSync: string[];
    };
  };
  conditions?: Condition[];
}
