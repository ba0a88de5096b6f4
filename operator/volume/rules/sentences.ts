/** Sentences about single replicas. Times are absolute, so that a sentence stays true without being written again. */
import { listing } from '../../placement/words.ts';
import type { Facts, Replica } from '../facts.ts';
import { atTime, isDoomed, named } from '../facts.ts';
import { absences } from './heal.ts';

/** Why a member is not in sync and what happens next: "pg-r1 on s2 away since ...; heals onto another node at ...". */
export function awaySentence(facts: Facts, replica: Replica): string {
  const absence = absences(facts).find((candidate) => candidate.replica === replica);
  if (absence === undefined) {
    return `${named(replica)} is in sync`;
  }
  if (absence.syncing) {
    return `data is being copied to ${named(replica)}`;
  }
  if (!replica.hasHistory) {
    return `${named(replica)} is new: ${newReplicaState(replica)}`;
  }
  const reason = facts.status.outOfSync?.[replica.name]?.reason;
  const why = reason === undefined || reason === '' ? '' : ` (${reason})`;
  const away = isDoomed(replica)
    ? `${named(replica)} was deleted`
    : replica.isGone
      ? `the data of ${named(replica)} is gone there`
      : `${named(replica)} away since ${atTime(absence.sinceMs)}${why}`;
  return `${away}; ${nextStep(facts, absence.dueMs)}`;
}

function newReplicaState(replica: Replica): string {
  if (replica.object?.status?.phase === 'Failed')
    return `it failed (${replica.object.status.message ?? 'no reason given'})`;
  if (replica.object?.status?.phase !== 'Ready') {
    return replica.node.alive ? 'it is being made' : 'its storage agent does not answer';
  }
  return 'it is being connected';
}

function nextStep(facts: Facts, dueMs: number): string {
  if (facts.session.kind !== 'attached') return 'comes back when the volume is attached next';
  if (facts.world.volume.spec.healing.paused) return 'it is not replaced while healing is paused';
  if (facts.connectedSinceMs === undefined) return 'comes back or is replaced when the client is connected';
  return dueMs <= facts.nowMs ? 'it is due to be replaced' : `heals onto another node at ${atTime(dueMs)}`;
}

/** The reasons of placement for a replica, in brackets. */
export function reasons(why: readonly string[] | undefined): string {
  return why === undefined || why.length === 0 ? '' : ` (${why.join('; ')})`;
}

/** Which replicas get data, and which leave once they have it. */
export function growthSentence(facts: Facts): string {
  const getting = facts.members.filter(({ inSync }) => !inSync).map((replica) => awaySentence(facts, replica));
  const leaving = facts.leaving.map(named);
  const gone = leaving.length === 0 ? [] : [`${listing(leaving)} ${leaving.length === 1 ? 'leaves' : 'leave'} then`];
  return [...getting, ...gone].join('; ');
}
