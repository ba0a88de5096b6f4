import { isDeepStrictEqual } from 'node:util';
import { describeStamp, HoldfastError, stampOf, standingOf } from '../../../lib/api/index.ts';
import type { RecordStamp, ReplicatedVolume } from '../../../lib/api/index.ts';
import { bitmapBytes, LEG_BITMAP_SECTOR } from '../../../lib/api/names.ts';
import {
  decodeLegHeader,
  encodeLegHeader,
  LEG_SLOTS_BYTES,
  nextLegSlot,
  type DecodedLeg,
  type LegHeader,
} from '../../../lib/host/leg-header.ts';
import { together } from '../../../lib/together.ts';
import type { ExecuteContext } from './context.ts';
import type { LegFacts } from './facts.ts';
import { bitmapFor, bitmapReadBytes, sizesOf } from './layout.ts';
import { isReleased } from './plan.ts';

const BITMAP_AT = LEG_BITMAP_SECTOR * 512;

/** A leg, and the device over which it is reached. */
export interface ReachableLeg {
  readonly leg: LegFacts;
  /** Kernel name, e.g. `dm-4`. */
  readonly device: string;
}

/** I/O of ours that takes longer than this meets a leg that is about to be dropped itself. It is tried again, so the loop comes round. */
const IO_MIN_MS = 1_000;
const IO_MAX_MS = 10_000;
export const ioTimeoutMs = ({ facts }: ExecuteContext): number =>
  Math.min(IO_MAX_MS, Math.max(IO_MIN_MS, facts.legTimeoutMs));

/**
 * Puts the volume's record in front of the data of each leg, durably. A leg that has it already is left alone.
 * @throws Error when one of them can't be written: nothing may go on that rests on it
 */
export async function writeLegRecords(
  context: ExecuteContext,
  stamp: RecordStamp,
  legs: readonly ReachableLeg[],
  sizes: readonly number[] = currentSizes(context),
): Promise<void> {
  const { memory } = context;
  // Also when a write fails: it may have been done all the same.
  memory.recordGeneration = Math.max(memory.recordGeneration, stamp.generation);
  await together(legs, (each) => writeLegRecord(context, stamp, each, sizes));
}

async function writeLegRecord(
  context: ExecuteContext,
  stamp: RecordStamp,
  { leg, device }: ReachableLeg,
  sizes: readonly number[],
): Promise<void> {
  const { memory, connection } = context;
  const trace = memory.leg(leg.nqn);
  const { volume, volumeUid } = connection.spec;
  const header: LegHeader = { ...stamp, volume, volumeUid, replica: leg.replica, replicaUid: leg.uid, sizes };
  const before = trace.header ?? (await readLegHeader(context, device));
  if (isSame(before, header)) return;
  // What the leg knows was accepted once. To put an older record in its place would make others' word count that lack writes.
  if (before.state === 'record' && knowsBetter(before.header, stamp, memory)) {
    throw new HoldfastError(
      'HF500',
      `${leg.replica} knows ${describeStamp(before.header)}, and is to be told ${describeStamp(stamp)}; was the API server restored from an old backup? See holdfast recover`,
    );
  }
  await putHeader(context, { leg, device }, before, header);
}

async function putHeader(
  context: ExecuteContext,
  { leg, device }: ReachableLeg,
  before: DecodedLeg,
  header: LegHeader,
): Promise<void> {
  const { memory, ports } = context;
  const { offsetBytes, sequence } = nextLegSlot(before);
  const trace = memory.leg(leg.nqn);
  trace.header = undefined;
  await ports.writeDevice(device, offsetBytes, encodeLegHeader(header, sequence), ioTimeoutMs(context));
  trace.header = { state: 'record', header, sequence };
}

/**
 * The sizes for which the running array's bitmap may be laid out by the time that a header is written: also the one to which it
 * is to grow, as a process before this one may have asked for that and died.
 */
function currentSizes({ facts, connection, memory }: ExecuteContext): readonly number[] {
  const { growing } = memory;
  const runs = facts.array?.sizeBytes;
  const sizes = [runs, Math.max(connection.spec.sizeBytes, runs ?? 0), growing?.fromBytes, growing?.toBytes];
  return [...new Set(sizes.filter((size) => size !== undefined && size > 0))].sort((a = 0, b = 0) => a - b) as number[];
}

/**
 * Has legs say for which sizes their bitmaps are laid out; whatever else they say stays. One that says nothing yet is told the record.
 * @throws Error when one of them can't be written
 */
export async function writeLegSizes(
  context: ExecuteContext,
  legs: readonly ReachableLeg[],
  sizes: readonly number[] = currentSizes(context),
): Promise<void> {
  const { memory, connection, volume } = context;
  const { volume: name, volumeUid } = connection.spec;
  const write = async (each: ReachableLeg): Promise<void> => {
    const { leg, device } = each;
    const before = memory.leg(leg.nqn).header ?? (await readLegHeader(context, device));
    const own = { volume: name, volumeUid, replica: leg.replica, replicaUid: leg.uid };
    const known: LegHeader = before.state === 'record' ? before.header : { ...stampOf(volume.status ?? {}), ...own };
    if (before.state === 'record' && isDeepStrictEqual(known.sizes, sizes)) return;
    await putHeader(context, each, before, { ...known, sizes });
  };
  await together(legs, write);
}

export async function readLegHeader(context: ExecuteContext, device: string): Promise<DecodedLeg> {
  const bytes = await context.ports.readDevice(device, 0, LEG_SLOTS_BYTES, ioTimeoutMs(context));
  return decodeLegHeader(Buffer.from(bytes, 'latin1'));
}

function isSame(decoded: DecodedLeg, wanted: LegHeader): boolean {
  if (decoded.state !== 'record') return false;
  const { header } = decoded;
  return (
    standingOf(header, wanted) === 'same' &&
    header.epoch === wanted.epoch &&
    header.volumeUid === wanted.volumeUid &&
    header.replicaUid === wanted.replicaUid &&
    isDeepStrictEqual(header.sizes, wanted.sizes)
  );
}

/** A leg that answers with an error is none to start from for a while: the others do not wait for it longer than legTimeout. */
async function orHoldOff<T>(leg: LegFacts, context: ExecuteContext, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    context.memory.leg(leg.nqn).holdOff(context.ports.clock.monotonicMs());
    throw new Error(`leg ${leg.replica}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/**
 * Gives the legs one bitmap before md reads that of one of them: what any of them has set. That of a leg which joined a moment
 * before the power went lacks what was set earlier, as md writes a new member's pages only when its daemon comes by (md.c,
 * md_start_sync). Writing also proves that it can be written: an error of the medium there would let writes through before the
 * loss of the leg is recorded (ADR 7). Nobody else writes it: there is no array yet.
 * @param found by NQN, the bitmaps that have been read already
 */
export async function shareBitmap(
  context: ExecuteContext,
  legs: readonly ReachableLeg[],
  sizeBytes: number,
  found: ReadonlyMap<string, string>,
): Promise<void> {
  const { ports, memory } = context;
  const timeoutMs = ioTimeoutMs(context);
  const forAll = <T>(work: (leg: LegFacts, device: string) => Promise<T>): Promise<T[]> =>
    Promise.all(legs.map(({ leg, device }) => orHoldOff(leg, context, () => work(leg, device))));
  const bitmaps = await forAll(async (leg, device) => {
    const sizes = sizesOf(memory.leg(leg.nqn).header, sizeBytes);
    const lengthBytes = bitmapReadBytes(sizeBytes, sizes);
    const known = found.get(leg.nqn) ?? '';
    const bitmap =
      known.length < lengthBytes ? await ports.readDevice(device, BITMAP_AT, lengthBytes, timeoutMs) : known;
    return bitmapFor(sizeBytes, sizes, Buffer.from(bitmap, 'latin1'));
  });
  const all = unionOf(bitmaps, bitmapBytes(sizeBytes));
  await forAll((_, device) => ports.writeDevice(device, BITMAP_AT, all, timeoutMs));
}

/** The sizes for which the legs' bitmaps may be laid out, by their headers as they were read last. */
export function legSizes({ memory }: ExecuteContext, legs: readonly ReachableLeg[], freshBytes: number) {
  return legs.map(({ leg }) => sizesOf(memory.leg(leg.nqn).header, freshBytes));
}

/** The bits that any of them has set. */
function unionOf(bitmaps: readonly Buffer[], lengthBytes: number): Buffer {
  const all = Buffer.alloc(lengthBytes);
  for (const bitmap of bitmaps) for (const [index, byte] of bitmap.entries()) all[index] = (all[index] ?? 0) | byte;
  return all;
}

/**
 * Before an array is started: each leg answers, and no leg knows a later record than the API server. The storage agents have compared before
 * they exported the legs; this also finds what has happened since.
 * @returns by NQN, the bitmap that a volume of this size has behind the header
 * @throws HoldfastError HF500 when one does, HF316 when a header can't be read
 */
export async function checkLegRecords(
  context: ExecuteContext,
  legs: readonly ReachableLeg[],
): Promise<ReadonlyMap<string, string>> {
  const { memory, volumes, volume, connection, ports } = context;
  const bitmaps = new Map<string, string>();
  // In one go with the bitmap: each read is a process of its own, and the volume's users wait for it.
  const lengthBytes = BITMAP_AT + bitmapBytes(connection.spec.sizeBytes);
  const headers = await Promise.all(
    legs.map(async ({ leg, device }) => {
      const bytes = await orHoldOff(leg, context, () => ports.readDevice(device, 0, lengthBytes, ioTimeoutMs(context)));
      const decoded = decodeLegHeader(Buffer.from(bytes.slice(0, LEG_SLOTS_BYTES), 'latin1'));
      bitmaps.set(leg.nqn, bytes.slice(BITMAP_AT));
      memory.leg(leg.nqn).header = decoded;
      if (decoded.state === 'damaged') {
        throw new HoldfastError('HF316', `the header of leg ${leg.replica} can't be read: ${decoded.why}`);
      }
      return { replica: leg.replica, header: decoded.state === 'record' ? decoded.header : undefined };
    }),
  );
  const disagreeing = (api: RecordStamp): (typeof headers)[number] | undefined =>
    headers.find(({ header }) => header !== undefined && ['ahead', 'diverged'].includes(standingOf(header, api)));
  if (disagreeing(stampOf(volume.status ?? {})) === undefined) return bitmaps;
  // What was cached may be older than what we have recorded ourselves before a restart.
  const fresh = stampOf((await volumes.get(volume.metadata.name))?.status ?? {});
  const found = disagreeing(fresh);
  if (found?.header === undefined) return bitmaps;
  // Its storage agent compares when it exports, and tells what it finds, by which `holdfast recover` goes: it is to do so anew.
  const wanted = connection.spec.legs.find(({ replica }) => replica === found.replica);
  if (wanted) memory.askDrain(wanted);
  throw new HoldfastError(
    'HF500',
    `${found.replica} knows ${describeStamp(found.header)}, the API server has ${describeStamp(fresh)}; was it restored from an old backup? See holdfast recover`,
  );
}

/** The in-sync members that stay when a leg goes, as far as the record names them. */
export function stayingLegs(dropped: readonly LegFacts[], { facts }: ExecuteContext): ReachableLeg[] {
  return facts.legs.flatMap((leg) => {
    const stays =
      !dropped.includes(leg) && leg.recorded && leg.member?.state.has('in_sync') === true && !isReleased(leg);
    return stays && leg.valve !== undefined ? [{ leg, device: leg.valve.device }] : [];
  });
}

/**
 * The record that those who stay get when a leg goes. Where the volume's policy lets I/O go on although the API server
 * can't be told, the legs alone know: the next number, without the legs that md has let go of.
 */
export function stampWithout(
  dropped: readonly LegFacts[],
  volume: ReplicatedVolume,
  isUnrecorded: boolean,
  { facts, memory }: ExecuteContext,
): RecordStamp {
  const recorded = stampOf(volume.status ?? {});
  if (!isUnrecorded) return recorded;
  const gone = facts.legs.filter((leg) => dropped.includes(leg) || isReleased(leg)).map(({ replica }) => replica);
  const inSync = recorded.inSync.filter((replica) => !gone.includes(replica));
  const generation = Math.max(recorded.generation, memory.recordGeneration) + 1;
  return { ...recorded, generation, base: recorded.generation, inSync };
}

/** Whether a leg knows a record that the API server does not have. What is remembered of that lets the record be told anew. */
export function knowsBetter(header: LegHeader, stamp: RecordStamp, memory: ExecuteContext['memory']): boolean {
  if (!['ahead', 'diverged'].includes(standingOf(header, stamp))) return false;
  const { epoch, lineage, generation, inSync } = header;
  if (epoch === stamp.epoch && lineage === stamp.lineage && stamp.inSync.every((name) => inSync.includes(name))) {
    // Of this very attachment, and all that still count did so then: the record only lacks a number above.
    memory.recordGeneration = Math.max(memory.recordGeneration, generation);
    memory.forgotten = true;
  }
  return true;
}
