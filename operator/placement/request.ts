import type { Labels } from './labels.ts';
import type { Placement } from './types.ts';

/** One pool of a storage node, as its storage agent reports it. */
export interface Pool {
  readonly name: string;
  /** Physical size. */
  readonly capacityBytes: number;
  /** Physical bytes that are allocated. */
  readonly usedBytes: number;
  /** Sum of the sizes of all volumes in the pool: what it has promised. With thin volumes it may exceed the capacity. */
  readonly provisionedBytes: number;
}

/** A storage node that may be chosen. */
export interface CandidateNode {
  readonly name: string;
  readonly labels: Labels;
  readonly cordoned: boolean;
  readonly draining: boolean;
  /** Its heartbeat is fresh. */
  readonly alive: boolean;
  readonly pools: readonly Pool[];
  /** Replicas of all volumes that the node holds. */
  readonly replicaCount: number;
}

/** A replica of this volume that exists and stays: new replicas must fit together with it. */
export interface Member {
  /** The replica's name, for messages. */
  readonly replica: string;
  readonly node: string;
  /** The labels of its node; undefined when the node is unknown, which no `distinct` or `same` constraint accepts. */
  readonly labels: Labels | undefined;
}

/** A node that must not be chosen. */
export interface Exclusion {
  readonly node: string;
  /** A phrase that continues "1 …" and "3 …" alike: "held the failed replica". */
  readonly reason: string;
}

export interface PlaceRequest {
  /** Only feeds the tie-break: equal nodes are used evenly by different volumes, and always the same for one. */
  readonly volumeUid: string;
  readonly placement: Placement;
  readonly nodes: readonly CandidateNode[];
  /**
   * The replicas that stay. A replica that is being replaced is none of them: its domain may be used again; its node
   * belongs to `exclude`.
   */
  readonly members: readonly Member[];
  readonly exclude: readonly Exclusion[];
  /** How many replicas to place, 0 to 8. All of them are placed, or none. */
  readonly count: number;
  /** What one replica takes of a pool: the volume's size and whatever is stored in front of it. */
  readonly sizeBytes: number;
  /** Thick: every byte is reserved. Default: thin. */
  readonly thick?: boolean;
  /** Bytes that a thin replica needs at once, because data is copied to it (heal, clone). Default 0. */
  readonly initialBytes?: number;
  /** The client node's labels, when the volume is attached or its first client is known. */
  readonly clientLabels?: Labels;
  /** How much a pool may promise to thin volumes, as a multiple of its capacity; 1 to 100. Default 10. */
  readonly overProvisioningRatio?: number;
  /** The share of a pool's capacity that must be physically free before a thin replica is put there. Default 0.05. */
  readonly minFreeShare?: number;
}

export interface Choice {
  readonly node: string;
  readonly pool: string;
  /** Short sentences: why this node. Never empty. */
  readonly why: readonly string[];
}

/** Nodes that one check removed, for one reason. */
export interface Removal {
  /** The check's name, such as `cordoned`; stable, for metrics. */
  readonly filter: string;
  /** The reason as it follows the count: "are cordoned". */
  readonly reason: string;
  readonly nodes: readonly string[];
  readonly count: number;
}

export interface Effort {
  /** Candidates looked at by the search for the best set. */
  readonly evaluations: number;
  /** Whether the search ended by itself: then no better set exists. Otherwise it stopped at its bound. */
  readonly exact: boolean;
}

export type PlaceResult =
  | {
      readonly ok: true;
      readonly choices: readonly Choice[];
      readonly removed: readonly Removal[];
      /** Rules that have no effect, probably by a mistake: a label that no node has. */
      readonly warnings: readonly string[];
      readonly effort: Effort;
    }
  | {
      readonly ok: false;
      /** One sentence for events and conditions. */
      readonly message: string;
      readonly removed: readonly Removal[];
      readonly effort: Effort;
    };
