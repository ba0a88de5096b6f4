import { copyUidOf, isThickCopy } from '../copy/identity.ts';
import { LVM_TAG, THIN_POOL_NAME, volumeGroupName, type ErrorCode, type StorageNode } from '../../lib/api/index.ts';
import type { DiskState } from '../../lib/host/blockdev.ts';
import type { LvmGroup, LvmPhysical, LvmVolume, ThinPoolOptions } from '../../lib/host/lvm.ts';
import { poolGeometry } from './geometry.ts';

/** A pool as the StorageNode's spec names it. */
export type PoolSpec = StorageNode['spec']['pools'][number];

/** A device that the spec names, looked at just now. */
export interface PoolDevice {
  /** As in the spec. */
  readonly path: string;
  /** What LVM knows of it, when it carries an LVM label. */
  readonly physical: LvmPhysical | undefined;
  /** Looked at only while the pool's group isn't there yet. */
  readonly disk: DiskState | undefined;
}

/** Everything that one planning step for a pool rests on. */
export interface PoolWorld {
  readonly spec: PoolSpec;
  readonly group: LvmGroup | undefined;
  readonly devices: readonly PoolDevice[];
  /** The logical volumes in the pool's group. */
  readonly volumes: readonly LvmVolume[];
}

export type PoolAction =
  | {
      readonly kind: 'create-group';
      readonly group: string;
      readonly devices: readonly string[];
      readonly tags: readonly string[];
    }
  | { readonly kind: 'create-pool'; readonly pool: ThinPoolOptions }
  | { readonly kind: 'remove-half-made-pool'; readonly group: string; readonly name: string }
  | { readonly kind: 'activate-pool'; readonly group: string; readonly name: string };

/** Why a pool can't be used, for the StorageNode's condition. */
export interface PoolProblem {
  readonly code: ErrorCode;
  /** One CamelCase word. */
  readonly reason: string;
  readonly message: string;
}

/** Figures of a pool that can be used, in bytes. */
export interface PoolFigures {
  readonly name: string;
  readonly capacityBytes: number;
  readonly usedBytes: number;
  readonly provisionedBytes: number;
}

export type PoolPlan =
  | { readonly next: 'act'; readonly action: PoolAction }
  | { readonly next: 'refuse'; readonly problem: PoolProblem }
  /** `warning`: usable, but somebody should look at it. */
  | { readonly next: 'ready'; readonly figures: PoolFigures; readonly warning: PoolProblem | undefined };

const DATA_WARNING_PERCENT = 90;
const METADATA_WARNING_PERCENT = 80;

/** Name of the group that a pool lives in. */
export function groupOf(spec: PoolSpec): string {
  return spec.volumeGroup ?? volumeGroupName(spec.name);
}

/** LVM tags of a group that was made for a pool; by them a half-made one is known after a crash. */
export function groupTags(spec: PoolSpec): string[] {
  return [LVM_TAG, `hf.pool=${spec.name}`];
}

function refuse(code: ErrorCode, reason: string, message: string): PoolPlan {
  return { next: 'refuse', problem: { code, reason, message } };
}

/** Decides the next step for a pool from one look at it. Pure. */
export function planPool(world: PoolWorld): PoolPlan {
  const { spec, group } = world;
  if (group === undefined) {
    if (spec.volumeGroup === undefined) return planGroup(world);
    const hint = `create it (vgcreate ${spec.volumeGroup} DISK...) or name another group`;
    return refuse('HF303', 'VolumeGroupMissing', `volume group "${spec.volumeGroup}" does not exist: ${hint}`);
  }
  return checkGroup(world, group) ?? planThinPool(world, group);
}

/** Given empty disks, Then a group of all of them; given one that holds anything, Then nothing at all is touched. */
function planGroup(world: PoolWorld): PoolPlan {
  const { spec, devices } = world;
  const missing: string[] = [];
  const occupied: string[] = [];
  for (const device of devices) {
    const { physical, disk } = device;
    if (disk === undefined || disk.state === 'missing') {
      missing.push(disk?.why ?? `${device.path} does not exist`);
      continue;
    }
    // A label without a group is what a crash in the middle of vgcreate leaves; it stands for no data.
    if (physical !== undefined && physical.group === '' && !physical.inUse) continue;
    if (physical !== undefined && physical.group !== '') {
      occupied.push(`${device.path} is a physical volume of volume group "${physical.group}"`);
    } else if (disk.state === 'occupied') {
      occupied.push(`${device.path} holds data: ${disk.found.join('; ')}`);
    }
  }
  if (occupied.length > 0) {
    const hint = 'give another disk, or wipe it yourself (wipefs --all, blkdiscard) when nobody needs what is on it';
    return refuse('HF301', 'DiskHoldsData', `${occupied.join(', ')}; ${hint}`);
  }
  if (missing.length > 0) return refuse('HF302', 'DiskMissing', missing.join(', '));
  const paths = devices.map((device) => device.path);
  return { next: 'act', action: { kind: 'create-group', group: groupOf(spec), devices: paths, tags: groupTags(spec) } };
}

function checkGroup(world: PoolWorld, group: LvmGroup): PoolPlan | undefined {
  const { spec } = world;
  if (spec.volumeGroup === undefined && !groupTags(spec).every((tag) => group.tags.includes(tag))) {
    const message = `volume group "${group.name}" exists, but it was not made by Holdfast for pool "${spec.name}" (its tags are "${group.tags.join(',')}")`;
    return refuse('HF303', 'VolumeGroupForeign', message);
  }
  if (group.missingDevices > 0) {
    const message = `volume group "${group.name}" lacks ${group.missingDevices} of its physical volumes`;
    return refuse('HF303', 'VolumeGroupIncomplete', message);
  }
  if (!group.usable)
    return refuse('HF303', 'VolumeGroupUnusable', `volume group "${group.name}" is exported or partial`);
  return undefined;
}

/**
 * What a killed lvcreate leaves of a thin pool in a group of our own, as seen with LVM 2.03.16: the metadata volume under
 * a passing name (`lvol0`), or a linear volume with the pool's name. Only while there is nothing else in the group.
 */
function findHalfMade(world: PoolWorld): LvmVolume | undefined {
  if (world.spec.volumeGroup !== undefined) return undefined;
  const { volumes } = world;
  const isPiece = (volume: LvmVolume): boolean =>
    volume.layout.includes('linear') && (volume.name === THIN_POOL_NAME || /^lvol\d+$/.test(volume.name));
  return volumes.every(isPiece) ? volumes[0] : undefined;
}

function planThinPool(world: PoolWorld, group: LvmGroup): PoolPlan {
  const { spec, volumes } = world;
  const halfMade = findHalfMade(world);
  if (halfMade !== undefined) {
    return { next: 'act', action: { kind: 'remove-half-made-pool', group: group.name, name: halfMade.name } };
  }
  const pool = volumes.find((volume) => volume.name === THIN_POOL_NAME);
  if (pool === undefined) {
    const geometry = poolGeometry(group.freeExtents, group.extentBytes);
    if (geometry === undefined) {
      const freeMib = Math.floor((group.freeExtents * group.extentBytes) / 1024 / 1024);
      const message = `volume group "${group.name}" has ${freeMib} MiB free, too little for a thin pool`;
      return refuse('HF303', 'VolumeGroupFull', message);
    }
    const options = { group: group.name, name: THIN_POOL_NAME, ...geometry, tags: [LVM_TAG] };
    return { next: 'act', action: { kind: 'create-pool', pool: options } };
  }
  const path = `${group.name}/${pool.name}`;
  if (!pool.layout.includes('pool') || !pool.tags.includes(LVM_TAG)) {
    return refuse('HF304', 'PoolForeign', `the logical volume ${path} exists, but it is no thin pool of Holdfast`);
  }
  if (!pool.active) return { next: 'act', action: { kind: 'activate-pool', group: group.name, name: pool.name } };
  const failing = poolFailure(pool, path);
  if (failing !== undefined) return failing;
  return { next: 'ready', figures: figuresOf(spec, pool, volumes), warning: warningOf(world, pool) };
}

function poolFailure(pool: LvmVolume, path: string): PoolPlan | undefined {
  switch (pool.health) {
    case '':
    case 'out_of_data':
      return undefined;
    default:
      return refuse(
        'HF304',
        'PoolFailing',
        `the thin pool ${path} reports "${pool.health}"; see lvs -a and dmesg, and lvconvert --repair`,
      );
  }
}

/**
 * A thick volume has its blocks for good: what a client discarded in it stays reserved. And so does room for all of it once
 * more, as long as there is a snapshot with which it shares its blocks.
 */
function reservedBytes(volume: LvmVolume): number {
  if (copyUidOf(volume) !== undefined) return isThickCopy(volume) ? volume.sizeBytes : 0;
  const isThick = volume.tags.some((tag) => tag.startsWith('hf.allocated='));
  return isThick && volume.dataPercent !== undefined ? volume.sizeBytes * (1 - volume.dataPercent / 100) : 0;
}

function figuresOf(spec: PoolSpec, pool: LvmVolume, volumes: readonly LvmVolume[]): PoolFigures {
  const members = volumes.filter((volume) => volume.pool === pool.name);
  const mapped = (pool.sizeBytes * (pool.dataPercent ?? 0)) / 100;
  const reserved = members.reduce((sum, volume) => sum + reservedBytes(volume), 0);
  // A copy of a snapshot promises nobody anything: what it takes, it takes because a volume is written to.
  const promised = members.filter((volume) => copyUidOf(volume) === undefined);
  return {
    name: spec.name,
    capacityBytes: pool.sizeBytes,
    usedBytes: Math.min(pool.sizeBytes, Math.round(mapped + reserved)),
    provisionedBytes: promised.reduce((sum, volume) => sum + volume.sizeBytes, 0),
  };
}

function warningOf(world: PoolWorld, pool: LvmVolume): PoolProblem | undefined {
  const data = pool.dataPercent ?? 0;
  const metadata = pool.metadataPercent ?? 0;
  if (pool.health === 'out_of_data' || data >= DATA_WARNING_PERCENT || metadata >= METADATA_WARNING_PERCENT) {
    const message = `${data}% of the data and ${metadata}% of the metadata are used; a full pool fails writes`;
    return { code: 'HF313', reason: 'PoolNearlyFull', message };
  }
  const outside = world.devices.filter((device) => device.physical?.group !== world.group?.name);
  if (outside.length === 0) return undefined;
  const paths = outside.map((device) => device.path).join(' ');
  const message = `${paths} is not part of volume group "${world.group?.name}"; a pool does not grow by itself: vgextend and lvextend it`;
  return { code: 'HF302', reason: 'DiskNotInPool', message };
}
