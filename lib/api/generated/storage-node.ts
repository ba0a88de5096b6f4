// Generated from crds/ by generate.ts: do not edit.
import type {Condition, ObjectMeta} from '../meta.ts';

/**
 * A machine that stores replicas. Its labels are the topology that placements speak about.
 */
export interface StorageNode {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: StorageNodeSpec;
  status?: StorageNodeStatus;
}
export interface StorageNodeSpec {
  /**
   * Where the NVMe/TCP target of this node listens.
   *
   * @minItems 1
   * @maxItems 4
   */
  addresses: {
    /**
     * IPv4 or IPv6 address.
     */
    ip: string;
    port: number;
  }[];
  /**
   * LVM thin pools. Each is made from empty disks (devices) or found in an existing volume group (volumeGroup).
   *
   * @minItems 1
   * @maxItems 16
   */
  pools: {
    name: string;
    /**
     * @minItems 1
     * @maxItems 64
     */
    devices?: string[];
    volumeGroup?: string;
  }[];
  /**
   * No new replica is placed here; those that exist stay.
   */
  cordoned: boolean;
  /**
   * Replicas are to move elsewhere; no new replica is placed here.
   */
  draining: boolean;
}
export interface StorageNodeStatus {
  agentVersion?: string;
  /**
   * The kernel's boot id, so that a reboot is seen.
   */
  bootId?: string;
  /**
   * The sums over all pools, for people.
   */
  summary?: {
    capacity?: string;
    used?: string;
    provisioned?: string;
  };
  pools?: {
    name: string;
    capacityBytes: number;
    usedBytes: number;
    provisionedBytes: number;
  }[];
  /**
   * Replicas on the disks of this node for which there is no object; `holdfast recover` takes them up.
   *
   * @maxItems 512
   */
  unknownReplicas?: {
    /**
     * Volume group and name.
     */
    logicalVolume: string;
    pool?: string;
    /**
     * The volume's name.
     */
    volume?: string;
    volumeUid: string;
    /**
     * The replica's name.
     */
    replica?: string;
    replicaUid: string;
    /**
     * The volume's capacity.
     */
    sizeBytes?: number;
    provisioning?: 'Thin' | 'Thick';
    /**
     * Its blocks have been given back; there is nothing to recover.
     */
    erased?: boolean;
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
     * It was made from a copy of a snapshot, and never was empty.
     */
    beganWithCopy?: boolean;
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
  }[];
  conditions?: Condition[];
}
