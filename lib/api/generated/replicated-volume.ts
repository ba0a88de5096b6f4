// Generated from crds/ by generate.ts: do not edit.
import type {Condition, ObjectMeta} from '../meta.ts';

/**
 * A volume that is kept as several replicas in different failure domains.
 */
export interface ReplicatedVolume {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: ReplicatedVolumeSpec;
  status?: ReplicatedVolumeStatus;
}
export interface ReplicatedVolumeSpec {
  /**
   * Usable size in bytes, a multiple of 1 MiB. It only grows.
   */
  capacityBytes: number;
  replicas: number;
  /**
   * Hard constraints and weighted goals over the labels of storage nodes.
   */
  placement: {
    /**
     * @maxItems 16
     */
    constraints: {
      distinct?: {
        label: string;
      };
      same?: {
        label: string;
      };
      exists?: {
        label: string;
      };
      in?: {
        label: string;
        /**
         * @minItems 1
         * @maxItems 64
         */
        values: string[];
      };
      notIn?: {
        label: string;
        /**
         * @minItems 1
         * @maxItems 64
         */
        values: string[];
      };
    }[];
    /**
     * @maxItems 16
     */
    goals: {
      weight: number;
      distinct?: {
        label: string;
      };
      same?: {
        label: string;
      };
      in?: {
        label: string;
        /**
         * @minItems 1
         * @maxItems 64
         */
        values: string[];
      };
      /**
       * Prefer nodes that share the client's labels, or one label of them.
       */
      near?: {
        label?: string;
      };
      spread?: {
        resource: 'capacity';
      };
    }[];
  };
  healing: {
    /**
     * How long a replica may stay away before the volume heals onto another node.
     */
    replicaTimeout: string;
    /**
     * How long the client waits for a leg that does not answer before it records the loss and goes on without it.
     */
    legTimeout: string;
    /**
     * What writes do when a leg is lost while the API server can't be reached, so that the loss can't be recorded: `Wait` for it (nothing acknowledged is ever lost), or `Continue after 30s` without the record. The latter risks acknowledged writes: should the client die, or be cut off, before it could record the loss, the volume may be started elsewhere from the replica that lacks them.
     */
    onControlPlaneLoss: string;
    /**
     * What happens to a leg whose connection lives but that ends no I/O: `Report` it (writes wait for it), or `Drop after 30s` of standstill, while another in-sync leg works.
     */
    onSlowLeg: string;
    paused: boolean;
  };
  provisioning: 'Thin' | 'Thick';
  /**
   * Labels of the node for which the volume is, with which goals `near(client)` compare storage nodes. The CSI controller writes those of the first pod's node, and later of the node that has the volume.
   */
  clientLabels?: {
    [k: string]: string;
  };
  /**
   * What the volume begins with; without it, it begins empty. Only a thin volume can have one.
   */
  source?: {
    /**
     * A ReplicatedSnapshot.
     */
    snapshot?: string;
    /**
     * Another ReplicatedVolume, as it is now.
     */
    volume?: string;
  };
  /**
   * The client node that is to have the volume; empty for none. The CSI controller writes it.
   */
  attachTo: string;
  /**
   * A person's decision to go on from a replica that lacks acknowledged writes, because no in-sync replica can be reached. What only the others hold is lost. `holdfast volume force-start` writes it.
   */
  forceStart?: {
    /**
     * The replica whose data becomes the data of the volume.
     */
    replica: string;
    /**
     * The lineage that begins - one more than status.lineage. A request for a lineage that has begun is done.
     */
    lineage: number;
    /**
     * The record (status.recordGeneration) on which the decision rests, 0 for none. A request is void once the record has changed.
     */
    recordGeneration: number;
    /**
     * It must be true.
     */
    acceptDataLoss: boolean;
  };
}
export interface ReplicatedVolumeStatus {
  phase?: 'Pending' | 'Creating' | 'Healthy' | 'Degraded' | 'Healing' | 'Waiting' | 'Deleting';
  /**
   * One line for people: is the volume safe, and if not, why.
   */
  message?: string;
  inSyncSummary?: string;
  size?: string;
  /**
   * How much of spec.capacityBytes can be used. It follows when every replica that counts, and the array of the client that has the volume, has grown; it never falls.
   */
  capacityBytes?: number;
  attachment?: {
    /**
     * The client node that may write; empty for none.
     */
    node: string;
    hostNqn: string;
    epoch: number;
    /**
     * The array was stopped in order: all in-sync legs are identical.
     */
    clean: boolean;
  };
  /**
   * The replicas that hold every acknowledged write.
   *
   * @maxItems 8
   */
  inSync?: string[];
  /**
   * Grows with each change of the in-sync set, and never falls. The legs carry the last one, so that an older record is known for what it is.
   */
  recordGeneration?: number;
  /**
   * The history that the volume's data belongs to; only a forced start begins a new one. None means 1.
   */
  lineage?: number;
  /**
   * By replica, when it left the in-sync set and whether the running array's bitmap knows what it lacks.
   */
  outOfSync?: {
    [k: string]: {
      epoch: number;
      /**
       * The client boot in which the array has tracked the missing writes; without it only a full sync helps.
       */
      bootId?: string;
      /**
       * The NVMe name under which the leg was lost. It names the storage node's boot - a rebooted node may have lost what it had not flushed, so only a full sync helps.
       */
      nqn?: string;
      at: string;
      reason?: string;
      /**
       * Since when data has been copied to it. Until that has come to its end the replica holds blocks of two times.
       */
      mixedSince?: string;
    };
  };
  /**
   * The least ordinal of the next replica's name; it only grows. A replica that is made later bears the volume's age in seconds at least, so that no name is used twice, also after a restore from a backup.
   */
  nextReplica?: number;
  /**
   * @maxItems 24
   */
  replicas?: {
    name: string;
    storageNode: string;
    pool: string;
    role: 'Member' | 'Leaving';
    /**
     * The UID of the SnapshotReplica that it was made from; none for one that began empty.
     */
    copyUid?: string;
    /**
     * When it was added to the volume.
     */
    since?: string;
    /**
     * Why it was placed there.
     */
    why?: string[];
  }[];
  conditions?: Condition[];
}
