import { arrayName, bitmapBytes, bitmapChunkBytes, LEG_HEADER_BYTES } from '../../../lib/api/names.ts';
import { hasErred, type MdArray } from '../../../lib/host/md.ts';
import type { ExecuteContext } from './context.ts';
import type { Action, ConnectionFacts, LegFacts } from './facts.ts';
import { answers, isLive } from './join.ts';
import { stayingLegs, writeLegSizes } from './leg-records.ts';
import { GROWING, reshapeArray } from './legs.ts';

/** How a running array gets larger. The first half is part of the plan, and pure. */

/** What of a leg an array of this size uses. */
export const legBytes = (sizeBytes: number): number => LEG_HEADER_BYTES + sizeBytes;

/** The size that legs are to have room for. An array never gets smaller, whatever an old connection says. */
export function targetBytes({ sizeBytes, array }: Pick<ConnectionFacts, 'sizeBytes' | 'array'>): number {
  return Math.max(sizeBytes, array?.sizeBytes ?? 0);
}

/** A leg whose namespace still shows a former size is looked at again; once it shows the new one, its valve follows. */
export function isToRescan(leg: LegFacts, facts: ConnectionFacts): boolean {
  const isSmall = leg.namespace !== undefined && leg.namespace.sizeBytes < legBytes(targetBytes(facts));
  return isSmall && isLive(leg) && leg.rescanInMs <= 0;
}

export function isToWiden({ valve, namespace }: LegFacts, facts: ConnectionFacts): boolean {
  const wantedBytes = legBytes(targetBytes(facts));
  return valve !== undefined && valve.sizeBytes < wantedBytes && (namespace?.sizeBytes ?? 0) >= wantedBytes;
}

/**
 * Given an array that is to be larger, when all its members are in sync, work, and have room, then it grows; also when an
 * earlier try was cut off in the middle. While data is copied to a member, it waits.
 */
export function growth(facts: ConnectionFacts, array: MdArray): Action[] {
  if (facts.reshaping !== undefined || facts.recordedElsewhere.length > 0) return [];
  const isHalf = array.syncAction === 'frozen' && (array.unsyncedFromBytes ?? 0) > 0;
  const isDue = array.sizeBytes < facts.sizeBytes && array.unsyncedFromBytes === undefined;
  if (!isHalf && !(isDue && (array.syncAction === 'idle' || array.syncAction === 'frozen'))) return [];
  const members = facts.legs.filter((leg) => leg.member !== undefined);
  const isWhole = members.length === array.members.length && members.every((leg) => mayGrow(leg, facts));
  return members.length > 0 && isWhole ? [{ kind: 'Grow' }] : [];
}

const mayGrow = (leg: LegFacts, facts: ConnectionFacts): boolean =>
  isSteady(leg) && (leg.valve?.sizeBytes ?? 0) >= legBytes(targetBytes(facts));

/** A member that counts, of which md and its path say nothing bad. */
function isSteady(leg: LegFacts): boolean {
  const { member } = leg;
  if (member === undefined || !member.state.has('in_sync') || hasErred(member)) return false;
  return leg.recorded && !leg.busy && answers(leg);
}

/**
 * Given an array whose number of places is not that of the volume's replicas, when all its members are in sync and work, then it
 * gets more, or, once those that are too many have left, fewer: with an empty place it would never forget what was written.
 */
export function places(facts: ConnectionFacts, array: MdArray): Action[] {
  const wanted = facts.raidDisks;
  if (facts.reshaping !== undefined || wanted === array.raidDisks || array.syncAction !== 'idle') return [];
  if (array.members.length > wanted || array.unsyncedFromBytes !== undefined) return [];
  const members = facts.legs.filter((leg) => leg.member !== undefined);
  const isCalm = members.length === array.members.length && members.every((leg) => isSteady(leg));
  return members.length > 0 && isCalm ? [{ kind: 'SetPlaces', places: wanted }] : [];
}

/** Why a growth that is due does not come, for people; undefined when none is due. */
export function growthWait(facts: ConnectionFacts, array: MdArray): string | undefined {
  if (array.sizeBytes >= facts.sizeBytes) return undefined;
  const small = facts.legs.filter((leg) => leg.member && (leg.valve?.sizeBytes ?? 0) < legBytes(facts.sizeBytes));
  const names = (small.length > 0 ? small : facts.legs.filter((leg) => leg.member && !leg.recorded))
    .map(({ replica }) => replica)
    .join(', ');
  return `grows to ${facts.sizeBytes} bytes${names === '' ? '' : ` when ${names} ${small.length > 0 ? 'has room' : 'is in sync'}`}`;
}

/**
 * Makes the array larger. Before the kernel is asked, every leg that one may start from says that its bitmap is for either size:
 * the change itself leaves no trace that could be trusted.
 */
export async function grow(context: ExecuteContext): Promise<void> {
  const { connection, facts, memory, ports, log } = context;
  const { array } = facts;
  if (array === undefined || memory.reshaping !== undefined) return;
  const name = arrayName(connection.spec.volumeUid);
  const sizeBytes = targetBytes(facts);
  memory.growing ??= { fromBytes: array.sizeBytes, toBytes: sizeBytes };
  memory.growing = { ...memory.growing, toBytes: sizeBytes };
  await writeLegSizes(context, stayingLegs([], context));
  await reshapeArray(GROWING, context, async () => {
    await ports.md.grow(name, {
      sizeBytes,
      bitmapBytes: bitmapBytes(sizeBytes),
      bitmapChunkBytes: bitmapChunkBytes(sizeBytes),
    });
    log.info('array grown', { volume: connection.spec.volume, fromBytes: array.sizeBytes, sizeBytes });
    if (array.sizeBytes < sizeBytes) {
      context.event('Normal', 'ArrayGrown', `the array has grown from ${array.sizeBytes} to ${sizeBytes} bytes`);
    }
  });
}

/** Gives the array another number of places. */
export async function setPlaces(
  { places }: Extract<Action, { kind: 'SetPlaces' }>,
  context: ExecuteContext,
): Promise<void> {
  const { connection, ports, log } = context;
  await reshapeArray(GROWING, context, async () => {
    await ports.md.setRaidDisks(arrayName(connection.spec.volumeUid), places);
    log.info('places of the array', { volume: connection.spec.volume, places });
  });
}

/** The array has its size: the legs say for which one their bitmaps are. */
export async function settleSize(context: ExecuteContext): Promise<void> {
  const before = context.memory.growing;
  context.memory.growing = undefined;
  try {
    await writeLegSizes(context, stayingLegs([], context));
  } catch (error) {
    context.memory.growing = before;
    throw error;
  }
}
