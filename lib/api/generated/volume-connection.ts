// Generated from crds/ by generate.ts: do not edit.
import type {Condition, ObjectMeta} from '../meta.ts';

/**
 * A volume on the client node that uses it - the client's point of view of the legs.
 */
export interface VolumeConnection {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: VolumeConnectionSpec;
  status?: VolumeConnectionStatus;
}
export interface VolumeConnectionSpec {
  volume: string;
  volumeUid: string;
  node: string;
  epoch: number;
  /**
   * The size that the array is to have. Every in-sync replica has room for it.
   */
  sizeBytes: number;
  legTimeout: string;
  onControlPlaneLoss: string;
  onSlowLeg: string;
  raidDisks: number;
  /**
   * The client is to let no write through for a moment, so that a snapshot can be taken of all replicas at once.
   */
  suspend?: {
    /**
     * Names the request; it is answered once.
     */
    request: string;
    /**
     * Writes are held from now on; before that the client only gets ready for it.
     */
    hold: boolean;
    /**
     * Writes are held no longer than this, whatever becomes of the snapshot.
     */
    limitMs: number;
    /**
     * The token of the standstill that may end - all copies of it that will ever count have been taken.
     */
    release: string;
    /**
     * Those copies (SnapshotReplica).
     *
     * @maxItems 8
     */
    copies?: string[];
  };
  /**
   * @maxItems 8
   */
  legs: {
    replica: string;
    /**
     * The UID of the VolumeReplica, which is also the UUID of its NVMe namespace.
     */
    uid: string;
    nqn: string;
    address: string;
    port: number;
    /**
     * The replica's status.drained. The leg joins once it has reached status.legs[].drain.
     */
    drained?: number;
  }[];
}
export interface VolumeConnectionStatus {
  phase?: 'Connecting' | 'Connected' | 'Waiting' | 'Releasing' | 'Fenced' | 'Failed';
  message?: string;
  devicePath?: string;
  /**
   * The epoch under which the array runs.
   */
  epoch?: number;
  bootId?: string;
  /**
   * The size of the array that runs.
   */
  sizeBytes?: number;
  /**
   * md's array_state.
   */
  arrayState?: string;
  legSummary?: string;
  syncSummary?: string;
  /**
   * @maxItems 8
   */
  legs?: {
    replica: string;
    /**
     * The client asks that all I/O it has sent to this leg until now be proved to have ended. The leg does not join before that.
     */
    drain?: number;
    state: 'Connecting' | 'InSync' | 'Stalled' | 'Syncing' | 'Unreachable' | 'Failed';
    /**
     * State of the NVMe controller: live, connecting, ...; empty when there is none.
     */
    path?: string;
    since?: string;
    /**
     * Mean time of an I/O on this leg in the last sample.
     */
    latencyMs?: number;
    sync?: {
      kind: 'Bitmap' | 'Full';
      doneBytes: number;
      totalBytes: number;
      startedAt?: string;
    };
    message?: string;
  }[];
  /**
   * The answer to spec.suspend.
   */
  suspension?: {
    request: string;
    /**
     * Names this one standstill; no other ever bears it.
     */
    token: string;
    /**
     * `Ready`: writes can be held at once. `Suspended`: no write is under way, and none is let through. `Released`: it had lasted without a break until spec.suspend.release was read. `Broken`: it ended before that, or never was.
     */
    state: 'Ready' | 'Suspended' | 'Released' | 'Broken';
    /**
     * The replicas that held the same data during the standstill.
     *
     * @maxItems 8
     */
    replicas?: string[];
    /**
     * For how long writes waited.
     */
    heldMs?: number;
    message?: string;
  };
  /**
   * The last time a leg was dropped - the order proves that the record came before the acknowledgement.
   */
  lastDrop?: {
    replica: string;
    /**
     * When the leg was seen to answer last.
     */
    detectedAt: string;
    /**
     * When the API server had accepted the in-sync set without it.
     */
    recordedAt: string;
    /**
     * When writes were let go on.
     */
    releasedAt: string;
  };
  /**
   * The last finished resync or full sync of a leg.
   */
  lastSync?: {
    replica: string;
    kind: 'Bitmap' | 'Full';
    startedAt: string;
    finishedAt: string;
    /**
     * What the bitmap said was to be copied, in whole chunks.
     */
    dirtyBytes: number;
    /**
     * What was written to the leg during the sync.
     */
    copiedBytes: number;
  };
  conditions?: Condition[];
}
