import { compareMarks, logicalVolumeTags } from '../../lib/api/index.ts';
import type { LvmVolume } from '../../lib/host/lvm.ts';
import { identityOf } from './identity.ts';
import { orphanRefusal, type Action } from './plan.ts';
import { isCopy } from '../copy/identity.ts';
import { ERASED_TAG, FOREIGN_HEADER_TAG, type RecordFacts, type ReplicaFacts } from './world.ts';

/** Facts read from the API server and from LVM just before an effect, not from a cache. */
export interface FreshFacts {
  /** Undefined when the object is gone or has another UID. */
  readonly replica: ReplicaFacts | undefined;
  readonly record: RecordFacts;
  readonly volume: LvmVolume | undefined;
  readonly namesake: LvmVolume | undefined;
  readonly adoptable: LvmVolume | undefined;
  readonly copy: LvmVolume | undefined;
  /** Groups in which LVM has a volume of the replica's name; undefined when the pool can't be read or wasn't asked for. */
  readonly groups: readonly string[] | undefined;
}

/** Why an effect may not happen now, or undefined when it may. */
export type Refusal = string | undefined;

/**
 * Holds the laws once more, on fresh facts: the plan may rest on a cache that is seconds old. A refusal only means that
 * the loop looks again; it never means that a rule is waived later.
 */
export function guard(action: Action, planned: ReplicaFacts, fresh: FreshFacts): Refusal {
  const { replica, record, volume } = fresh;
  if (replica === undefined) return 'its object is gone';
  switch (action.kind) {
    case 'fence':
      // What was planned on was a cache that lags.
      if (action.forgotten !== undefined && replica.drain >= action.forgotten) return 'its drain is not forgotten';
      return guardFence(planned, replica, record);
    case 'export':
    case 'listen':
      // One writer: only what the API server says now may be exported.
      if (replica.state !== 'Active') return 'it became an orphan';
      if (replica.epoch !== planned.epoch || replica.hostNqn !== planned.hostNqn) {
        return `the epoch moved from ${planned.epoch} to ${replica.epoch}`;
      }
      if (replica.drain !== planned.drain) return `drain moved from ${planned.drain} to ${replica.drain}`;
      return undefined;
    case 'adopt-volume': {
      const { adoptable } = fresh;
      if (replica.state !== 'Active' || replica.adopt === undefined) return 'it takes over no volume';
      if (adoptable === undefined || volume !== undefined) return 'its logical volume was taken over already';
      if (adoptable.open === true) return 'the logical volume that it takes over is in use';
      return logicalVolumeTags(replica.adopt.volumeUid, replica.adopt.replicaUid).every((tag) =>
        adoptable.tags.includes(tag),
      )
        ? undefined
        : 'the logical volume that it takes over carries another name';
    }
    case 'copy-volume':
      if (fresh.copy === undefined || replica.copyUid === undefined || !isCopy(fresh.copy, replica.copyUid))
        return 'the copy that it begins with is gone';
      return guardBirth(replica, fresh);
    case 'clear-header':
      // Once the tag is gone, what is there is the header of a volume that somebody uses.
      return volume?.tags.includes(FOREIGN_HEADER_TAG) === true ? undefined : 'its header is its own';
    case 'create-volume':
      if (replica.copyUid !== undefined)
        return 'it begins with a snapshot, and an empty volume must not take its place';
      return guardBirth(replica, fresh);
    case 'erase-volume':
    case 'remove-volume':
      if (volume === undefined) return 'its logical volume is gone already';
      if (identityOf(volume.tags).replicaUid !== replica.uid) return 'its logical volume carries another name';
      if (volume.open === true) return 'its logical volume is in use';
      if (action.kind === 'remove-volume' && !volume.tags.includes(ERASED_TAG)) return 'it has not been erased';
      return guardOrphan(replica, record);
    case 'release':
      // An absent volume counts only where the pool can be read: a missing disk has erased nothing.
      if (fresh.groups === undefined) return 'its pool can not be read';
      if (fresh.groups.length > 0) return `its logical volume is still there, in ${fresh.groups.join(', ')}`;
      return guardOrphan(replica, record);
    case 'extend-volume':
    case 'allocate-volume':
      if (replica.state !== 'Active') return 'it became an orphan';
      if (volume === undefined) return 'its logical volume is gone';
      return logicalVolumeTags(replica.volumeUid, replica.uid).every((tag) => volume.tags.includes(tag))
        ? undefined
        : 'its logical volume carries another name';
    case 'await-drain':
    case 'activate-volume':
      return undefined;
    case 'label-volume':
      // A tag tells of what is so by the object as it is now, never as it was.
      if (replica.state !== 'Active') return 'it became an orphan';
      if (replica.epoch !== planned.epoch || replica.hostNqn !== planned.hostNqn) {
        return `the epoch moved from ${planned.epoch} to ${replica.epoch}`;
      }
      return replica.lineage < planned.lineage ? 'what was read is older than what was planned on' : undefined;
  }
}

/** Whether a logical volume may be made for the replica: it never had one. */
function guardBirth(replica: ReplicaFacts, fresh: FreshFacts): Refusal {
  const { record } = fresh;
  if (replica.adopt !== undefined) return 'it takes over a volume, and an empty one must not take its place';
  if (replica.state !== 'Active') return 'it became an orphan';
  if (fresh.namesake !== undefined)
    return `${fresh.namesake.name} holds its data already, under an object that is lost`;
  if (replica.wasReady) return 'it was ready before, so an empty volume must not take its place';
  if (record.state === 'gone') return 'its volume is gone';
  if (record.state === 'names' && record.inSync) return 'its volume counts on its data';
  return undefined;
}

function guardFence(planned: ReplicaFacts, replica: ReplicaFacts, record: RecordFacts): Refusal {
  if (replica.state === 'Orphan') return guardOrphan(replica, record);
  if (planned.state === 'Orphan') return 'it is no orphan';
  // A newer epoch or drain than planned needs the fence just as well; an older one would mean that the plan knew more.
  return compareMarks(replica, planned) < 0 ? 'what was read is older than what was planned on' : undefined;
}

function guardOrphan(replica: ReplicaFacts, record: RecordFacts): Refusal {
  if (replica.state !== 'Orphan') return 'it is no orphan';
  return orphanRefusal({ replica, record });
}
