import type { CandidateNode } from '../placement/request.ts';
import type { ReplicatedVolume, VolumeConnection, VolumeReplica } from './model.ts';

/** Whether a program renews its Lease, by this operator's own clock. */
export interface Liveness {
  readonly alive: boolean;
  /** When the last renewal was seen; undefined when there never was one. */
  readonly lastSeenMs?: number | undefined;
}

/** The snapshot that a volume begins with, while it has no data yet. */
export type SnapshotSource =
  | { readonly ready: false; readonly why: string }
  | {
      readonly ready: true;
      /** All of them have the same content. */
      readonly copies: readonly { readonly uid: string; readonly storageNode: string; readonly pool: string }[];
    };

/** Everything that the planner of one volume looks at, gathered at one moment. Plain data. */
export interface World {
  readonly volume: ReplicatedVolume;
  /** Undefined for a volume that begins empty. */
  readonly source?: SnapshotSource | undefined;
  /** Every VolumeReplica whose `spec.volume` is the volume's name, also those of an earlier volume of this name. */
  readonly replicas: readonly VolumeReplica[];
  /** Every VolumeConnection whose `spec.volume` is the volume's name. */
  readonly connections: readonly VolumeConnection[];
  /** All storage nodes as placement sees them; worked out when it is asked for. Always the same answer. */
  readonly candidates: () => readonly CandidateNode[];
  /** By the name of the storage node: of every one, as a record that is about to be written may name any. */
  readonly storageAgents: Pick<ReadonlyMap<string, Liveness>, 'get'>;
  /** By the name of the client node. */
  readonly clients: ReadonlyMap<string, Liveness>;
  /**
   * Replicas of a volume of this name that storage nodes have on disk and for which there are no objects, in words for
   * people; worked out when it is asked for.
   */
  readonly unknownReplicas?: () => readonly string[];
  readonly settings: Settings;
}

/** Times that the planner uses besides those of the volume itself. */
export interface Settings {
  /** How long a replica of a volume without any data may fail to be made before it is placed elsewhere. */
  readonly creationPatienceMs: number;
  /** How long a client that has just got its device may take to bring back legs that were away. */
  readonly rejoinPatienceMs: number;
  /** How often a failed replacement is tried again when no storage node has changed. */
  readonly retryMs: number;
}

export const defaultSettings: Settings = { creationPatienceMs: 5_000, rejoinPatienceMs: 20_000, retryMs: 30_000 };
