import {
  copyVolumeName,
  type ErrorCode,
  type SnapshotReplicaSpec,
  type SnapshotReplicaStatus,
} from '../../lib/api/index.ts';
import type { LvmVolume } from '../../lib/host/lvm.ts';
import { ERASED_TAG, type PoolFacts } from '../replica/world.ts';
import { copyTags, copyUidOf, takeOf } from './identity.ts';

/** What the record of the snapshot, read just now, says about the copy. */
export type SnapshotRecord =
  /** Nothing hung on it. */
  | 'unread'
  /** The snapshot counts on the copy. */
  | 'names'
  /** The snapshot is gone, is being deleted, or counts on others. */
  | 'omits';

/** Everything that one planning step about a copy rests on. */
export interface CopyWorld {
  readonly uid: string;
  readonly spec: SnapshotReplicaSpec;
  readonly status: SnapshotReplicaStatus | undefined;
  readonly deleting: boolean;
  readonly hasFinalizer: boolean;
  readonly record: SnapshotRecord;
  readonly pool: PoolFacts;
  /** The thin pool itself. */
  readonly thinPool: LvmVolume | undefined;
  /** The replica's logical volume. */
  readonly source: LvmVolume | undefined;
  /** The copy's. */
  readonly volume: LvmVolume | undefined;
  readonly devicePath: string | undefined;
}

/** One effect. Each may be done again after a crash at any point in it. */
export type CopyAction =
  | {
      readonly kind: 'take';
      readonly group: string;
      readonly origin: string;
      readonly name: string;
      readonly tags: readonly string[];
    }
  | { readonly kind: 'activate'; readonly group: string; readonly name: string }
  | {
      readonly kind: 'erase';
      readonly group: string;
      readonly name: string;
      readonly devNo: string;
      readonly devicePath: string;
      readonly sizeBytes: number;
    }
  | { readonly kind: 'remove'; readonly group: string; readonly name: string }
  | { readonly kind: 'release' };

export type CopyPlan =
  | { readonly next: 'act'; readonly action: CopyAction }
  /** `again`: what is waited for sends no event. */
  | { readonly next: 'rest'; readonly status: SnapshotReplicaStatus; readonly again: boolean };

const rest = (
  phase: NonNullable<SnapshotReplicaStatus['phase']>,
  message: string,
  more: { readonly code?: ErrorCode; readonly take?: string; readonly again?: boolean } = {},
): CopyPlan => ({
  next: 'rest',
  status: {
    phase,
    message: more.code === undefined ? message : `${more.code}: ${message}`,
    ...(more.take === undefined ? {} : { take: more.take }),
  },
  again: more.again ?? phase !== 'Taken',
});

/**
 * The next step for the copy of a snapshot. Pure. Given an object, Then it is first prepared: whoever is to stop a volume's
 * writes knows before that the copy can be taken. Given `spec.take`, Then the copy is taken, once, and marked with it.
 */
export function planCopy(world: CopyWorld): CopyPlan {
  return world.deleting ? planEnd(world) : planTake(world);
}

function planTake({ uid, spec, status, pool, source, volume, thinPool }: CopyWorld): CopyPlan {
  if (pool.state === 'unavailable') return rest('Pending', pool.why, { code: 'HF304' });
  const name = copyVolumeName(uid);
  const where = `${pool.group}/${name}`;
  if (volume !== undefined) {
    const take = takeOf(volume);
    if (copyUidOf(volume) !== uid || take === undefined || volume.tags.includes(ERASED_TAG)) {
      return rest('Failed', `the logical volume ${where} is not the copy that was taken`, { code: 'HF319' });
    }
    return rest('Taken', `taken of ${spec.replica}`, { take });
  }
  if (status?.phase === 'Taken') {
    return rest('Failed', `the logical volume ${where} is gone, and its data with it`, { code: 'HF319' });
  }
  if (source === undefined || source.tags.includes(ERASED_TAG)) {
    return rest('Failed', `the replica ${spec.replica} has no logical volume here`, { code: 'HF318' });
  }
  const objection = roomObjection(spec, source, thinPool);
  if (objection !== undefined) return rest('Failed', objection, { code: 'HF318' });
  if (spec.take === '') return rest('Prepared', `ready to be taken of ${spec.replica}`);
  return {
    next: 'act',
    action: { kind: 'take', group: pool.group, origin: source.name, name, tags: copyTags(uid, spec) },
  };
}

/** A full pool fails the writes of all volumes in it: from here on no snapshot takes room from them. */
const MOST_DATA_PERCENT = 90;
const MOST_METADATA_PERCENT = 80;

/**
 * Why the pool has no room for a copy. A copy takes none at first, but each block that is written afterwards is kept twice; a
 * thick volume has been promised that its writes always find room, so for one of those all of it must be there now.
 */
function roomObjection(spec: SnapshotReplicaSpec, source: LvmVolume, pool: LvmVolume | undefined): string | undefined {
  if (pool === undefined) return undefined;
  const data = pool.dataPercent ?? 0;
  const metadata = pool.metadataPercent ?? 0;
  if (data >= MOST_DATA_PERCENT || metadata >= MOST_METADATA_PERCENT) {
    return `${data}% of the pool's data and ${metadata}% of its metadata are used; a snapshot needs less than ${MOST_DATA_PERCENT}% and ${MOST_METADATA_PERCENT}%`;
  }
  const freeBytes = (pool.sizeBytes * (100 - data)) / 100;
  if (spec.provisioning === 'Thick' && freeBytes < source.sizeBytes) {
    return `a snapshot of a thick replica needs ${source.sizeBytes} bytes of the pool, and ${Math.floor(freeBytes)} are free`;
  }
  return undefined;
}

/** Given a copy that no snapshot counts on, Then: blocks gone and read back, logical volume gone, object gone. */
function planEnd({ uid, record, hasFinalizer, pool, volume, devicePath }: CopyWorld): CopyPlan {
  if (!hasFinalizer) return rest('Erasing', 'erased', { again: false });
  if (record !== 'omits') {
    return rest('Failed', 'it was deleted, but its snapshot counts on it: it is kept until that is deleted', {
      code: 'HF311',
    });
  }
  if (pool.state === 'unavailable') return rest('Erasing', `can't be erased now: ${pool.why}`, { code: 'HF304' });
  if (volume === undefined) return { next: 'act', action: { kind: 'release' } };
  const place = { group: pool.group, name: volume.name };
  if (copyUidOf(volume) !== uid) {
    return rest('Failed', `the logical volume ${place.group}/${place.name} belongs to something else`, {
      code: 'HF308',
    });
  }
  if (volume.tags.includes(ERASED_TAG)) return { next: 'act', action: { kind: 'remove', ...place } };
  if (devicePath === undefined || volume.devNo === undefined) {
    return { next: 'act', action: { kind: 'activate', ...place } };
  }
  const { devNo, sizeBytes } = volume;
  return { next: 'act', action: { kind: 'erase', ...place, devNo, devicePath, sizeBytes } };
}
