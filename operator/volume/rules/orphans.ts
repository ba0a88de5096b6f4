import type { Action } from '../actions.ts';
import type { Decision, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts, Replica } from '../facts.ts';
import type { VolumeReplica } from '../model.ts';

/**
 * Given a replica that leaves the volume, when it is not in sync and the members hold the data as often as the volume
 * wants it (or the replica never held any), then it becomes an orphan and its object is deleted; once that is marked,
 * the record forgets it. Only then does its storage agent erase it, whenever its node is back.
 */
export const retire: Rule = (facts): Decision => {
  if (facts.ending) {
    return nothing;
  }
  const marked = facts.leaving.filter(isMarked);
  if (marked.length > 0) {
    const names = marked.map(({ name }) => name);
    return {
      record: {
        kind: 'forget',
        replicas: (facts.status.replicas ?? []).filter(({ name }) => !names.includes(name)),
        names,
        event: { type: 'Normal', reason: 'ReplicaRemoved', message: `${names.join(', ')} left the volume` },
      },
    };
  }
  const ready = facts.leaving.filter((replica) => !isNeeded(facts, replica));
  return { actions: ready.flatMap(({ object }) => (object === undefined ? [] : orphan(object, 'it was replaced'))) };
};

/** Nothing is left to mark: its object is an orphan that is being deleted, or gone. */
export function isMarked({ object, inSync }: Pick<Replica, 'object' | 'inSync'>): boolean {
  const deleted = object === undefined || object.metadata.deletionTimestamp !== undefined;
  return !inSync && deleted && (object === undefined || object.spec.state === 'Orphan');
}

/** Its data counts: it is in sync, or it is the next best copy while the volume has fewer than it wants. */
export function isNeeded(
  facts: Pick<Facts, 'status' | 'initialised' | 'members'>,
  replica: Pick<Replica, 'inSync' | 'hasHistory'>,
): boolean {
  if (replica.inSync) {
    return true;
  }
  return facts.initialised && replica.hasHistory && !facts.members.every(({ inSync }) => inSync);
}

/**
 * Given an object of this volume that its record does not name, then it is an orphan: the record names a replica before
 * its object is made, so this one has been forgotten. The same holds for an object of an earlier volume of this name.
 */
export const sweepStrangers: Rule = (facts): Decision => {
  if (facts.ending) {
    return nothing;
  }
  const earlier = facts.world.replicas.filter(({ spec }) => spec.volumeUid !== facts.uid);
  return {
    actions: [
      ...facts.strangers.flatMap((object) => orphan(object, 'the volume no longer names it')),
      ...earlier.flatMap((object) => orphan(object, 'its volume is gone')),
    ],
  };
};

/** First the mark, then the deletion, each if it is still to be done. */
export function orphan(object: VolumeReplica, why: string): readonly Action[] {
  const { name, uid = '', deletionTimestamp } = object.metadata;
  return [
    ...(object.spec.state === 'Orphan' ? [] : [{ kind: 'orphanReplica', name, uid, why } as const]),
    ...(deletionTimestamp === undefined ? [{ kind: 'deleteReplica', name, uid } as const] : []),
  ];
}
