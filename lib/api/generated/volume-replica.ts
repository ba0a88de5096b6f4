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
   * The boot in which this status was observed.
   */
  bootId?: string;
  usedBytes?: number;
  conditions?: Condition[];
}
