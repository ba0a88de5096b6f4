import { hasErred, isRunning, type MdArray, type MdMember } from '../../../lib/host/md.ts';
import type { Action, ConnectionFacts, LegFacts, Plan } from './facts.ts';
import { growth, growthWait, isToRescan, isToWiden, places } from './grow.ts';
import { isLive, isProvenInSync, isWhole, join } from './join.ts';
import { isHolding, isSuspensionPending, planSuspension } from './suspension-plan.ts';

/** A leg counts as alive for a decision about another one only when it has worked for this long without a pause. */
const STEADY_MS = 1000;
/**
 * Where that other one is just silent: a client that had lost all its legs gets them back one after the other, each at its own next
 * try (nvme-tcp: a try is given up after 3 s, and the next one follows a second or two later).
 */
const RETURN_MS = 5000;

/**
 * What to do next for one volume on this client node. Pure: the same facts give the same plan. The laws it keeps are
 * those of docs/explanation/data-safety: start only from the record, record before acknowledge, in sync means proven.
 */
export function plan(facts: ConnectionFacts): Plan {
  if (facts.grant === 'Lost') return planFence(facts);
  if (facts.releasing) return planRelease(facts);
  if (facts.grant === 'NotYet')
    return { actions: [], phase: 'Connecting', message: 'waiting for the attachment record' };
  return isRunning(facts.array) ? planRunning(facts, facts.array) : planStart(facts);
}

/** Given our epoch is gone, when anything of the volume is still here, then its users and after them its legs go. */
function planFence(facts: ConnectionFacts): Plan {
  const left = facts.array !== undefined || facts.legs.some((leg) => leg.controller || leg.valve);
  return {
    actions: left ? [{ kind: 'Fence' }] : facts.releasing ? [{ kind: 'FinishRelease' }] : [],
    phase: 'Fenced',
    message: 'the volume was handed to another attachment; this node no longer writes to it',
  };
}

/** What lets I/O that waits in the kernel come to an end. */
const KEEPS_GOING = new Set<Action['kind']>([
  'Drop',
  'MarkActive',
  'RecordJoined',
  'RecordAnew',
  'Connect',
  'SwapValve',
  'ReinstatePath',
  'Fence',
  // They open the valve of a leg that was dropped by a process which died before it had come to that.
  'AskDrain',
  'RemoveMember',
  'Resume',
]);

/** Given the connection is being deleted, when nobody has the device mounted, then stop in order and say so. */
function planRelease(facts: ConnectionFacts): Plan {
  const phase = 'Releasing';
  // md takes no other order meanwhile; what makes it wait has an end of its own.
  if (facts.stopping) return { actions: [], phase, message: 'stopping the array' };
  // Its users, and md itself when it stops, may wait for legs.
  const running = isRunning(facts.array) ? planRunning(facts, facts.array).actions : [];
  const kept = running.filter(({ kind }) => KEEPS_GOING.has(kind));
  if (facts.mountPoints.length > 0) {
    return { actions: kept, phase, message: `waiting for the unmount of ${facts.mountPoints.join(', ')}` };
  }
  if (facts.reshaping !== undefined) return { actions: kept, phase, message: 'waiting for md to add or remove a leg' };
  if (isHolding(facts)) return { actions: kept, phase, message: 'ending a standstill for a snapshot' };
  // What was decided on the array as it is comes first: it is not stopped in order while a leg is to go.
  if (kept.some(({ kind }) => kind === 'Drop' || kind === 'Fence')) {
    return { actions: kept, phase, message: 'bringing I/O to an end, to stop the array' };
  }
  if (facts.array !== undefined) {
    return { actions: [...kept, { kind: 'Stop' }], phase, message: 'stopping the array' };
  }
  const connected = facts.legs.filter((leg) => leg.controller || leg.valve);
  if (connected.length > 0) {
    return {
      actions: connected.filter((leg) => !leg.busy).map((leg) => ({ kind: 'Disconnect', nqn: leg.nqn })),
      phase,
      message: 'disconnecting the legs',
    };
  }
  return { actions: [{ kind: 'FinishRelease' }], phase, message: 'released' };
}

/** Given no running array, when in-sync legs are connected, then start from them; wait a little for the others. */
function planStart(facts: ConnectionFacts): Plan {
  const recorded = facts.legs.filter((leg) => leg.desired && leg.recorded);
  const ready = recorded.filter((leg) => isLive(leg) && leg.drained && leg.joinInMs <= 0);
  const missing = recorded.filter((leg) => !ready.includes(leg));
  const rescans = facts.legs.filter((leg) => leg.desired && isToRescan(leg, facts)).map(rescan);
  const connects = [
    ...facts.legs.filter((leg) => leg.desired && leg.drained && !leg.controller && !leg.busy).map(connect),
    ...rescans,
  ];
  // What an earlier start in this epoch has sent is to be known before anything is written anew.
  if (facts.reshaping !== undefined || facts.stopping) {
    return { actions: connects, phase: 'Connecting', message: 'waiting for what an earlier array was asked for' };
  }
  if (!facts.told) return { actions: connects, phase: 'Connecting', message: 'tells the API server that it starts' };
  const complete = recorded.length > 0 && missing.length === 0;
  if (complete || (ready.length > 0 && facts.startingForMs >= facts.legTimeoutMs)) {
    return {
      actions: [
        { kind: 'Assemble', nqns: ready.map((leg) => leg.nqn), resyncStart: facts.clean ? 'none' : '0' },
        ...connects,
      ],
      phase: 'Connecting',
      message: `starting the array from ${ready.map((leg) => leg.replica).join(', ')}`,
    };
  }
  if (recorded.length === 0) {
    const names = facts.recordedElsewhere.join(', ') || 'any replica';
    return {
      actions: connects,
      phase: 'Waiting',
      message: `no in-sync leg is offered to this node; waiting for ${names}`,
    };
  }
  const names = missing.map(missingLeg).join(', ');
  const late = facts.startingForMs >= facts.legTimeoutMs;
  return { actions: connects, phase: late ? 'Waiting' : 'Connecting', message: `waiting for in-sync leg ${names}` };
}

const missingLeg = (leg: LegFacts): string =>
  leg.drained
    ? `${leg.replica} at ${leg.address}:${leg.port}`
    : `${leg.replica}, whose storage node has not yet proved that I/O of this node's former connections has ended`;

/** A leg whose storage node was booted again: its replica is offered under another NQN, and this one exists nowhere. */
function isOutdated(leg: LegFacts, { legs }: ConnectionFacts): boolean {
  return (
    !leg.desired &&
    !isLive(leg) &&
    legs.some((other) => other.desired && other.replica === leg.replica && other.nqn !== leg.nqn)
  );
}

/**
 * Given a running array, when none of its in-sync legs will ever take a write again, then it can never go on. Their storage nodes
 * were booted again, and what these had not flushed is gone; or md holds a write that failed on the last of them for ever. It
 * goes as if this machine had crashed (users first), and starts anew from the record. Once begun this is carried to its end: legs
 * that fail on the way are no reason to keep what is left.
 */
function planLostArray(facts: ConnectionFacts, array: MdArray): Plan | undefined {
  const held = facts.legs.flatMap((leg) => (leg.recorded && leg.member ? [{ leg, member: leg.member }] : []));
  const outdated = held.filter(({ leg }) => isOutdated(leg, facts));
  const holds = ({ state }: MdMember): boolean => state.has('faulty') || state.has('blocked');
  const works = held.some(
    (each) => !outdated.includes(each) && !(outdated.length > 0 ? hasErred(each.member) : holds(each.member)),
  );
  const isProven = facts.legs.some((leg) => !leg.recorded && isProvenInSync(leg, array));
  if (held.length === 0 || works || isProven) return undefined;
  const names = (outdated.length > 0 ? outdated : held).map(({ leg }) => leg.replica).join(', ');
  const why =
    outdated.length > 0
      ? `every in-sync storage node was booted again (${names})`
      : `a write failed on every in-sync leg (${names})`;
  const message = `${why}: the array starts anew, its users are ended`;
  return { actions: [{ kind: 'Fence' }], phase: 'Waiting', message };
}

function planRunning(facts: ConnectionFacts, array: MdArray): Plan {
  const lost = planLostArray(facts, array);
  if (lost) return lost;
  const actions: Action[] = facts.linked ? [] : [{ kind: 'Link' }];
  if (facts.forgotten) actions.push({ kind: 'RecordAnew' });
  const failing = facts.legs.filter((leg) => isFailing(leg, facts));
  const droppable = failing.filter((leg) => !leg.recorded || survivors(facts, [leg]).length > 0);
  // Also those that can't be dropped: the array waits for them. First of all, as a drop writes to the legs that stay.
  for (const leg of facts.legs) if (!droppable.includes(leg)) actions.push(...mend(leg, facts));
  // Those that hold I/O back come first, and of them the recorded ones: the others can be let go only when every leg of the
  // record carries it. The next look decides with the record as it then stands.
  const held = droppable.filter((leg) => !isReleased(leg));
  const first = held.find((leg) => leg.recorded) ?? held[0] ?? droppable[0];
  // What went without a record is told first: the legs know of it, and take no record that does not.
  const owed = droppable.find((leg) => leg.recorded && isReleased(leg));
  if (owed && first && owed !== first && !first.recorded) actions.push(dropWith(owed, droppable, facts));
  if (first) actions.push(dropWith(first, droppable, facts));

  const blocked = array.members.some((member) => member.state.has('blocked'));
  if (array.state === 'write-pending' && !blocked && failing.length === 0) actions.push({ kind: 'MarkActive' });

  const joined = facts.legs.find((leg) => !leg.recorded && isProvenInSync(leg, array));
  if (joined) actions.push({ kind: 'RecordJoined', nqn: joined.nqn });
  if (facts.settling) actions.push({ kind: 'SettleSize' });
  if (failing.length === 0 && !isHolding(facts)) {
    const reshaped = [growth, places, join].map((rule) => rule(facts, array)).find((found) => found.length > 0);
    actions.push(...(reshaped ?? []));
  }
  actions.push(...planSuspension(facts, array));

  const stuck = failing.filter((leg) => !droppable.includes(leg));
  if (stuck.length > 0) {
    const names = stuck.map((leg) => leg.replica).join(', ');
    return { actions, phase: 'Waiting', message: `I/O waits: no in-sync leg answers (${names}); nothing is lost` };
  }
  const wait = growthWait(facts, array);
  const message = [connectedMessage(facts, failing), ...(wait === undefined ? [] : [wait])].join('; ');
  return { actions, phase: 'Connected', message };
}

/**
 * Given several legs that are to go, when another in-sync one works, then they go with one record. One by one, the record of the
 * first would have to be written to those that are to go next, which do not answer.
 */
function dropWith(first: LegFacts, droppable: readonly LegFacts[], facts: ConnectionFacts): Action {
  const isToRecord = (leg: LegFacts): boolean => leg.recorded && !mayGoUnrecorded(leg, facts);
  const record = isToRecord(first);
  const others = droppable.filter((leg) => leg !== first && leg.member && record && isToRecord(leg));
  const together = [first, ...others];
  const legs = survivors(facts, together).length > 0 ? together : [first];
  return { kind: 'Drop', legs: legs.map((leg) => ({ nqn: leg.nqn, reason: whyFailing(leg, facts) })), record };
}

function connectedMessage(facts: ConnectionFacts, failing: readonly LegFacts[]): string {
  const names = (legs: readonly LegFacts[]): string => legs.map((leg) => leg.replica).join(', ');
  const unrecorded = failing.filter((leg) => leg.recorded && isReleased(leg));
  if (unrecorded.length > 0) {
    return `I/O goes on without ${names(unrecorded)}, and the API server can't be told: what is written now is lost should this node die too`;
  }
  const away = facts.legs.filter((leg) => leg.desired && !leg.recorded);
  const undrained = away.filter((leg) => !leg.drained && !leg.member);
  const slow = slowLegs(facts);
  return [
    away.length === 0 ? 'all legs are in sync' : `not in sync: ${names(away)}`,
    ...(undrained.length === 0
      ? []
      : [`${names(undrained)} may not join until earlier I/O is proved to have ended on the storage node`]),
    ...(slow.length === 0 ? [] : [`slow: ${names(slow)}`]),
  ].join('; ');
}

/** md has let go of it already: no I/O waits for it any more. */
export const isReleased = (leg: LegFacts): boolean =>
  leg.member === undefined || (leg.member.state.has('faulty') && !leg.member.state.has('blocked'));

/** The StorageClass chose availability, and the API server has been away for as long as it says. */
function mayGoUnrecorded(leg: LegFacts, { continueAfterMs, unrecordableForMs }: ConnectionFacts): boolean {
  return continueAfterMs !== undefined && unrecordableForMs >= Math.max(1, continueAfterMs) && !isReleased(leg);
}

/** A leg is slow when its I/Os take so much longer than the fastest leg's; and at least this long. */
const SLOW_FACTOR = 10;
const SLOW_MS = 100;

/** In-sync legs that answer, but far later than another one: every write waits for them. */
export function slowLegs({ legs }: Pick<ConnectionFacts, 'legs'>): LegFacts[] {
  const members = legs.filter((leg) => leg.member?.state.has('in_sync') === true);
  const fastestMs = Math.min(...members.map((leg) => leg.latencyMs ?? Infinity));
  return members.filter(({ latencyMs = 0 }) => latencyMs >= Math.max(SLOW_MS, SLOW_FACTOR * fastestMs));
}

/**
 * Given a member of the array, when md has failed it, or its path has been away for legTimeout, or the API no longer
 * lists it, then it is to go. A leg that lives but ends no I/O goes only where the StorageClass says so.
 */
function isFailing(leg: LegFacts, facts: ConnectionFacts): boolean {
  if (!leg.member) return leg.recorded;
  // md is taking it in, and has not yet sent it anything. From when it has its place on, md waits for it like for any other.
  const { slot, state } = leg.member;
  if (leg.nqn === facts.reshaping && !leg.recorded && slot === undefined && !state.has('faulty')) return false;
  if (hasErred(leg.member)) return leg.recorded || !isReleased(leg);
  if (!leg.desired) return facts.recordedElsewhere.length === 0;
  // The record is of another time: an API server that was restored says so of a leg that lacks writes since.
  if (leg.recorded && !isWhole(leg.member)) return true;
  if (leg.pathErred) return true;
  if (isLive(leg) && !leg.pathFailed) {
    return facts.dropSlowAfterMs !== undefined && leg.quietMs >= Math.max(facts.dropSlowAfterMs, facts.legTimeoutMs);
  }
  return leg.quietMs >= facts.legTimeoutMs;
}

function whyFailing(leg: LegFacts, facts: ConnectionFacts): string {
  if (!leg.member) return 'it is no member of the running array';
  if (hasErred(leg.member) || leg.pathErred) return 'the leg answered with an error';
  if (!leg.desired) return 'it no longer belongs to the volume';
  if (leg.recorded && !isWhole(leg.member)) return 'the record calls it in sync, and md does not';
  if (isLive(leg) && !leg.pathFailed) return `its connection lives, but no I/O ended for ${Math.round(leg.quietMs)} ms`;
  return `no answer for ${Math.round(leg.quietMs)} ms (legTimeout ${facts.legTimeoutMs} ms)`;
}

/** The other in-sync members that work: one of them must be left when a leg is dropped. */
function survivors(facts: ConnectionFacts, dropped: readonly LegFacts[]): LegFacts[] {
  const isSilent = dropped.some((leg) => leg.desired && !leg.pathErred && !(leg.member && hasErred(leg.member)));
  const steadyMs = isSilent ? Math.min(RETURN_MS, facts.legTimeoutMs) : Math.min(STEADY_MS, facts.legTimeoutMs / 2);
  return facts.legs.filter(
    (leg) =>
      !dropped.includes(leg) &&
      leg.recorded &&
      leg.member?.state.has('in_sync') === true &&
      !hasErred(leg.member) &&
      isLive(leg) &&
      !leg.pathFailed &&
      leg.goodForMs >= steadyMs,
  );
}

/** Keeps a leg that isn't failing connected, and clears away what a dropped or retired one left. */
function mend(leg: LegFacts, facts: ConnectionFacts): Action[] {
  const { told, reshaping } = facts;
  if (leg.busy) return [];
  if (leg.member?.state.has('faulty')) {
    if (leg.recorded || leg.member.state.has('blocked')) return [];
    // Once it is removed nothing here tells that it was ever sent anything.
    if (leg.desired && !leg.drainAsked) return [{ kind: 'AskDrain', nqn: leg.nqn }];
    const mayGo = (!leg.desired || told) && reshaping === undefined;
    return mayGo ? [{ kind: 'RemoveMember', nqn: leg.nqn }] : [];
  }
  if (!leg.desired) return leg.member || !(leg.controller || leg.valve) ? [] : [{ kind: 'Disconnect', nqn: leg.nqn }];
  // The drain cuts every controller: one that is made before it would be for nothing.
  if (!leg.controller) return leg.drained || leg.member ? [connect(leg)] : [];
  const rescans = isToRescan(leg, facts) ? [rescan(leg)] : [];
  if (!leg.valve || !isLive(leg)) return rescans;
  const swapped = leg.namespace !== undefined && !leg.valve.below.includes(leg.namespace.name);
  // One that an agent before this one was killed in is done again, also when nothing calls for it any more.
  if (swapped || leg.valve.suspended || isToWiden(leg, facts)) return [...rescans, { kind: 'SwapValve', nqn: leg.nqn }];
  const isReady = leg.pathFailed && leg.reinstateInMs <= 0;
  return isReady ? [...rescans, { kind: 'ReinstatePath', nqn: leg.nqn }] : rescans;
}

const rescan = (leg: LegFacts): Action => ({ kind: 'Rescan', nqn: leg.nqn });
const connect = (leg: LegFacts): Action => ({ kind: 'Connect', nqn: leg.nqn });

/** Every leg works, and there is nothing to do. */
export function isCalm(facts: ConnectionFacts, planned: Plan): boolean {
  return (
    planned.phase === 'Connected' &&
    planned.actions.length === 0 &&
    !isSuspensionPending(facts) &&
    (facts.array?.sizeBytes ?? 0) >= facts.sizeBytes &&
    facts.array?.raidDisks === facts.raidDisks &&
    facts.array?.syncAction === 'idle' &&
    facts.legs.every((leg) => leg.member !== undefined && isLive(leg) && leg.quietMs === 0)
  );
}

/** When to look again: often while something is wrong or moves, seldom while all is calm. */
export function lookAgainMs(legTimeoutMs: number, calm: boolean): number {
  return Math.max(50, calm ? Math.min(100, legTimeoutMs / 6) : Math.min(500, legTimeoutMs / 24));
}
