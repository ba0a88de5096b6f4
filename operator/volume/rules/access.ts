import type { Action } from '../actions.ts';
import type { Facts, Replica } from '../facts.ts';
import { activeObject, named } from '../facts.ts';

/*
 * The fence (law 3). To hand the volume from one host to another, every replica's object gets the new host and a higher
 * epoch; each storage agent drops the old host and says so with `fencedEpoch`.
 *
 * One confirmed in-sync replica is enough for safety: the old client can acknowledge a write only with every in-sync leg
 * or after recording the loss of one, and its record is refused once the epoch is written. The others that are alive
 * are waited for all the same, or the new client would have to leave them out.
 */

/**
 * The epoch under which `host` gets the replicas: a new one, unless an earlier attempt for this very host has begun and
 * not been recorded yet.
 */
export function targetEpoch(facts: Facts, host: string): number {
  const specs = facts.recorded.flatMap((replica) => activeObject(replica)?.spec ?? []);
  const highest = Math.max(facts.attachment.epoch, ...specs.map(({ epoch }) => epoch));
  const holders = specs.filter(({ epoch }) => epoch === highest);
  const begun = highest > facts.attachment.epoch && holders.every(({ hostNqn }) => hostNqn === host);
  return begun ? highest : highest + 1;
}

/** What has to be written so that every replica admits `host` alone, under `epoch`. */
export function accessActions(facts: Facts, host: string, epoch: number): readonly Action[] {
  return facts.recorded.flatMap((replica): readonly Action[] => {
    const object = activeObject(replica);
    return object === undefined || object.spec.epoch >= epoch
      ? []
      : [{ kind: 'setAccess', name: replica.name, uid: object.metadata.uid ?? '', hostNqn: host, epoch }];
  });
}

export interface FenceState {
  /** In-sync replicas that no earlier host can reach any more. */
  readonly confirmed: readonly Replica[];
  /** In-sync replicas whose storage agent is alive and has not confirmed yet. */
  readonly pending: readonly Replica[];
  /** In-sync replicas that can't be asked. */
  readonly unreachable: readonly Replica[];
  /** Every in-sync replica that can be asked has confirmed, and at least one has. */
  readonly done: boolean;
}

/** How far the fence of `epoch` is. */
export function fenceState(facts: Facts, epoch: number): FenceState {
  const confirmed: Replica[] = [];
  const pending: Replica[] = [];
  const unreachable: Replica[] = [];
  for (const replica of facts.recorded.filter(({ inSync }) => inSync)) {
    const object = activeObject(replica);
    if (object !== undefined && hasConfirmed(object, epoch)) confirmed.push(replica);
    else if (object !== undefined && replica.node.alive && object.status?.phase !== 'Failed') pending.push(replica);
    else unreachable.push(replica);
  }
  return { confirmed, pending, unreachable, done: pending.length === 0 && confirmed.length > 0 };
}

/**
 * Replicas that have held data, are not in sync by the record, and can be asked: their disks may know that the record is
 * an old one. They are waited for as long as they are at work and report no trouble of their own.
 */
export function silentWitnesses(facts: Facts, epoch: number): readonly Replica[] {
  return facts.recorded.filter((replica) => {
    const object = activeObject(replica);
    if (replica.inSync || !replica.hasHistory || !replica.node.alive || object === undefined) return false;
    const { phase, message = '' } = object.status ?? {};
    return phase === 'Ready' && !message.startsWith('HF') && !hasConfirmed(object, epoch);
  });
}

/** Whether the replica's storage agent has proved that no host of an epoch before `epoch` is left. */
export function hasConfirmed(object: NonNullable<Replica['object']>, epoch: number): boolean {
  return object.spec.epoch === epoch && object.status?.fencedEpoch === epoch;
}

/** What a fence waits for, as a phrase, and whether only something outside can help. */
export function fenceWait(facts: Facts, state: FenceState): { readonly message: string; readonly blocked: boolean } {
  if (state.pending.length > 0) {
    return { message: `waits until ${list(state.pending)} has fenced earlier hosts`, blocked: false };
  }
  const many = state.unreachable.length > 1;
  return {
    message: `waits for ${list(state.unreachable, ' or ')}: no in-sync replica can be reached, as ${
      many ? 'those storage nodes do' : 'that storage node does'
    } not answer${alternative(facts)}`,
    blocked: true,
  };
}

/** What a person could decide for instead of waiting. */
function alternative(facts: Facts): string {
  const stale = facts.recorded.filter(
    (replica) =>
      !replica.inSync && replica.hasHistory && replica.node.alive && activeObject(replica)?.status?.phase === 'Ready',
  );
  if (stale.length === 0) return '';
  const since = stale.map((replica) => {
    const at = facts.status.outOfSync?.[replica.name]?.at;
    return `${named(replica)} answers, but lacks what was written ${at === undefined ? 'meanwhile' : `since ${at}`}`;
  });
  return `; ${since.join('; ')} (holdfast volume force-start explains)`;
}

function list(replicas: readonly Replica[], separator = ' and '): string {
  return replicas.map(named).join(separator);
}
