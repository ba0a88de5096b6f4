import type { ReplicatedVolume } from '../../../lib/api/index.ts';
import { arrayName } from '../../../lib/api/names.ts';
import { sleep, type Clock } from '../../../lib/clock.ts';
import { hasErred } from '../../../lib/host/md.ts';
import { isRecordCurrent } from './bitmap-claims.ts';
import { factsOf, isMember, record, type ExecuteContext } from './context.ts';
import type { Action, DroppedLeg, LegFacts } from './facts.ts';
import { stampWithout, stayingLegs, writeLegRecords } from './leg-records.ts';
import { GROWING, inBackground } from './legs.ts';

type Dropped = DroppedLeg & { readonly leg: LegFacts };

/**
 * Drops legs: record first, then fail the members, open the valves so that their I/O ends, and let md go on. What is slow
 * (the controller of a dead node) happens afterwards, with the writes already flowing.
 */
export async function drop(action: Extract<Action, { kind: 'Drop' }>, context: ExecuteContext): Promise<void> {
  const { connection, memory, ports } = context;
  const { clock } = ports;
  const name = arrayName(connection.spec.volumeUid);
  const dropped = action.legs.map((each) => ({ ...each, leg: factsOf(each.nqn, context) }));
  const detectedMs = clock.now();
  const volume = action.record ? await recordLoss(dropped, context) : context.volume;
  const recordedAt = new Date(clock.now()).toISOString();
  const members = dropped.filter(({ leg }) => leg.member !== undefined);
  if (members.length > 0) {
    const legs = dropped.map(({ leg }) => leg);
    // Before md goes on without them, those that stay know that it does; an older record is known for one from then on.
    const isUnrecorded = !action.record && legs.some((leg) => leg.recorded);
    await writeLegRecords(context, stampWithout(legs, volume, isUnrecorded, context), stayingLegs(legs, context));
    // md that is about to hold writes (before 6.12), or to grow (raid1.c, freeze_array under reconfig_mutex), takes no order before
    // the I/O of all of these has ended. It may end now: the record knows.
    if (memory.suspension.busy || memory.reshaping === GROWING) await endIo(legs, context);
    for (const { leg } of members) await letGo(name, leg, legs, context);
    await goOn(name, context);
    // Last of all: what waited for these legs goes out to the others now, and what fails there is held, as md was let go on before.
    for (const { leg } of members) await openValve(leg, context);
  }
  const releasedAt = new Date(clock.now()).toISOString();
  for (const each of dropped) {
    if (action.record && each.leg.member) {
      const detectedAt = new Date(detectedMs - each.leg.quietMs).toISOString();
      memory.lastDrop = { replica: each.leg.replica, detectedAt, recordedAt, releasedAt };
    }
    await finish(each, action.record, context);
  }
}

/**
 * Lets md end what it holds. It ends everything at once: also writes that wait because another member has failed since this
 * was decided. That one is to be recorded first, so the next look decides again.
 */
export async function goOn(array: string, { ports: { md } }: ExecuteContext): Promise<void> {
  const isHeld = md.readArray(array)?.members.some(({ state }) => state.has('blocked')) ?? false;
  if (!isHeld) await md.activate(array);
}

/**
 * Whether the running array's bitmap will know all that the leg lacks: it was in sync until now. Of one that failed before this
 * process saw it work only the record says so, and that of an API server that was restored from a backup is of another time.
 */
async function isCovered({ member, nqn }: LegFacts, context: ExecuteContext): Promise<boolean> {
  if (member === undefined) return false;
  if (member.state.has('in_sync') || context.memory.leg(nqn).wasInSync) return true;
  return member.state.has('faulty') && (await isRecordCurrent(context).catch(() => false));
}

async function recordLoss(dropped: readonly Dropped[], context: ExecuteContext): Promise<ReplicatedVolume> {
  const { connection, ports } = context;
  const at = new Date(ports.clock.now()).toISOString();
  const known = new Set<LegFacts>();
  for (const { leg } of dropped) if (await isCovered(leg, context)) known.add(leg);
  return await record(context, ({ inSync = [] }) => {
    const lost = dropped.filter(({ leg }) => inSync.includes(leg.replica));
    if (lost.length === 0) return undefined;
    const names = lost.map(({ leg }) => leg.replica);
    const entries = lost.map(({ leg, reason }) => {
      const covered = known.has(leg) ? { bootId: ports.bootId, nqn: leg.nqn } : {};
      return [leg.replica, { epoch: connection.spec.epoch, at, reason, ...covered }] as const;
    });
    return { inSync: inSync.filter((name) => !names.includes(name)), outOfSync: Object.fromEntries(entries) };
  });
}

/** md answers at once, unless it holds its lock until I/O has ended. */
const LOCKED_MS = 500;

async function isDone(asked: Promise<void>, clock: Clock): Promise<boolean> {
  const waiting = new AbortController();
  try {
    return await Promise.race([asked.then(() => true), sleep(clock, LOCKED_MS, waiting.signal).then(() => false)]);
  } finally {
    waiting.abort();
  }
}

/** What waits in the valve of a leg that is given up comes to its end. */
export async function openValve(leg: LegFacts, { ports: { valves } }: ExecuteContext): Promise<void> {
  const { valve, controller, namespace, pathFailed } = leg;
  const path = controller?.state === 'live' && !pathFailed ? namespace?.devNo : undefined;
  if (valve) await valves.open(valve.name, path);
}

/** What waits for these legs comes to its end, and for those of an earlier drop that broke off after its record. */
async function endIo(dropped: readonly LegFacts[], context: ExecuteContext): Promise<void> {
  const isLeft = (leg: LegFacts): boolean => !leg.recorded && leg.member?.state.has('in_sync') === true;
  const others = context.facts.legs.filter((leg) => !dropped.includes(leg) && isLeft(leg));
  for (const leg of [...dropped, ...others]) await openValve(leg, context);
}

/** md fails the member and holds nothing for it any more. */
async function letGo(
  array: string,
  leg: LegFacts,
  dropped: readonly LegFacts[],
  context: ExecuteContext,
): Promise<void> {
  const { member } = leg;
  const { md, clock } = context.ports;
  const { memory } = context;
  if (!member) return;
  memory.leg(leg.nqn).letGo = true;
  const failing = member.state.has('faulty') ? Promise.resolve() : md.failMember(array, member.device);
  failing.catch(() => undefined);
  // A process before this one may have begun that.
  if (!(await isDone(failing, clock))) await endIo(dropped, context);
  await failing;
  await md.unblockMember(array, member.device);
}

async function finish({ leg, reason }: Dropped, recorded: boolean, context: ExecuteContext): Promise<void> {
  const { memory, log, ports } = context;
  const trace = memory.leg(leg.nqn);
  askDrain(leg.nqn, context);
  trace.sync = undefined;
  const erred = leg.pathErred || (leg.member !== undefined && hasErred(leg.member));
  if (erred) trace.holdOff(ports.clock.monotonicMs());
  log.warn('leg dropped', { leg: leg.replica, reason, recorded });
  context.event('Warning', 'LegDropped', `${leg.replica}: ${reason}`);
  const { controller, nqn } = leg;
  if (controller)
    await inBackground({ kind: 'Drop', nqn }, context, () => ports.nvme.deleteController(controller.name));
  const wasCopied = !leg.recorded && leg.member !== undefined && !leg.member.state.has('in_sync');
  if (wasCopied && !erred) await recordBrokenCopy(leg, reason, context);
}

/**
 * A leg that was away, came back, and is lost while it is brought up to date is away from now on. One that answers with errors
 * each time is not: it has been no use since it was lost first. Nothing rests on it but when the replica is replaced.
 */
async function recordBrokenCopy({ replica }: LegFacts, reason: string, context: ExecuteContext): Promise<void> {
  const at = new Date(context.ports.clock.now()).toISOString();
  await record(context, ({ inSync = [], outOfSync, ...status }) => {
    if (inSync.includes(replica) || !isMember(replica, status)) return undefined;
    const entry = { epoch: context.connection.spec.epoch, ...outOfSync?.[replica], at, reason };
    return { inSync, outOfSync: { [replica]: entry } };
  }).catch((error: unknown) => {
    context.log.warn('the end of a copy could not be recorded', { leg: replica, error: String(error) });
  });
}

/** The request goes out with the status; the member stays in the array, as the witness, until it has been accepted. */
export function askDrain(nqn: string, { connection, memory }: ExecuteContext): void {
  const wanted = connection.spec.legs.find((leg) => leg.nqn === nqn);
  if (!wanted) return;
  memory.askDrain(wanted);
  memory.leg(nqn).drainAsked = true;
}
