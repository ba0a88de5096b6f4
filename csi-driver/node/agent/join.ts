import { hasErred, type MdArray, type MdMember } from '../../../lib/host/md.ts';
import { LEG_HEADER_BYTES } from '../../../lib/api/names.ts';
import type { Action, ConnectionFacts, LegFacts } from './facts.ts';

/** How legs come (back) into a running array, and when they count. Part of the plan: pure. */

export const isLive = (leg: LegFacts): boolean => leg.controller?.state === 'live' && leg.namespace !== undefined;

/** In sync means proven: md says so, nothing is being copied, no write to it has failed, and the leg works. */
export function isProvenInSync(leg: LegFacts, array: MdArray): boolean {
  return (
    leg.desired &&
    leg.member?.state.has('in_sync') === true &&
    !hasErred(leg.member) &&
    leg.member.slot !== undefined &&
    array.syncAction === 'idle' &&
    isLive(leg) &&
    !leg.pathFailed
  );
}

/** md counts it as in sync, in a place of its own. */
export const isWhole = ({ state, slot }: MdMember): boolean => state.has('in_sync') && slot !== undefined;

/** Given an idle array with a free slot, when a leg has returned or is new, then it joins and is brought up to date. */
export function join(facts: ConnectionFacts, array: MdArray): Action[] {
  // One at a time. Above all, an array that is frozen for a join under way is not to be let go.
  if (facts.reshaping !== undefined) return [];
  // Each member of the volume has a place of its own. In that of one that is away md would take the array for complete, and
  // forget what the other lacks.
  if (array.raidDisks < facts.raidDisks) return [];
  if (!facts.legs.some((leg) => leg.recorded && leg.member)) return [];
  if (array.syncAction === 'frozen' || facts.legs.some(isHalfIn)) return resumeJoin(facts, array);
  // md takes a member in only after the I/O under way has ended: not while a leg holds some back, which may yet be dropped.
  if (facts.legs.some((leg) => leg.recorded && leg.member && !answers(leg))) return [];
  if (array.syncAction !== 'idle') return [];
  const slot = freeSlot(array);
  const leg = facts.legs.find(
    (leg) =>
      leg.desired &&
      !leg.recorded &&
      !leg.member &&
      !leg.busy &&
      leg.drained &&
      isLive(leg) &&
      leg.joinInMs <= 0 &&
      hasRoom(leg, array),
  );
  if (slot === undefined || leg === undefined) return [];
  return [{ kind: 'Join', nqn: leg.nqn, slot, sync: leg.bitmapCovers ? 'Bitmap' : 'Full' }];
}

/** A leg that missed a growth waits until its storage agent has made it larger, too. */
export function hasRoom({ namespace }: LegFacts, { sizeBytes }: Pick<MdArray, 'sizeBytes'>): boolean {
  return (namespace?.sizeBytes ?? 0) >= LEG_HEADER_BYTES + sizeBytes;
}

function freeSlot({ members, raidDisks }: MdArray): number | undefined {
  const taken = new Set(members.map(({ slot }) => slot));
  return Array.from({ length: raidDisks }, (_, index) => index).find((index) => !taken.has(index));
}

/** A leg that has not ended any I/O for this long holds it back, and is shown as stalled. */
export const STALLED_MS = 1000;

export const answers = (leg: LegFacts): boolean => isLive(leg) && !leg.pathFailed && leg.quietMs < STALLED_MS;

/**
 * md knows its device and not its place: what an agent that was killed had asked for was done after its successor had found nothing
 * of it, and had let the array go.
 */
const isHalfIn = ({ recorded, member }: LegFacts): boolean =>
  !recorded && member !== undefined && member.slot === undefined && !member.state.has('faulty');

/**
 * Given an array that is frozen, when an agent was killed in the middle of a join, then the join is done again. Never let go
 * with a member half in it: md would count that one as in sync without a copy (ADR 7). One that can't be reached is dropped
 * in its time, and then nobody is half in it.
 */
function resumeJoin(facts: ConnectionFacts, array: MdArray): Action[] {
  const { legs } = facts;
  const isOfRecord = ({ device }: MdMember): boolean =>
    legs.some((leg) => leg.recorded && leg.member?.device === device);
  if (array.members.every((member) => isWhole(member) && isOfRecord(member))) return [{ kind: 'Unfreeze' }];
  const half = legs.find((leg) => leg.desired && !leg.recorded && leg.member && isLive(leg) && !leg.busy);
  const slot = half?.member?.slot ?? freeSlot(array);
  if (half === undefined || slot === undefined) return [];
  return [{ kind: 'Join', nqn: half.nqn, slot, sync: half.bitmapCovers ? 'Bitmap' : 'Full' }];
}
