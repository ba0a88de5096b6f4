import { legSizeBytes, logicalVolumeTags, LVM_TAG } from '../../lib/api/index.ts';
import type { LvmVolume, TagChange } from '../../lib/host/lvm.ts';
import { ERASED_TAG, type ReplicaFacts } from './world.ts';

/*
 * What a logical volume's tags say: whose it is, to which history its data belongs, and under which epoch it was exported
 * last. They outlive the API server, so that an older state of it is known for what it is. A tag is written before what
 * it tells of exists; where two of a kind are found after a crash, the higher one counts.
 */

const VOLUME_UID = 'hf.volume=';
const REPLICA_UID = 'hf.replica=';
const VOLUME_NAME = 'hf.volume-name=';
const REPLICA_NAME = 'hf.name=';
const SIZE = 'hf.size=';
const LINEAGE = 'hf.lineage=';
const EPOCH = 'hf.epoch=';
const THICK_TAG = 'hf.thick';
const BEGAN_WITH = 'hf.began-with=';

/** A logical volume of a replica, by its own tags. */
export interface DiskIdentity {
  readonly volumeUid: string | undefined;
  readonly replicaUid: string | undefined;
  readonly volume: string | undefined;
  readonly replica: string | undefined;
  /** The volume's capacity. */
  readonly sizeBytes: number | undefined;
  readonly thick: boolean;
  /** It was made from a copy of a snapshot, and never was empty. */
  readonly beganWithCopy: boolean;
  readonly erased: boolean;
  readonly lineage: number;
  /** The last epoch under which it was exported; 0: never. */
  readonly epoch: number;
  /** The host to which it was exported then; undefined: never. */
  readonly host: string | undefined;
}

function valuesOf(tags: readonly string[], key: string): string[] {
  return tags.filter((tag) => tag.startsWith(key)).map((tag) => tag.slice(key.length));
}

function highest(values: readonly string[], none: number): number {
  return Math.max(none, ...values.map((value) => Number.parseInt(value, 10)).filter((value) => value >= 0));
}

/** Reads the tags of a logical volume. */
export function identityOf(tags: readonly string[]): DiskIdentity {
  const grants = valuesOf(tags, EPOCH);
  const epoch = highest(grants, 0);
  const grant = grants.find((each) => Number.parseInt(each, 10) === epoch);
  const colon = grant?.indexOf(':') ?? -1;
  const sizes = valuesOf(tags, SIZE);
  return {
    volumeUid: valuesOf(tags, VOLUME_UID)[0],
    replicaUid: valuesOf(tags, REPLICA_UID)[0],
    volume: valuesOf(tags, VOLUME_NAME)[0],
    replica: valuesOf(tags, REPLICA_NAME)[0],
    sizeBytes: sizes.length === 0 ? undefined : highest(sizes, 0),
    thick: tags.includes(THICK_TAG),
    beganWithCopy: valuesOf(tags, BEGAN_WITH).length > 0,
    erased: tags.includes(ERASED_TAG),
    lineage: highest(valuesOf(tags, LINEAGE), 1),
    epoch,
    host: grant === undefined || colon < 0 ? undefined : grant.slice(colon + 1),
  };
}

/** Whether a logical volume is a replica of ours, known or not. */
export function isReplicaVolume(volume: Pick<LvmVolume, 'tags'>): boolean {
  return volume.tags.includes(LVM_TAG) && valuesOf(volume.tags, REPLICA_UID).length > 0;
}

/** The tags that tell people and `holdfast recover` about the replica, beside those that make it ours. */
export function labelTags(replica: ReplicaFacts): string[] {
  return [
    `${VOLUME_NAME}${replica.volume}`,
    `${REPLICA_NAME}${replica.name}`,
    `${SIZE}${replica.sizeBytes}`,
    `${LINEAGE}${replica.lineage}`,
    ...(replica.provisioning === 'Thick' ? [THICK_TAG] : []),
    ...(replica.copyUid === undefined ? [] : [`${BEGAN_WITH}${replica.copyUid}`]),
  ];
}

/** The tag of an export. */
export function epochTag(replica: Pick<ReplicaFacts, 'epoch' | 'hostNqn'>): string {
  return `${EPOCH}${replica.epoch}:${replica.hostNqn}`;
}

const LABELS = [VOLUME_NAME, REPLICA_NAME, SIZE, LINEAGE];

/** The tags to change so that the labels are right, or undefined when they are. */
export function labelChange(replica: ReplicaFacts, volume: LvmVolume): TagChange | undefined {
  // What is being grown is labelled with its new size once it has it.
  if (volume.sizeBytes < legSizeBytes(replica.sizeBytes)) return undefined;
  // A volume never gets smaller: an object that says so is older than the disk.
  const sizeBytes = Math.max(replica.sizeBytes, identityOf(volume.tags).sizeBytes ?? 0);
  return change(volume.tags, labelTags({ ...replica, sizeBytes }), LABELS);
}

/** The tags to change before the replica is exported to its host, or undefined when they say so already. */
export function epochChange(replica: ReplicaFacts, volume: LvmVolume): TagChange | undefined {
  return change(volume.tags, [epochTag(replica)], [EPOCH]);
}

/** The tags to change so that a volume that is taken over is the replica's own, or undefined when it is. */
export function adoptionChange(replica: ReplicaFacts, volume: LvmVolume): TagChange | undefined {
  return change(volume.tags, logicalVolumeTags(replica.volumeUid, replica.uid), [VOLUME_UID, REPLICA_UID]);
}

function change(tags: readonly string[], wanted: readonly string[], keys: readonly string[]): TagChange | undefined {
  const add = wanted.filter((tag) => !tags.includes(tag));
  const remove = tags.filter((tag) => keys.some((key) => tag.startsWith(key)) && !wanted.includes(tag));
  return add.length + remove.length === 0 ? undefined : { add, remove };
}

/**
 * Why the object can't be right about the replica, by what the disk's tags know; undefined when nothing speaks against
 * it. An epoch and its host are one decision: the same epoch for another host is as wrong as an earlier epoch.
 */
export function contradiction(replica: ReplicaFacts, disk: DiskIdentity): string | undefined {
  const said = `the object says lineage ${replica.lineage}, epoch ${replica.epoch}`;
  if (disk.lineage > replica.lineage) return `${said}, the disk knows lineage ${disk.lineage}`;
  if (disk.epoch > replica.epoch) return `${said}, the disk knows epoch ${disk.epoch}`;
  if (disk.epoch === replica.epoch && disk.host !== undefined && disk.host !== replica.hostNqn) {
    const host = replica.hostNqn === '' ? 'nobody' : replica.hostNqn;
    return `the object gives epoch ${replica.epoch} to ${host}, the disk knows that ${disk.host} had it`;
  }
  return undefined;
}
