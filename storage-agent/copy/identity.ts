import { LVM_TAG, type SnapshotReplica } from '../../lib/api/index.ts';
import type { LvmVolume } from '../../lib/host/lvm.ts';
import { ERASED_TAG } from '../replica/world.ts';

/*
 * What the tags of a snapshot's copy say: which object it belongs to, and in which standstill of the volume it was taken. They
 * are written with the copy itself, so that an agent that is killed in between finds its own work.
 */

const COPY_UID = 'hf.copy=';
const TAKE = 'hf.take=';
const THICK = 'hf.copy-of-thick';

/** The tags of a copy. `take` is made of characters that LVM takes in a tag. */
export function copyTags(uid: string, { snapshot, replica, take, provisioning }: SnapshotReplica['spec']): string[] {
  const thick = provisioning === 'Thick' ? [THICK] : [];
  return [LVM_TAG, `${COPY_UID}${uid}`, `hf.snapshot=${snapshot}`, `hf.copy-of=${replica}`, `${TAKE}${take}`, ...thick];
}

/** Whether it is a copy of a replica that was promised room for all of it. */
export function isThickCopy({ tags }: Pick<LvmVolume, 'tags'>): boolean {
  return tags.includes(THICK);
}

/** Whether a logical volume is that copy, with its content. */
export function isCopy({ tags }: Pick<LvmVolume, 'tags'>, uid: string): boolean {
  return tags.includes(`${COPY_UID}${uid}`) && !tags.includes(ERASED_TAG);
}

/** The standstill in which a copy was taken, by its tags. */
export function takeOf({ tags }: Pick<LvmVolume, 'tags'>): string | undefined {
  return tags.find((tag) => tag.startsWith(TAKE))?.slice(TAKE.length);
}

/** The UID of the SnapshotReplica that a logical volume belongs to; undefined for one that is no copy. */
export function copyUidOf({ tags }: Pick<LvmVolume, 'tags'>): string | undefined {
  return tags.find((tag) => tag.startsWith(COPY_UID))?.slice(COPY_UID.length);
}
