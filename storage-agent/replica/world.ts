import type { RecordStamp } from '../../lib/api/index.ts';
import type { DecodedLeg } from '../../lib/host/leg-header.ts';
import type { LvmVolume } from '../../lib/host/lvm.ts';
import type { Listener, Presence, Subsystem } from '../../lib/host/nvmet.ts';

/** What the API says about one replica. */
export interface ReplicaFacts {
  readonly name: string;
  readonly uid: string;
  readonly volume: string;
  readonly volumeUid: string;
  readonly pool: string;
  readonly sizeBytes: number;
  readonly provisioning: 'Thin' | 'Thick';
  readonly state: 'Active' | 'Orphan';
  readonly hostNqn: string;
  readonly epoch: number;
  readonly drain: number;
  readonly lineage: number;
  /** The logical volume that it takes over: made for an object that is lost. */
  readonly adopt: { readonly replicaUid: string; readonly volumeUid: string } | undefined;
  /** The UID of the copy of a snapshot that it begins with; undefined: it begins empty. */
  readonly copyUid: string | undefined;
  readonly deleting: boolean;
  readonly hasFinalizer: boolean;
  /** True once the agent has reported the replica Ready: from then on its volume holds data. */
  readonly wasReady: boolean;
  /** The last fencedEpoch that was reported, or undefined. */
  readonly fencedEpoch: number | undefined;
}

/** The thin pool that the replica lives in. */
export type PoolFacts =
  | { readonly state: 'ready'; readonly group: string }
  /** Nothing can be said about its volumes, not even that one isn't there. */
  | { readonly state: 'unavailable'; readonly why: string };

/** What the record of the replica's volume says about it, read just now. */
export type RecordFacts =
  /** It was not asked for, as nothing hung on it; it permits nothing. */
  | { readonly state: 'unread' }
  /** There is no such ReplicatedVolume, or one of the same name with another UID. */
  | { readonly state: 'gone' }
  | { readonly state: 'names'; readonly inSync: boolean; readonly role: string }
  | { readonly state: 'omits' }
  /** The volume is there and its record is empty: it says nothing about anybody. */
  | { readonly state: 'blank' };

/** An export of another name, and whether anything of it still lives. */
export interface ExportFacts {
  readonly nqn: string;
  readonly subsystem: Subsystem | undefined;
  readonly presence: Presence;
}

/** What is compared before a replica is exported anew: the leg's own header, and the record, read after it. */
export interface LegFacts {
  readonly decoded: DecodedLeg;
  /** The volume's record now; one without a volume or a status is record 0. */
  readonly record: RecordStamp;
}

/** Everything that one planning step rests on. */
export interface ReplicaWorld {
  readonly replica: ReplicaFacts;
  readonly record: RecordFacts;
  readonly pool: PoolFacts;
  /** The logical volume by its name; undefined when the pool is unavailable or has none. */
  readonly volume: LvmVolume | undefined;
  /** Another logical volume of this node that bears the replica's name in the same volume: what its object was before it was lost. */
  readonly namesake: LvmVolume | undefined;
  /** The logical volume that is to be taken over, as long as it has its former name. */
  readonly adoptable: LvmVolume | undefined;
  /** The copy of a snapshot that it is made from. */
  readonly copy: LvmVolume | undefined;
  /** The export that the logical volume had under the object that is lost. */
  readonly former: ExportFacts | undefined;
  /** Looked at while the replica is to be exported and is not, and while its tags contradict its object. */
  readonly leg: LegFacts | undefined;
  /** The volume's device while it is active. */
  readonly devicePath: string | undefined;
  /** Name that the export has in this boot. */
  readonly nqn: string;
  readonly subsystem: Subsystem | undefined;
  readonly presence: Presence;
  /**
   * Whether anybody holds the volume open, asked only where it is the proof that a removed export is gone; undefined
   * where it wasn't asked.
   */
  readonly inUse: boolean | undefined;
  /** Where this node listens, the first one is reported. */
  readonly listeners: readonly Listener[];
}

/** LV tag of a volume whose blocks have been discarded or overwritten, and read back. */
export const ERASED_TAG = 'hf.erased';

/** LV tag of a volume that was made from a copy and still begins with the header and the bitmap of the replica that was copied. */
export const FOREIGN_HEADER_TAG = 'hf.foreign-header';

const ALLOCATED = 'hf.allocated=';

/** LV tag that says up to which byte a thick volume has been allocated. */
export function allocatedTag(bytes: number): string {
  return `${ALLOCATED}${bytes}`;
}

/** How many bytes of a thick volume have been allocated, by its tags. */
export function allocatedBytes(tags: readonly string[]): number {
  const marks = tags.filter((tag) => tag.startsWith(ALLOCATED)).map((tag) => Number(tag.slice(ALLOCATED.length)));
  return Math.max(0, ...marks.filter((bytes) => Number.isSafeInteger(bytes)));
}
