import { createHash } from 'node:crypto';

/** Names and sizes that several programs must agree on. On-disk and on-wire names come from UIDs, so a retry finds its own work. */

export const API_GROUP = 'holdfast.dev';
export const API_VERSION = 'v1alpha1';
export const API_GROUP_VERSION = `${API_GROUP}/${API_VERSION}`;
export const CSI_DRIVER_NAME = 'csi.holdfast.dev';
export const DEFAULT_NAMESPACE = 'holdfast-system';
export const DEFAULT_LEASE_DURATION_MS = 10_000;
export const DEFAULT_NVME_PORT = 4420;

/** Label of a VolumeReplica (and of whatever else belongs to one volume): the ReplicatedVolume's name. */
export const VOLUME_LABEL = `${API_GROUP}/volume`;

export const OPERATOR_FINALIZER = `${API_GROUP}/operator`;
export const STORAGE_AGENT_FINALIZER = `${API_GROUP}/storage-agent`;
export const CLIENT_AGENT_FINALIZER = `${API_GROUP}/client-agent`;

/** Label of a SnapshotReplica: its ReplicatedSnapshot's name. */
export const SNAPSHOT_LABEL = `${API_GROUP}/snapshot`;

/** Annotation of a ReplicatedVolume that `holdfast recover` is building up: the operator leaves it alone meanwhile. */
export const RECOVERING_ANNOTATION = `${API_GROUP}/recovering`;

/** The operator's lead. It is also the witness of what those see who judge the other Leases. */
export const OPERATOR_LEASE = 'holdfast-operator';

/** Lease by which a storage-agent shows that it lives. */
export function storageLeaseName(storageNode: string): string {
  return `storage-${storageNode}`;
}

/** Lease by which a client agent shows that it lives. */
export function clientLeaseName(clientNode: string): string {
  return `client-${clientNode}`;
}

/** Annotation of a client agent's Lease: how many volumes its node takes; 0 or none: no limit. */
export const MAX_VOLUMES_ANNOTATION = 'csi.holdfast.dev/max-volumes';

/** Name of a VolumeReplica, which is also the replica's name in `inSync`, legs and records. */
export function replicaName(volume: string, ordinal: number): string {
  return `${volume}-r${ordinal}`;
}

/** Name of the VolumeConnection of a volume on a client node. */
export function connectionName(volume: string, clientNode: string): string {
  return `${volume}.${clientNode}`;
}

const NQN_PREFIX = 'nqn.2026-01.dev.holdfast';

const REPLICA_PREFIX = `${NQN_PREFIX}:replica:`;

/**
 * NVMe subsystem name of a replica. It names the storage node's boot too: a node that was booted again may have lost
 * what it had not flushed, so a client's controller must never find its way back to the replica by itself.
 * @param bootId the storage node's `/proc/sys/kernel/random/boot_id`
 */
export function replicaNqn(replicaUid: string, bootId: string): string {
  return `${REPLICA_PREFIX}${replicaUid}:${bootId.slice(0, 8)}`;
}

/** Whether a subsystem name is that of a replica. */
export function isReplicaNqn(nqn: string): boolean {
  return nqn.startsWith(REPLICA_PREFIX);
}

/** The UID in a replica's NVMe subsystem name, or undefined for a name that isn't ours. */
export function replicaUidOfNqn(nqn: string): string | undefined {
  return isReplicaNqn(nqn) ? nqn.slice(REPLICA_PREFIX.length).split(':')[0] : undefined;
}

/** NVMe namespace id inside a replica's subsystem. */
export const REPLICA_NSID = 1;

/** Serial number of a replica's subsystem: NVMe has room for 20 characters. */
export function replicaSerial(replicaUid: string): string {
  return replicaUid.replaceAll('-', '').slice(0, 20);
}

/** What an export was made for: both are fences, and an export of an earlier one of either is wrong. */
export interface ExportMark {
  /** The attachment epoch. */
  readonly epoch: number;
  /** How often a client has asked that all I/O before it be ended (docs/adr/0020); it never falls. */
  readonly drain: number;
}

/**
 * Model of a replica's subsystem; it tells to whoever runs `nvme list` what the export was made for. NVMe has room for 40
 * characters. Drain 0 is not told: so it was before there were any, and exports outlive the agents that made them.
 */
export function replicaModel({ epoch, drain }: ExportMark): string {
  return drain === 0 ? `Holdfast epoch ${epoch}` : `Holdfast epoch ${epoch} drain ${drain}`;
}

const MODEL = /^Holdfast epoch (\d+)(?: drain (\d+))?$/;

/** What a subsystem was made for, or undefined for one that is half made. */
export function markOfModel(model: string): ExportMark | undefined {
  const match = MODEL.exec(model);
  return match === null ? undefined : { epoch: Number(match[1]), drain: Number(match[2] ?? 0) };
}

/** Whether a mark is an earlier one (negative), the same (0), or a later one: the epoch counts first. */
export function compareMarks(a: ExportMark, b: ExportMark): number {
  return a.epoch === b.epoch ? a.drain - b.drain : a.epoch - b.epoch;
}

/** NVMe host name of a client node. */
export function hostNqn(clientNode: string): string {
  return `${NQN_PREFIX}:client:${clientNode}`;
}

/** NVMe host identifier of a client node, always the same for the same node. */
export function hostId(clientNode: string): string {
  return uuidV5(URL_NAMESPACE, hostNqn(clientNode));
}

const URL_NAMESPACE = '6ba7b811-9dad-11d1-80b4-00c04fd430c8';

/** A UUID made from a name (RFC 9562, version 5). */
export function uuidV5(namespace: string, name: string): string {
  const hash = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name, 'utf8')
    .digest();
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = hash.toString('hex', 0, 16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** Logical volume of a replica. */
export function logicalVolumeName(replicaUid: string): string {
  return `hf-${replicaUid}`;
}

/** Logical volume of a snapshot's copy. */
export function copyVolumeName(copyUid: string): string {
  return `hf-snap-${copyUid}`;
}

/** Of a ReplicatedVolume and of a ReplicatedSnapshot: what is made of them bears their name as a label's value. */
export const MAX_NAME_LENGTH = 63;

/** Name of the ReplicatedSnapshot from which a volume is made that is a clone of another one. */
export function cloneSnapshotName(volume: string): string {
  return `clone-${volume}`.length <= MAX_NAME_LENGTH ? `clone-${volume}` : `clone-${uuidV5(URL_NAMESPACE, volume)}`;
}

/** LVM tags without which a logical volume is not this replica's: the disk itself says whose it is. */
export function logicalVolumeTags(volumeUid: string, replicaUid: string): string[] {
  return [LVM_TAG, `hf.volume=${volumeUid}`, `hf.replica=${replicaUid}`];
}

/** LVM tag of everything that Holdfast has made. */
export const LVM_TAG = 'holdfast';

/** Volume group that a storage-agent makes for a pool of bare disks. */
export function volumeGroupName(pool: string): string {
  return `hf-${pool}`;
}

/** The thin pool inside a pool's volume group. */
export const THIN_POOL_NAME = 'holdfast-pool';

/** How the names of our md arrays begin. */
export const ARRAY_PREFIX = 'md_hf_';

/** Name of a volume's md array (in /dev and in /sys/block). */
export function arrayName(volumeUid: string): string {
  return `${ARRAY_PREFIX}${volumeUid.replaceAll('-', '').slice(0, 12)}`;
}

/** Where the stable paths of volumes are. */
export const DEVICE_DIR = '/dev/holdfast';

/** The path of a volume's device, the same on every client and after every reconnect. */
export function devicePath(volume: string): string {
  return `${DEVICE_DIR}/${volume}`;
}

/** How the device-mapper names of our valves begin. */
export const VALVE_PREFIX = 'hf-valve-';

/** device-mapper name of the valve in front of a leg, from the leg's NQN. */
export function valveName(nqn: string): string {
  return VALVE_PREFIX + nqn.slice(REPLICA_PREFIX.length).replaceAll(':', '-');
}

/** The leg's NQN in a valve's device-mapper name: the replica's UID, then the storage node's boot. */
export function nqnOfValve(name: string): string {
  const leg = name.slice(VALVE_PREFIX.length);
  const UID_LENGTH = 36;
  return `${REPLICA_PREFIX}${leg.slice(0, UID_LENGTH)}:${leg.slice(UID_LENGTH + 1)}`;
}

// Layout of a leg: sectors 0-15 are its header (lib/host/leg-header.ts), then the write-intent bitmap, then (at 4 MiB) the data.

/** What a leg keeps for itself in front of the data. */
export const LEG_HEADER_BYTES = 4 * 1024 * 1024;
/** Where the data begins. */
export const LEG_DATA_SECTOR = LEG_HEADER_BYTES / 512;
/** Where the write-intent bitmap begins. */
export const LEG_BITMAP_SECTOR = 16;

/** The whole bitmap is one page: however many bits a batch of writes sets, they cost one write to each leg. */
const BITMAP_BITS = 4096 * 8;
const SMALLEST_BITMAP_CHUNK_BYTES = 64 * 1024;
/** Beyond this a resync would copy too much for one write. */
const LARGEST_BITMAP_CHUNK_BYTES = 64 * 1024 * 1024;

/** Bytes of the bitmap of a volume of this size, in whole blocks of 4 KiB. */
export function bitmapBytes(sizeBytes: number): number {
  return Math.ceil(sizeBytes / bitmapChunkBytes(sizeBytes) / BITMAP_BITS) * 4096;
}

/** Size of a replica's logical volume for a volume of this size. LVM rounds it up to whole extents. */
export function legSizeBytes(sizeBytes: number): number {
  return sizeBytes + LEG_HEADER_BYTES;
}

/** How much of the volume one bit of the write-intent bitmap stands for: 64 KiB up to 2 GiB, doubled until all bits fit one page, 64 MiB at most. */
export function bitmapChunkBytes(sizeBytes: number): number {
  let chunkBytes = SMALLEST_BITMAP_CHUNK_BYTES;
  while (sizeBytes / chunkBytes > BITMAP_BITS && chunkBytes < LARGEST_BITMAP_CHUNK_BYTES) chunkBytes *= 2;
  return chunkBytes;
}
