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
  sizeBytes: number;
  legTimeout: string;
  onControlPlaneLoss: string;
  onSlowLeg: string;
  raidDisks: number;
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
