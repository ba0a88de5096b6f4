import type { Decision, Note, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts, Replica } from '../facts.ts';
import { atTime, isDoomed, named } from '../facts.ts';
import type { ReplicaRecord } from '../model.ts';
import { placeReplicas } from './place.ts';

/** A member that is not in sync, and when it is replaced if it doesn't come back. */
export interface Absence {
  readonly replica: Replica;
  readonly sinceMs: number;
  readonly dueMs: number;
  /** Data is being copied to it: it is waited for. */
  readonly syncing: boolean;
}

/**
 * The members that are not in sync. The time away counts from the moment the client recorded the loss. A client that has
 * just got its device is given a while to bring back by itself what it can: while the volume was detached nobody could.
 */
export function absences(facts: Facts): readonly Absence[] {
  const patienceMs = Math.min(facts.replicaTimeoutMs, facts.settings.rejoinPatienceMs);
  const earliestMs = (facts.connectedSinceMs ?? facts.nowMs) + patienceMs;
  return facts.members
    .filter(({ inSync }) => !inSync)
    .map((replica) => {
      const left = facts.status.outOfSync?.[replica.name]?.at;
      const sinceMs = Date.parse(left ?? replica.record.since ?? '') || 0;
      const awayMs = Math.max(sinceMs, stalledSinceMs(replica));
      const timeMs = left === undefined ? timeToFillMs(facts, sinceMs) : facts.replicaTimeoutMs;
      const dueMs = isDoomed(replica) || replica.isGone ? sinceMs : Math.max(earliestMs, awayMs + timeMs);
      return { replica, sinceMs, dueMs, syncing: replica.leg?.state === 'Syncing' && !isDoomed(replica) };
    });
}

/** A replacement gets at most so many times replicaTimeout. */
const FILL_FACTOR = 16;

/**
 * For how long a new replica may be on its way: as long as the volume had gone without it, so that each of a row of
 * replacements that come to nothing gets twice the time of the one before. What can't be done within replicaTimeout would be
 * begun anew for ever.
 */
function timeToFillMs({ status, replicaTimeoutMs }: Facts, madeMs: number): number {
  const redundant = status.conditions?.find(({ type }) => type === 'Redundant');
  const lackedMs = redundant?.status === 'False' ? madeMs - Date.parse(redundant.lastTransitionTime) : 0;
  return Math.max(replicaTimeoutMs, Math.min(lackedMs, FILL_FACTOR * replicaTimeoutMs));
}

/**
 * Since when the copy to a replica stands still, or 0. It is a member of the array: it was there until then, and a copy of
 * hours isn't thrown away for a hiccup of the network.
 */
function stalledSinceMs({ leg }: Replica): number {
  return leg?.state === 'Stalled' ? Date.parse(leg.since ?? '') || 0 : 0;
}

/**
 * Given an attached volume, when a member has not been in sync for `replicaTimeout` and no data is being copied to it,
 * then it is marked as leaving and a new member is recorded, placed by the same constraints with the members that stay;
 * one write does both. The node of the failed replica is not chosen again. One whose logical volume is gone (its disk was
 * replaced, say) does not come back: it is not waited for, and its node is as good as any other.
 *
 * Only a client copies data, so a detached volume heals when it is attached next, and nothing is replaced while the
 * client itself is not heard of: what it says about its legs is old.
 */
export const heal: Rule = (facts): Decision => {
  const { session, status } = facts;
  // Without a device there is nothing to copy from: the client connects, or has lost every leg.
  if (session.kind !== 'attached' || facts.connectedSinceMs === undefined || (status.inSync ?? []).length === 0) {
    return nothing;
  }
  const absent = absences(facts).filter(({ syncing }) => !syncing);
  if (absent.length === 0) {
    return nothing;
  }
  if (facts.world.volume.spec.healing.paused) {
    return { notes: [note('Paused', 'healing is paused (spec.healing.paused)', true)] };
  }
  const due = absent.filter(({ dueMs }) => dueMs <= facts.nowMs);
  const later = absent.filter(({ dueMs }) => dueMs > facts.nowMs).map(({ dueMs }) => dueMs - facts.nowMs);
  if (due.length === 0) {
    return { lookAgainMs: Math.min(...later) };
  }
  if (!(facts.world.clients.get(session.node)?.alive ?? false)) {
    const message = `healing waits: ${session.node}, which would copy the data, does not renew its lease`;
    return { notes: [note('ClientAway', message, true)] };
  }
  return replace(facts, due, later);
};

function replace(facts: Facts, due: readonly Absence[], later: readonly number[]): Decision {
  const failed = due.map(({ replica }) => replica);
  const keep = facts.members.filter((replica) => !failed.includes(replica));
  const placed = placeReplicas(facts, { count: failed.length, keep, exclude: exclusions(facts, failed), copies: true });
  const why = due.map(({ replica, sinceMs }) => `${named(replica)} away since ${atTime(sinceMs)}`).join(', ');
  if (!placed.ok) {
    const message = `${why} can't be replaced: ${placed.message}`;
    return {
      notes: [note('NoPlace', message, true)],
      lookAgainMs: Math.min(facts.settings.retryMs, ...later),
    };
  }
  const where = placed.records.map(({ name, storageNode }) => `${name} on ${storageNode}`).join(', ');
  return {
    record: {
      kind: 'replace',
      replicas: [...withLeaving(facts, failed), ...placed.records],
      nextReplica: placed.nextReplica,
      leaving: failed.map(({ name }) => name),
      event: { type: 'Warning', reason: 'Healing', message: `${why}; replaced by ${where}` },
    },
  };
}

/** The record in its own order, with the failed replicas marked as leaving; new ones are put behind. */
export function withLeaving(facts: Facts, failed: readonly Replica[]): readonly ReplicaRecord[] {
  const names = failed.map(({ name }) => name);
  return (facts.status.replicas ?? []).map((record) =>
    names.includes(record.name) ? { ...record, role: 'Leaving' } : record,
  );
}

/** The nodes of the failed replicas and of those that still leave, but for those that work and have lost just the data. */
export function exclusions(facts: Facts, failed: readonly Replica[]) {
  const nodes = new Set(
    [...failed, ...facts.leaving].filter(({ isGone }) => !isGone).map(({ record }) => record.storageNode),
  );
  return [...nodes].map((node) => ({ node, reason: 'held the failed replica' }));
}

function note(reason: string, message: string, blocked: boolean): Note {
  return { topic: 'heal', reason, message, blocked };
}
