import { mkdir, rename, rm, symlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ReplicatedVolume, VolumeConnection } from '../../../lib/api/index.ts';
import {
  arrayName,
  bitmapChunkBytes,
  LEG_BITMAP_SECTOR,
  devicePath,
  hostId,
  hostNqn,
  LEG_HEADER_BYTES,
  valveName,
} from '../../../lib/api/names.ts';
import { run } from '../../../lib/host/exec.ts';
import * as md from '../../../lib/host/md.ts';
import { answersTcp, connectController, deleteController } from '../../../lib/host/nvme.ts';
import { readAttribute, readBlockStat } from '../../../lib/host/sysfs.ts';
import { createValve, openValve, reinstatePath, removeValve, swapValve } from '../../../lib/host/valve.ts';
import type { Resource } from '../../../lib/kube/client.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Action, ConnectionFacts, LegFacts } from './facts.ts';
import { fenceArray } from './fence.ts';
import type { VolumeMemory } from './memory.ts';
import { changeRecord, type RecordChange } from './record.ts';

/** A TCP probe that takes longer than this is no answer. */
const PROBE_MS = 1000;
/** Pause after a connect that failed. */
const RECONNECT_PAUSE_MS = 1000;

export interface ExecuteContext {
  readonly node: string;
  readonly bootId: string;
  readonly volumes: Resource<ReplicatedVolume>;
  readonly connection: VolumeConnection;
  readonly volume: ReplicatedVolume;
  readonly facts: ConnectionFacts;
  readonly memory: VolumeMemory;
  readonly log: Logger;
  /** Monotonic milliseconds, the same clock as the facts'. */
  now(): number;
  /** Called with each state of the record that the API server accepted. */
  recorded(volume: ReplicatedVolume): void;
  /** Called when a released connection may go. */
  released(): Promise<void>;
  event(type: 'Normal' | 'Warning', reason: string, message: string): void;
}

/** Carries out one action. Every step may be repeated: what is already so is left as it is. */
export async function execute(action: Action, context: ExecuteContext): Promise<void> {
  switch (action.kind) {
    case 'Connect':
      return inBackground(action.nqn, context, () => connectLeg(action.nqn, context));
    case 'Disconnect':
      return inBackground(action.nqn, context, () => disconnectLeg(action.nqn, context));
    case 'SwapValve':
      return swapLeg(factsOf(action.nqn, context), context);
    case 'ReinstatePath': {
      const leg = factsOf(action.nqn, context);
      if (leg.namespace) await reinstatePath(valveName(leg.nqn), leg.namespace.devNo);
      return;
    }
    case 'Assemble':
      return assemble(action, context);
    case 'Link':
      return link(context);
    case 'MarkActive':
      return md.activate(arrayName(context.connection.spec.volumeUid));
    case 'Drop':
      return drop(action, context);
    case 'RemoveMember':
      return removeLeg(factsOf(action.nqn, context), context);
    case 'Join':
      return join(action, context);
    case 'RecordJoined':
      return recordJoined(factsOf(action.nqn, context), context);
    case 'Stop':
      return stop(context);
    case 'FinishRelease':
      await rm(devicePath(context.connection.spec.volume), { force: true });
      return context.released();
    case 'Fence': {
      const left = await fenceArray(arrayName(context.connection.spec.volumeUid), context.log);
      if (left) return;
      await rm(devicePath(context.connection.spec.volume), { force: true });
      for (const leg of context.facts.legs) if (!leg.busy) await disconnectLeg(leg.nqn, context);
      return;
    }
  }
}

function factsOf(nqn: string, { facts }: ExecuteContext): LegFacts {
  const leg = facts.legs.find((found) => found.nqn === nqn);
  if (!leg) throw new Error(`no leg ${nqn}`);
  return leg;
}

/** Connects and disconnects take seconds when a node is gone; the loop goes on looking meanwhile. */
function inBackground(nqn: string, { memory, log }: ExecuteContext, work: () => Promise<void>): Promise<void> {
  const leg = memory.leg(nqn);
  if (leg.busy) return Promise.resolve();
  leg.busy = true;
  void work()
    .catch((error: Error) => {
      if (leg.connectError !== error.message)
        log.warn('leg: connect or disconnect failed', { leg: leg.replica, error: error.message });
      leg.connectError = error.message;
      return new Promise((resolve) => setTimeout(resolve, RECONNECT_PAUSE_MS).unref());
    })
    .finally(() => {
      leg.busy = false;
    });
  return Promise.resolve();
}

async function connectLeg(nqn: string, { memory, node, facts, log }: ExecuteContext): Promise<void> {
  const leg = memory.leg(nqn);
  if (!(await answersTcp(leg.address, leg.port, PROBE_MS)))
    throw new Error(`${leg.address}:${leg.port} does not answer`);
  const { keepAliveSeconds, fastIoFailSeconds } = pathTimeouts(facts.legTimeoutMs);
  const name = await connectController({
    nqn,
    address: leg.address,
    port: leg.port,
    hostNqn: hostNqn(node),
    hostId: hostId(node),
    keepAliveSeconds,
    fastIoFailSeconds,
  });
  leg.connectError = undefined;
  log.info('leg connected', { leg: leg.replica, controller: name });
}

/**
 * The kernel's own timeouts (whole seconds) for a legTimeout: the controller notices a silent path within two
 * keep-alives, and its I/O moves up into the valve, both before legTimeout where that is long enough.
 */
export function pathTimeouts(legTimeoutMs: number): { keepAliveSeconds: number; fastIoFailSeconds: number } {
  const third = Math.max(1, Math.floor(legTimeoutMs / 3000));
  return { keepAliveSeconds: Math.min(5, third), fastIoFailSeconds: Math.min(5, third) };
}

async function disconnectLeg(nqn: string, { facts, memory }: ExecuteContext): Promise<void> {
  const leg = facts.legs.find((found) => found.nqn === nqn);
  if (leg?.valve) {
    await openValve(leg.valve.name, leg.namespace?.devNo);
    await removeValve(leg.valve.name);
  }
  if (leg?.controller) await deleteController(leg.controller.name);
  if (!leg?.desired) memory.forget(nqn);
}

async function swapLeg(leg: LegFacts, { connection }: ExecuteContext): Promise<void> {
  if (!leg.namespace) return;
  await swapValve(valveName(leg.nqn), legBytes(connection), leg.namespace.devNo);
}

/** What of a leg md uses: the header and the volume. The LV may be larger by LVM's rounding. */
const legBytes = (connection: VolumeConnection): number => LEG_HEADER_BYTES + connection.spec.sizeBytes;

/** A new valve over a leg that is no member of an array. */
async function freshValve(leg: LegFacts, connection: VolumeConnection): Promise<{ device: string; devNo: string }> {
  const { namespace } = leg;
  if (!namespace) throw new Error(`leg ${leg.replica} has no namespace`);
  if (namespace.sizeBytes < legBytes(connection)) {
    throw new Error(`leg ${leg.replica} has ${namespace.sizeBytes} bytes, but ${legBytes(connection)} are needed`);
  }
  const name = valveName(leg.nqn);
  await removeValve(name);
  await createValve(name, legBytes(connection), namespace.devNo);
  const devNo = (
    await run('dmsetup', ['info', '-c', '--noheadings', '-o', 'major,minor', '--separator', ':', name])
  ).stdout.trim();
  const device = (await run('dmsetup', ['info', '-c', '--noheadings', '-o', 'blkdevname', name])).stdout.trim();
  return { device, devNo };
}

/** Starts the array from legs that the record names, and records what is missing before anything can be written. */
async function assemble(action: Extract<Action, { kind: 'Assemble' }>, context: ExecuteContext): Promise<void> {
  const { connection, facts, log } = context;
  const name = arrayName(connection.spec.volumeUid);
  const legs = action.nqns.map((nqn) => factsOf(nqn, context));
  if (facts.array) await md.stopArray(name);
  const members = [];
  for (const [slot, leg] of legs.entries()) members.push({ ...(await freshValve(leg, connection)), slot });
  await md.assembleReadOnly({
    name,
    raidDisks: connection.spec.raidDisks,
    sizeBytes: connection.spec.sizeBytes,
    dataOffsetBytes: LEG_HEADER_BYTES,
    bitmapSector: LEG_BITMAP_SECTOR,
    bitmapChunkBytes: bitmapChunkBytes(connection.spec.sizeBytes),
    resyncStart: action.resyncStart,
    members,
  });
  const started = legs.map((leg) => leg.replica);
  await record(context, (status) => {
    const inSync = status.inSync ?? [];
    const unknown = started.filter((replica) => !inSync.includes(replica));
    if (unknown.length > 0) throw new Error(`refusing to start from ${unknown.join(', ')}: not in the in-sync set`);
    const missing = inSync.filter((replica) => !started.includes(replica));
    const at = new Date().toISOString();
    const reason = 'it could not be reached when the volume was attached';
    return {
      inSync: started,
      outOfSync: Object.fromEntries(missing.map((replica) => [replica, { epoch: connection.spec.epoch, at, reason }])),
      clean: false,
    };
  });
  await md.activate(name);
  await link(context);
  log.info('array started', { volume: connection.spec.volume, legs: started, resyncStart: action.resyncStart });
}

/** Points the stable path at the array, in one step, so that nobody ever finds it missing. */
async function link({ connection }: ExecuteContext): Promise<void> {
  const path = devicePath(connection.spec.volume);
  await mkdir(dirname(path), { recursive: true });
  const next = `${path}.new`;
  await rm(next, { force: true });
  await symlink(`/dev/${arrayName(connection.spec.volumeUid)}`, next);
  await rename(next, path);
}

/**
 * Drops a leg: record first, then fail the member, open the valve so that its I/O ends, and let md go on. What is slow
 * (the controller of a dead node) happens afterwards, with the writes already flowing.
 */
async function drop(action: Extract<Action, { kind: 'Drop' }>, context: ExecuteContext): Promise<void> {
  const { connection, memory, log, bootId } = context;
  const name = arrayName(connection.spec.volumeUid);
  const leg = factsOf(action.nqn, context);
  const trace = memory.leg(action.nqn);
  const wallMs = Date.now();
  const detectedAt = new Date(wallMs - leg.quietMs).toISOString();
  if (action.record) {
    const covered = leg.member ? { bootId, nqn: leg.nqn } : {};
    const entry = {
      epoch: connection.spec.epoch,
      at: new Date(wallMs).toISOString(),
      reason: action.reason,
      ...covered,
    };
    await record(context, (status) => {
      const inSync = status.inSync ?? [];
      if (!inSync.includes(leg.replica)) return undefined;
      return { inSync: inSync.filter((replica) => replica !== leg.replica), outOfSync: { [leg.replica]: entry } };
    });
  }
  const recordedAt = new Date().toISOString();
  if (leg.member) {
    if (!leg.member.state.has('faulty')) await md.failMember(name, leg.member.device);
    if (leg.valve) await openValve(leg.valve.name, leg.controller?.state === 'live' ? leg.namespace?.devNo : undefined);
    await md.unblockMember(name, leg.member.device);
    await md.activate(name);
    const releasedAt = new Date().toISOString();
    if (action.record) memory.lastDrop = { replica: leg.replica, detectedAt, recordedAt, releasedAt };
  }
  trace.sync = undefined;
  if (leg.member?.state.has('faulty')) trace.holdOff(context.now());
  log.warn('leg dropped', { leg: leg.replica, reason: action.reason, recorded: action.record });
  context.event('Warning', 'LegDropped', `${leg.replica}: ${action.reason}`);
  const controller = leg.controller;
  if (controller) await inBackground(action.nqn, context, () => deleteController(controller.name));
}

async function removeLeg(leg: LegFacts, { connection }: ExecuteContext): Promise<void> {
  if (!leg.member) return;
  await md.removeMember(arrayName(connection.spec.volumeUid), leg.member.device);
  await removeValve(valveName(leg.nqn));
}

/** Adds a leg to the running array; md copies what it lacks while I/O goes on. */
async function join(action: Extract<Action, { kind: 'Join' }>, context: ExecuteContext): Promise<void> {
  const { connection, memory, log } = context;
  const { sizeBytes, volumeUid } = connection.spec;
  const leg = factsOf(action.nqn, context);
  const valve = await freshValve(leg, connection);
  const dirtyBytes = action.sync === 'Full' ? sizeBytes : await dirtyBytesOf(context);
  const [legStat, arrayStat] = await Promise.all([readBlockStat(valve.device), readBlockStat(arrayName(volumeUid))]);
  memory.leg(action.nqn).sync = {
    kind: action.sync,
    startedAtMs: Date.now(),
    dirtyBytes,
    legWrittenBytes: legStat?.writtenBytes ?? 0,
    arrayWrittenBytes: arrayStat?.writtenBytes ?? 0,
  };
  await md.addMember(arrayName(volumeUid), {
    ...valve,
    slot: action.slot,
    sizeBytes,
    dataOffsetBytes: LEG_HEADER_BYTES,
    kind: action.sync,
  });
  log.info('leg joins', { leg: leg.replica, sync: action.sync, slot: action.slot, dirtyBytes });
  context.event(
    'Normal',
    'LegSyncing',
    `${leg.replica}: ${action.sync === 'Full' ? 'full sync' : 'resync by bitmap'}, ${dirtyBytes} bytes to copy`,
  );
}

/** Counts the set bits of the bitmap in front of an in-sync leg: one a chunk. */
async function dirtyBytesOf({ connection, facts }: ExecuteContext): Promise<number> {
  const { sizeBytes } = connection.spec;
  const chunkBytes = bitmapChunkBytes(sizeBytes);
  const chunks = Math.ceil(sizeBytes / chunkBytes);
  const source = facts.legs.find((leg) => leg.recorded && leg.member?.state.has('in_sync') && leg.valve);
  if (!source?.valve) return 0;
  const blocks = Math.ceil(chunks / 8 / 4096);
  const from = (LEG_BITMAP_SECTOR * 512) / 4096;
  const args = [
    `if=/dev/${source.valve.device}`,
    'bs=4096',
    `skip=${from}`,
    `count=${blocks}`,
    'iflag=direct',
    'status=none',
  ];
  const { stdout } = await run('dd', args, { encoding: 'latin1' });
  return countBits(stdout, chunks) * chunkBytes;
}

/** The set bits among the first `limit` bits of a string of bytes (latin1). */
export function countBits(bytes: string, limit: number): number {
  let count = 0;
  for (let bit = 0; bit < limit; bit++) if (((bytes.charCodeAt(bit >> 3) || 0) >> (bit & 7)) & 1) count++;
  return count;
}

/** md says that the leg is in sync: from now on it counts. */
async function recordJoined(leg: LegFacts, context: ExecuteContext): Promise<void> {
  const { connection, memory, log } = context;
  const array = await md.readArray(arrayName(connection.spec.volumeUid));
  const member = array?.members.find((found) => found.device === leg.member?.device);
  if (array?.syncAction !== 'idle' || !member?.state.has('in_sync') || member.state.has('faulty')) return;
  await record(context, (status) => {
    const inSync = status.inSync ?? [];
    if (inSync.includes(leg.replica)) return undefined;
    return { inSync: [...inSync, leg.replica], outOfSync: { [leg.replica]: null } };
  });
  const trace = memory.leg(leg.nqn);
  trace.settled();
  const { sync } = trace;
  trace.sync = undefined;
  log.info('leg is in sync', { leg: leg.replica });
  if (!sync || !leg.valve) return;
  const [legStat, arrayStat] = await Promise.all([
    readBlockStat(leg.valve.device),
    readBlockStat(arrayName(connection.spec.volumeUid)),
  ]);
  const written = (legStat?.writtenBytes ?? 0) - sync.legWrittenBytes;
  // The leg also gets every new write of the volume's user; those were not copied.
  const copiedBytes = Math.max(0, written - ((arrayStat?.writtenBytes ?? 0) - sync.arrayWrittenBytes));
  memory.lastSync = {
    replica: leg.replica,
    kind: sync.kind,
    startedAt: new Date(sync.startedAtMs).toISOString(),
    finishedAt: new Date().toISOString(),
    dirtyBytes: sync.dirtyBytes,
    copiedBytes,
  };
  context.event('Normal', 'LegInSync', `${leg.replica}: in sync again, ${copiedBytes} bytes copied`);
}

/** Stops the array. It counts as clean only when no copy between in-sync legs was left to do. */
async function stop(context: ExecuteContext): Promise<void> {
  const { connection, facts, log } = context;
  const name = arrayName(connection.spec.volumeUid);
  const resynced = (await readAttribute(`/sys/block/${name}/md/resync_start`)) === 'none';
  const ran = facts.array !== undefined && !['inactive', 'readonly'].includes(facts.array.state);
  await md.stopArray(name);
  log.info('array stopped', { volume: connection.spec.volume, clean: ran && resynced });
  if (ran && resynced) {
    await record(context, (status) => ({ inSync: status.inSync ?? [], outOfSync: {}, clean: true }));
  }
}

async function record(
  context: ExecuteContext,
  change: (status: NonNullable<ReplicatedVolume['status']>) => RecordChange | undefined,
): Promise<void> {
  const owner = { node: context.node, epoch: context.connection.spec.epoch };
  context.recorded(await changeRecord(context.volumes, context.volume, owner, change));
}
