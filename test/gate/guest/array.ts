import { LEG_BITMAP_SECTOR, LEG_HEADER_BYTES } from '../../../lib/api/names.ts';
import { diskMemory } from './disks.ts';
import { numbersOn, readDevice, setBits } from './direct.ts';
import { omitted } from './kill.ts';
import {
  connectLegs,
  controllerOf,
  cutLeg,
  freshMember,
  memberOf,
  namespaceOf,
  removeTargets,
  type Device,
} from './legs.ts';
import {
  ARRAY,
  attribute,
  BLOCK,
  blocksOf,
  chunkBytesOf,
  DEVICE,
  md,
  nvme,
  until,
  untilDone,
  valveOf,
  valves,
  writtenKib,
  type Rig,
} from './rig.ts';
import { asking, killWriters, startWriter, type Ack, type Writer } from './writer.ts';

/** The array over the legs: what the agent does with it, and what is looked at from outside. */

export interface Assembly {
  readonly legs?: readonly number[];
  readonly resyncStart?: 'none' | '0';
}

/** The agent's start: what an earlier try left is cleared away, then everything up to `readonly`. */
export async function assemble(rig: Rig, { legs = rig.legs, resyncStart = 'none' }: Assembly = {}): Promise<void> {
  if (md.readArray(ARRAY)) await md.stopArray(ARRAY);
  const members = [];
  for (const leg of legs) members.push({ ...(await freshMember(leg, rig)), slot: leg - 1 });
  await md.assembleReadOnly({
    name: ARRAY,
    raidDisks: rig.legs.length,
    sizeBytes: rig.sizeBytes,
    dataOffsetBytes: LEG_HEADER_BYTES,
    bitmapSector: LEG_BITMAP_SECTOR,
    bitmapChunkBytes: chunkBytesOf(rig),
    resyncStart,
    members,
  });
}

/** The same, and writable. */
export async function start(rig: Rig, assembly: Assembly = {}): Promise<void> {
  await assemble(rig, assembly);
  await activate();
}

/** Lets writes go on, and again while md waits for it: an array that becomes dirty asks once more. */
export async function activate(): Promise<void> {
  await md.activate(ARRAY);
}

/** After the record: the agent's order. */
export async function release(leg: number, rig: Rig): Promise<void> {
  const { device } = memberOf(leg, rig);
  const state = md.readArray(ARRAY)?.members.find((member) => member.device === device)?.state;
  if (!state?.has('faulty')) await md.failMember(ARRAY, device);
  if (rig.valves) {
    const live = controllerOf(leg)?.state === 'live';
    await valves.open(valveOf(leg), live ? namespaceOf(leg).devNo : undefined);
  } else {
    const controller = controllerOf(leg);
    if (controller !== undefined) await nvme.deleteController(controller.name);
  }
  await md.unblockMember(ARRAY, device);
  await md.activate(ARRAY);
}

/** Takes a leg that was given up out of the array. */
export async function remove(leg: number, rig: Rig): Promise<void> {
  const { device } = memberOf(leg, rig);
  // EBUSY while its I/O ends.
  await untilDone(`leg ${leg} can be removed`, () => md.removeMember(ARRAY, device));
  if (rig.valves) await valves.remove(valveOf(leg));
}

export interface Rejoin {
  readonly kind: 'Bitmap' | 'Full';
}

/** Puts a leg back, and waits until it is in sync. Gives the KiB that md wrote to it meanwhile. */
export async function rejoin(leg: number, rig: Rig, { kind }: Rejoin): Promise<number> {
  const member = await freshMember(leg, rig);
  const before = writtenKib(member.device);
  await addMember(leg, rig, member, kind);
  await synced();
  return writtenKib(member.device) - before;
}

export const addMember = (leg: number, rig: Rig, member: Device, kind: 'Bitmap' | 'Full'): Promise<void> =>
  md.addMember(ARRAY, {
    device: member.device,
    devNo: member.devNo,
    slot: leg - 1,
    kind,
    sizeBytes: rig.sizeBytes,
    dataOffsetBytes: LEG_HEADER_BYTES,
  });

/**
 * Waits until nothing is missing and nothing is copied. md asks for `active` once more whenever a sync has ended (md.c,
 * md_do_sync), and every write waits for it: so this is looked at last.
 */
export async function synced(timeoutMs = 60_000): Promise<void> {
  await until(
    'the array is in sync',
    async () => {
      const array = md.readArray(ARRAY);
      const isInSync =
        array?.syncAction === 'idle' &&
        attribute('degraded') === '0' &&
        array.members.every(({ state }) => state.has('in_sync'));
      if (attribute('array_state') !== 'write-pending') return isInSync;
      await md.activate(ARRAY);
      return false;
    },
    timeoutMs,
  );
}

/** The chunks whose bit a leg's bitmap has set. */
export function bitsOn(leg: number, rig: Rig): number[] {
  const bytes = Math.ceil(rig.sizeBytes / chunkBytesOf(rig) / 8 / BLOCK) * BLOCK;
  return setBits(readDevice(diskMemory(leg), LEG_BITMAP_SECTOR * 512, bytes));
}

/** How many of the acknowledged writes a leg lacks: blocks that hold less than was last acknowledged for them. */
export function missingOn(leg: number, rig: Rig, acks: readonly Ack[]): number {
  const last = new Map<number, number>();
  for (const { number, at } of acks) last.set(at, Math.max(number, last.get(at) ?? 0));
  const found = numbersOn(diskMemory(leg), LEG_HEADER_BYTES, blocksOf(rig));
  return [...last].filter(([at, number]) => (found[at] ?? 0) < number).length;
}

/** Takes everything away, from any state. */
export async function tearDown(rig: Rig): Promise<void> {
  killWriters();
  for (const leg of rig.legs) await cutLeg(leg, false);
  // What still waits ends, with an error if it must.
  for (const name of valves.list('gate-valve-').keys()) await valves.open(name, undefined);
  await untilDone('the array stops', async () => {
    for (const member of md.readArray(ARRAY)?.members ?? []) {
      if (member.state.has('blocked')) await md.unblockMember(ARRAY, member.device).catch(() => undefined);
    }
    if (md.readArray(ARRAY)?.state === 'write-pending') await md.activate(ARRAY).catch(() => undefined);
    await md.stopArray(ARRAY);
  });
  for (const name of valves.list('gate-valve-').keys()) {
    const status = await valves.status(name);
    await valves.open(name, status?.path);
    await valves.remove(name);
  }
  await removeTargets();
}

/** Stops the array: EBUSY until the last one that had it open has gone. */
export const stop = (): Promise<void> => untilDone('the array stops', () => md.stopArray(ARRAY));

/** Makes and connects the legs, does the work, and takes everything away, whatever the work did. */
export async function withRig<T>(rig: Rig, work: () => Promise<T>): Promise<T> {
  if (!rig.badBlockLog) omitted.add('external_bbl');
  if (!rig.bitmap) omitted.add('bitmap');
  try {
    await connectLegs(rig);
    return await work();
  } finally {
    await tearDown(rig);
  }
}

/** Starts the array and a writer on it, and waits for its first acknowledged writes. */
export async function startWithWriter(rig: Rig, queueDepth: number, acks = 40): Promise<Writer> {
  await start(rig);
  const writer = startWriter(DEVICE, queueDepth, blocksOf(rig));
  await asking(() => writer.reaches(acks));
  return writer;
}
