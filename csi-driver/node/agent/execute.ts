import {
  arrayName,
  bitmapChunkBytes,
  devicePath,
  LEG_BITMAP_SECTOR,
  LEG_HEADER_BYTES,
  valveName,
} from '../../../lib/api/names.ts';
import { stampOf, type RecordStamp } from '../../../lib/api/record-stamp.ts';
import { hasErred } from '../../../lib/host/md.ts';
import { readBlockStat } from '../../../lib/host/sysfs.ts';
import { recordMixed } from './mixed.ts';
import { isRecordCurrent, withoutClaims } from './bitmap-claims.ts';
import { factsOf, isMember, record, type ExecuteContext } from './context.ts';
import { askDrain, drop, goOn, openValve } from './drop.ts';
import type { Action, LegFacts } from './facts.ts';
import { fenceArray } from './fence.ts';
import { grow, setPlaces, settleSize } from './grow.ts';
import { ioTimeoutMs, stayingLegs, writeLegRecords, writeLegSizes } from './leg-records.ts';
import {
  connectLeg,
  disconnectLeg,
  freshValve,
  inBackground,
  reshape,
  swapLeg,
  withArray,
  withSuspension,
} from './legs.ts';
import { assemble, link, stop } from './start-stop.ts';
import { endSuspension, prepareSuspension, suspend } from './suspension.ts';

const REINSTATE_PAUSE_MS = 500;
const RESCAN_PAUSE_MS = 1000;

/** Carries out one action. Every step may be repeated: what is already so is left as it is. */
export async function execute(action: Action, context: ExecuteContext): Promise<void> {
  switch (action.kind) {
    case 'Connect':
      return inBackground(action, context, () => connectLeg(action.nqn, context));
    case 'Disconnect':
      return inBackground(action, context, () => disconnectLeg(action.nqn, context));
    case 'SwapValve':
      return inBackground(action, context, () => swapLeg(factsOf(action.nqn, context), context));
    case 'ReinstatePath': {
      const leg = factsOf(action.nqn, context);
      // A target that goes on answering with errors is asked again at a measured pace.
      context.memory.leg(leg.nqn).reinstateNotBeforeMs = context.ports.clock.monotonicMs() + REINSTATE_PAUSE_MS;
      if (leg.namespace) await context.ports.valves.reinstatePath(valveName(leg.nqn), leg.namespace.devNo);
      return;
    }
    case 'Rescan': {
      const leg = factsOf(action.nqn, context);
      context.memory.leg(leg.nqn).rescanNotBeforeMs = context.ports.clock.monotonicMs() + RESCAN_PAUSE_MS;
      if (leg.controller) await context.ports.nvme.rescan(leg.controller.name);
      return;
    }
    case 'Grow':
      return grow(context);
    case 'SetPlaces':
      return setPlaces(action, context);
    case 'SettleSize':
      return settleSize(context);
    case 'Assemble':
      return assemble(action, context);
    case 'Link':
      return link(context);
    case 'MarkActive':
      return goOn(arrayName(context.connection.spec.volumeUid), context);
    case 'Drop':
      return drop(action, context);
    case 'AskDrain':
      // A process before this one may have died between the last two steps of a drop.
      await openValve(factsOf(action.nqn, context), context);
      return askDrain(action.nqn, context);
    case 'RemoveMember':
      return reshape(action, context, () => removeLeg(factsOf(action.nqn, context), context));
    case 'Join':
      return reshape(action, context, () => join(action, context));
    case 'Unfreeze':
      return context.ports.md.unfreeze(arrayName(context.connection.spec.volumeUid));
    case 'RecordJoined':
      return recordJoined(factsOf(action.nqn, context), context);
    case 'RecordAnew':
      await record(context, ({ inSync = [], outOfSync = {} }) => ({
        inSync,
        outOfSync: withoutClaims(outOfSync),
        anew: true,
      }));
      return;
    case 'PrepareSuspension':
      return withSuspension(action.kind, context, () => prepareSuspension(action.request, context));
    case 'Suspend':
      return withSuspension(action.kind, context, () => suspend(action, context));
    case 'Resume':
      return withSuspension(action.kind, context, () => endSuspension(action.request, action.released, context.memory));
    case 'Stop':
      return withArray('Stop', context, () => stop(context));
    case 'FinishRelease':
      // A start that was cut off may have left one without anything in it.
      await context.ports.md.stopArray(arrayName(context.connection.spec.volumeUid));
      await context.ports.links.remove(devicePath(context.connection.spec.volume));
      return context.released();
    case 'Fence': {
      for (const { nqn, member, joinInMs } of context.facts.legs) {
        if (member && hasErred(member) && joinInMs <= 0)
          context.memory.leg(nqn).holdOff(context.ports.clock.monotonicMs());
      }
      const left = await fenceArray(arrayName(context.connection.spec.volumeUid), context);
      if (left) return;
      for (const { nqn } of context.facts.legs) {
        await inBackground({ kind: 'Disconnect', nqn }, context, () => disconnectLeg(nqn, context));
      }
      return;
    }
  }
}

async function removeLeg(leg: LegFacts, context: ExecuteContext): Promise<void> {
  const { connection, facts, ports } = context;
  if (!leg.member) return;
  // A drop that was cut off, or a swap that ended after it, may have left a valve closed. md waits for all I/O under way, not for
  // this leg's alone.
  for (const each of facts.legs) if (!each.recorded && isFailed(each)) await openValve(each, context);
  await ports.md.removeMember(arrayName(connection.spec.volumeUid), leg.member.device);
  await ports.valves.remove(valveName(leg.nqn));
}

/** md has failed it, and holds nothing for it any more. */
const isFailed = ({ member }: LegFacts): boolean =>
  member?.state.has('faulty') === true && !member.state.has('blocked');

/** Adds a leg to the running array; md copies what it lacks while I/O goes on. */
async function join(action: Extract<Action, { kind: 'Join' }>, context: ExecuteContext): Promise<void> {
  const { connection, memory, log, ports } = context;
  const { volumeUid } = connection.spec;
  const leg = factsOf(action.nqn, context);
  const sizeBytes = arrayBytes(context);
  memory.leg(action.nqn).drainAsked = false;
  memory.leg(action.nqn).wasInSync = false;
  const kind = action.sync === 'Bitmap' && (await isRecordCurrent(context)) ? 'Bitmap' : 'Full';
  await recordMixed(leg, context);
  // A join that was cut off has its valve in the array already.
  const valve = leg.member && leg.valve ? leg.valve : await freshValve(leg, context);
  const dirtyBytes = kind === 'Full' ? sizeBytes : await dirtyBytesOf(context);
  const legStat = readBlockStat(ports.sysfs, valve.device);
  const arrayStat = readBlockStat(ports.sysfs, arrayName(volumeUid));
  memory.leg(action.nqn).sync = {
    kind,
    startedAtMs: ports.clock.now(),
    dirtyBytes,
    legWrittenBytes: legStat?.writtenBytes ?? 0,
    arrayWrittenBytes: arrayStat?.writtenBytes ?? 0,
  };
  await ports.md.addMember(arrayName(volumeUid), {
    ...valve,
    slot: action.slot,
    sizeBytes,
    dataOffsetBytes: LEG_HEADER_BYTES,
    kind,
  });
  log.info('leg joins', { leg: leg.replica, sync: kind, slot: action.slot, dirtyBytes });
  context.event(
    'Normal',
    'LegSyncing',
    `${leg.replica}: ${kind === 'Full' ? 'full sync' : 'resync by bitmap'}, ${dirtyBytes} bytes to copy`,
  );
}

/** What the running array offers, which may be less than it is to offer soon. */
const arrayBytes = ({ facts, connection }: ExecuteContext): number =>
  facts.array?.sizeBytes ?? connection.spec.sizeBytes;

/** Counts the set bits of the bitmap in front of an in-sync leg: one a chunk. */
async function dirtyBytesOf(context: ExecuteContext): Promise<number> {
  const { facts, ports } = context;
  const sizeBytes = arrayBytes(context);
  const chunkBytes = bitmapChunkBytes(sizeBytes);
  const chunks = Math.ceil(sizeBytes / chunkBytes);
  const source = facts.legs.find((leg) => leg.recorded && leg.member?.state.has('in_sync') && leg.valve);
  if (!source?.valve) return 0;
  const atBytes = LEG_BITMAP_SECTOR * 512;
  const bytes = await ports.readDevice(source.valve.device, atBytes, Math.ceil(chunks / 8), ioTimeoutMs(context));
  return countBits(bytes, chunks) * chunkBytes;
}

/** The set bits among the first `limit` bits of a string of bytes (latin1). */
export function countBits(bytes: string, limit: number): number {
  let count = 0;
  for (let bit = 0; bit < limit; bit++) if (((bytes.charCodeAt(bit >> 3) || 0) >> (bit & 7)) & 1) count++;
  return count;
}

/** Those that are in sync now know it. Nothing hangs on it: an older record names fewer, and all of them have the data. */
async function tellAll(stamp: RecordStamp, joined: LegFacts, context: ExecuteContext): Promise<void> {
  const legs = [
    ...stayingLegs([joined], context),
    ...(joined.valve ? [{ leg: joined, device: joined.valve.device }] : []),
  ];
  await writeLegRecords(context, stamp, legs).catch((error: unknown) => {
    context.log.warn('the legs could not all be told of the record', { error: String(error) });
  });
}

/** md says that the leg is in sync: from now on it counts. */
async function recordJoined(leg: LegFacts, context: ExecuteContext): Promise<void> {
  const { connection, memory, log, ports } = context;
  const array = ports.md.readArray(arrayName(connection.spec.volumeUid));
  const member = array?.members.find((found) => found.device === leg.member?.device);
  if (array?.syncAction !== 'idle' || !member?.state.has('in_sync') || hasErred(member)) return;
  // What was copied may sit in the volatile cache of its disks, also what a user has flushed long ago.
  await ports.flushDevice(member.device, ioTimeoutMs(context));
  // The record knows replicas by their names, and a restored API server may have given this name to another, empty one.
  const { spec } = (await context.connections.get(connection.metadata.name)) ?? {};
  if (!spec?.legs.some(({ nqn }) => nqn === leg.nqn)) return;
  // Whoever starts from it is to know how its bitmap is to be read.
  await writeLegSizes(context, [{ leg, device: member.device }]);
  const { status = {} } = await record(context, (status) => {
    const inSync = status.inSync ?? [];
    if (inSync.includes(leg.replica) || !isMember(leg.replica, status)) return undefined;
    return { inSync: [...inSync, leg.replica], outOfSync: { [leg.replica]: null } };
  });
  if (!isMember(leg.replica, status)) return;
  const trace = memory.leg(leg.nqn);
  trace.settled();
  const { sync } = trace;
  trace.sync = undefined;
  log.info('leg is in sync', { leg: leg.replica });
  await tellAll(stampOf(status), leg, context);
  if (!sync || !leg.valve) return;
  const legStat = readBlockStat(ports.sysfs, leg.valve.device);
  const arrayStat = readBlockStat(ports.sysfs, arrayName(connection.spec.volumeUid));
  const written = (legStat?.writtenBytes ?? 0) - sync.legWrittenBytes;
  // The leg also gets every new write of the volume's user; those were not copied.
  const copiedBytes = Math.max(0, written - ((arrayStat?.writtenBytes ?? 0) - sync.arrayWrittenBytes));
  memory.lastSync = {
    replica: leg.replica,
    kind: sync.kind,
    startedAt: new Date(sync.startedAtMs).toISOString(),
    finishedAt: new Date(ports.clock.now()).toISOString(),
    dirtyBytes: sync.dirtyBytes,
    copiedBytes,
  };
  context.event('Normal', 'LegInSync', `${leg.replica}: in sync again, ${copiedBytes} bytes copied`);
}
