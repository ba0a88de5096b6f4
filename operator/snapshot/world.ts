import type {
  ReplicatedSnapshot,
  ReplicatedVolume,
  SnapshotReplica,
  VolumeConnection,
  VolumeReplica,
} from '../../lib/api/index.ts';

/** One snapshot with everything that it depends on, as the caches have it. Plain data. */
export interface Member {
  readonly snapshot: ReplicatedSnapshot;
  /** The volume that bears the name of which it is a snapshot. */
  readonly volume: ReplicatedVolume | undefined;
  /** The volume's replicas. */
  readonly replicas: readonly VolumeReplica[];
  /** The connection of the volume's present attachment. */
  readonly connection: VolumeConnection | undefined;
  /** The copies that were made for it, of every try. */
  readonly copies: readonly SnapshotReplica[];
  /** Volumes that are being made from it and have no data yet. */
  readonly users: readonly string[];
  /** Another snapshot of the volume, whose turn it is. */
  readonly rival: string | undefined;
  /** The volume for which alone it is taken (spec.forVolume). */
  readonly heir: ReplicatedVolume | undefined;
}

/** Snapshots that are taken at one instant: one by itself, or a group. */
export interface SnapshotSet {
  readonly members: readonly Member[];
  /** Whether the storage agent of a node renews its Lease. */
  readonly isStorageAlive: (node: string) => boolean;
  readonly isClientAlive: (node: string) => boolean;
  /** Writes are held no longer than this. */
  readonly standstillMs: number;
  /** Since when all writes have been held, as far as this process has seen it. */
  readonly heldSinceMs: number | undefined;
}

/** An effect. Each may be repeated without harm. */
export type SnapshotAction =
  | { readonly kind: 'addFinalizer'; readonly name: string }
  | { readonly kind: 'removeFinalizer'; readonly name: string }
  | {
      readonly kind: 'setStatus';
      readonly name: string;
      readonly status: object;
      /** Only while the volume is as it was when its copies were asked for: handed to nobody since. */
      readonly unless?: Untouched;
    }
  | { readonly kind: 'createCopy'; readonly name: string; readonly spec: SnapshotReplica['spec'] }
  | { readonly kind: 'take'; readonly name: string; readonly uid: string; readonly take: string }
  | { readonly kind: 'deleteCopy'; readonly name: string; readonly uid: string }
  /** Undefined takes the request back. */
  | {
      readonly kind: 'suspend';
      readonly connection: string;
      readonly uid: string;
      readonly suspend: VolumeConnection['spec']['suspend'] | undefined;
    }
  | { readonly kind: 'createSnapshot'; readonly name: string; readonly spec: ReplicatedSnapshot['spec'] }
  | { readonly kind: 'deleteSnapshot'; readonly name: string; readonly uid: string };

/** A volume that nobody has, at one point of its history. */
export interface Untouched {
  readonly volume: string;
  readonly volumeUid: string;
  readonly epoch: number;
  readonly lineage: number;
  readonly clean: boolean;
  /** The replicas that must be in sync still. */
  readonly replicas: readonly string[];
}

export interface SnapshotPlan {
  readonly actions: readonly SnapshotAction[];
  /** Look again after this long although nothing changed; undefined: no need. */
  readonly lookAgainMs?: number | undefined;
}
