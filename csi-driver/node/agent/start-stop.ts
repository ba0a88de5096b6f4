import {
  arrayName,
  bitmapChunkBytes,
  devicePath,
  LEG_BITMAP_SECTOR,
  LEG_HEADER_BYTES,
  valveName,
} from '../../../lib/api/names.ts';
import { stampOf } from '../../../lib/api/record-stamp.ts';
import { hasErred, isRunning, type MdArray } from '../../../lib/host/md.ts';
import { describeError } from '../../../lib/describe-error.ts';
import { together } from '../../../lib/together.ts';
import { factsOf, record, type ExecuteContext } from './context.ts';
import { checkLegRecords, ioTimeoutMs, legSizes, shareBitmap, writeLegRecords } from './leg-records.ts';
import type { Action, ConnectionFacts } from './facts.ts';
import { isLive } from './join.ts';
import { startBytes } from './layout.ts';
import { freshValve } from './legs.ts';
import type { OutOfSync } from './record.ts';

/** Starts the array from legs that the record names, and records what is missing before anything can be written. */
export async function assemble(action: Extract<Action, { kind: 'Assemble' }>, context: ExecuteContext): Promise<void> {
  const { connection, facts, log, ports } = context;
  const { md, clock } = ports;
  const name = arrayName(connection.spec.volumeUid);
  const legs = action.nqns.map((nqn) => factsOf(nqn, context));
  if (facts.array) await md.stopArray(name);
  const members = await together(legs, async (leg, slot) => {
    // Open: until somebody can write, an error is better than to wait in the kernel for a leg that goes away meanwhile.
    return { ...(await freshValve(leg, context, 'open')), slot };
  });
  const sources = legs.map((leg, slot) => ({ leg, device: members[slot]?.device ?? '' }));
  const bitmaps = await checkLegRecords(context, sources);
  const sizeBytes = startBytes(legSizes(context, sources, connection.spec.sizeBytes), connection.spec.sizeBytes);
  for (const [slot, leg] of legs.entries()) {
    const lackBytes = LEG_HEADER_BYTES + sizeBytes - (members[slot]?.sizeBytes ?? 0);
    if (lackBytes > 0) throw new Error(`leg ${leg.replica} is too small for ${sizeBytes} bytes by ${lackBytes}`);
  }
  await shareBitmap(context, sources, sizeBytes, bitmaps);
  await md.assembleReadOnly({
    name,
    raidDisks: connection.spec.raidDisks,
    sizeBytes,
    dataOffsetBytes: LEG_HEADER_BYTES,
    bitmapSector: LEG_BITMAP_SECTOR,
    bitmapChunkBytes: bitmapChunkBytes(sizeBytes),
    resyncStart: action.resyncStart,
    members,
  });
  const started = legs.map((leg) => leg.replica);
  const { status = {} } = await record(context, (status) => {
    const inSync = status.inSync ?? [];
    const unknown = started.filter((replica) => !inSync.includes(replica));
    if (unknown.length > 0) throw new Error(`refusing to start from ${unknown.join(', ')}: not in the in-sync set`);
    const missing = inSync.filter((replica) => !started.includes(replica));
    const at = new Date(clock.now()).toISOString();
    const reason = 'it could not be reached when the volume was attached';
    return {
      inSync: started,
      outOfSync: {
        ...uncovered(status.outOfSync ?? {}),
        ...Object.fromEntries(missing.map((replica) => [replica, { epoch: connection.spec.epoch, at, reason }])),
      },
      clean: false,
    };
  });
  await writeLegRecords(context, stampOf(status), sources, [sizeBytes]);
  for (const { nqn } of legs) context.memory.leg(nqn).drainAsked = false;
  context.memory.startedEpoch = connection.spec.epoch;
  await together(legs, (leg) => ports.valves.close(valveName(leg.nqn)));
  await md.activate(name);
  await link(context);
  log.info('array started', { volume: connection.spec.volume, legs: started, resyncStart: action.resyncStart });
}

/**
 * A start reads the bitmap of the legs that it has and takes what is set there for clean soon after: what legs that left
 * earlier lack is known no longer, and they are to be copied whole.
 */
export function uncovered(entries: Readonly<Record<string, OutOfSync>>): Record<string, OutOfSync> {
  return Object.fromEntries(
    Object.entries(entries).map(([replica, entry]) => [replica, { ...entry, bootId: null, nqn: null }]),
  );
}

/** Points the stable path at the array. */
export async function link({ connection, ports }: ExecuteContext): Promise<void> {
  await ports.links.point(devicePath(connection.spec.volume), `/dev/${arrayName(connection.spec.volumeUid)}`);
}

/**
 * Stops the array. It counts as clean, its legs as identical, only when no copy between in-sync legs was left to do and all
 * legs of the record have had every write.
 */
export async function stop(context: ExecuteContext): Promise<void> {
  const { connection, facts, log, ports } = context;
  const { md } = ports;
  const name = arrayName(connection.spec.volumeUid);
  const whole = md.isResynced(name) && facts.recordedElsewhere.length === 0 && hasAll(md.readArray(name), facts);
  const complete = await stopInTime(name, context);
  const clean = whole && complete && (await flushLegs(context));
  log.info('array stopped', { volume: connection.spec.volume, clean });
  if (clean) {
    await record(context, (status) => ({ inSync: status.inSync ?? [], outOfSync: {}, clean: true }));
  }
}

/**
 * What was acknowledged leaves the volatile caches of the legs' disks: who starts from one of them next finds all of it. md
 * flushes when it clears bits, which it doesn't do while a leg is away. @returns whether every leg has done so
 */
async function flushLegs(context: ExecuteContext): Promise<boolean> {
  const legs = context.facts.legs.filter((leg) => leg.recorded && leg.valve !== undefined);
  const flushed = await Promise.allSettled(
    legs.map(({ valve }) => context.ports.flushDevice(valve?.device ?? '', ioTimeoutMs(context))),
  );
  for (const [at, result] of flushed.entries()) {
    if (result.status === 'fulfilled') continue;
    context.log.warn('a leg could not be flushed', { leg: legs[at]?.replica, error: describeError(result.reason) });
  }
  return flushed.every(({ status }) => status === 'fulfilled');
}

/** Whether every leg of the record is in the running array, and no write to one has failed. */
function hasAll(array: MdArray | undefined, { legs }: ConnectionFacts): boolean {
  if (!isRunning(array)) return false;
  return legs
    .filter((leg) => leg.recorded)
    .every((leg) => {
      const member = array.members.find(({ device }) => device === leg.member?.device);
      return member?.state.has('in_sync') === true && !hasErred(member) && isLive(leg) && !leg.pathFailed;
    });
}

/**
 * md clears the bits of the last writes before it stops, and that waits for a leg that is away. md has then made sure that
 * nobody has the array open, and lets nobody in any more: an error can cost no acknowledged write.
 * @returns whether every leg was there to the end
 */
async function stopInTime(name: string, { ports, facts, log }: ExecuteContext): Promise<boolean> {
  const { md, valves, clock } = ports;
  const closed = facts.legs.flatMap(({ valve }) => (valve ? [valve.name] : []));
  let opening: Promise<void> | undefined;
  const openAll = async (): Promise<void> => {
    for (const valve of closed) await valves.open(valve, undefined);
  };
  const cancel = clock.setTimeout(() => {
    log.warn('the array waits for a leg that is away; it is stopped without it', { array: name });
    opening = openAll();
    // Looked at below; md may still wait for long.
    opening.catch(() => undefined);
  }, facts.legTimeoutMs);
  try {
    await md.stopArray(name);
  } catch (error) {
    // It runs on.
    if (opening) for (const valve of closed) await valves.close(valve);
    throw error;
  } finally {
    cancel();
  }
  await opening;
  return opening === undefined;
}
