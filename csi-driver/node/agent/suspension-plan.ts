import { hasErred, type MdArray } from '../../../lib/host/md.ts';
import type { Action, ConnectionFacts } from './facts.ts';
import { isLive, STALLED_MS } from './join.ts';

/** When the writes of a volume are held for a snapshot, and when they go on. Part of the plan: pure. */

/** Writes are held, or are about to be. */
export function isHolding({ suspension }: Pick<ConnectionFacts, 'suspension'>): boolean {
  const state = suspension?.current?.state;
  return state === 'Suspending' || state === 'Suspended';
}

/** Something is still to be done about a standstill: the volume is to be looked at often. */
export function isSuspensionPending({ suspension }: Pick<ConnectionFacts, 'suspension'>): boolean {
  const { wanted, current } = suspension ?? {};
  if (current && current.state !== 'Released' && current.state !== 'Broken') return true;
  return wanted !== undefined && current?.request !== wanted.request;
}

/**
 * Given a request, when the array is at peace, then it is got ready, and held once that is asked for; each request is answered
 * once. Given a standstill, when its token is released, the request is gone or the volume is given back, then it ends.
 */
export function planSuspension(facts: ConnectionFacts, array: MdArray): Action[] {
  const { suspension } = facts;
  if (suspension === undefined || suspension.busy) return [];
  const { current } = suspension;
  const wanted = facts.releasing ? undefined : suspension.wanted;
  if (current?.state === 'Suspended') {
    const { request } = current;
    if (wanted?.request !== request) return [{ kind: 'Resume', request, released: false }];
    return wanted.release === current.token ? [{ kind: 'Resume', request, released: true }] : [];
  }
  // It could not be begun: nothing is held, and nobody is to wait for it.
  if (current?.state === 'Suspending') return [{ kind: 'Resume', request: current.request, released: false }];
  if (wanted === undefined) return [];
  const { request } = wanted;
  const known = current?.request === request ? current.state : undefined;
  if (known === 'Released' || known === 'Broken') return [];
  // There was one, and this process knows nothing of it.
  if (wanted.release !== '') return [{ kind: 'Resume', request, released: false }];
  if (!isAtPeace(facts, array, suspension.resynced)) return [];
  if (known === undefined || known === 'Preparing') return [{ kind: 'PrepareSuspension', request }];
  return known === 'Ready' && wanted.hold ? [{ kind: 'Suspend', request, limitMs: wanted.limitMs }] : [];
}

/** Every leg of the record works, all of them are equal but for writes under way, and md is not in the middle of something. */
function isAtPeace(facts: ConnectionFacts, array: MdArray, resynced: boolean): boolean {
  const recorded = facts.legs.filter((leg) => leg.recorded);
  return (
    facts.grant === 'Ours' &&
    facts.linked &&
    !facts.stopping &&
    facts.reshaping === undefined &&
    !facts.forgotten &&
    facts.unrecordableForMs === 0 &&
    ['clean', 'active', 'active-idle'].includes(array.state) &&
    // A copy to a leg that is not in sync yet changes nothing in the others.
    ['idle', 'recover'].includes(array.syncAction) &&
    resynced &&
    recorded.length > 0 &&
    facts.recordedElsewhere.length === 0 &&
    recorded.every(
      (leg) =>
        leg.member?.state.has('in_sync') === true &&
        !hasErred(leg.member) &&
        isLive(leg) &&
        !leg.pathFailed &&
        leg.quietMs < STALLED_MS,
    )
  );
}
