import { LEG_BITMAP_SECTOR, LEG_HEADER_BYTES, bitmapChunkBytes } from '../../../lib/api/names.ts';
import type { Md } from '../../../lib/host/md.ts';
import type { NvmeHost } from '../../../lib/host/nvme.ts';
import type { Sysfs } from '../../../lib/host/sysfs.ts';
import type { Valves } from '../../../lib/host/valve.ts';

/** How the disk of a leg answers. `full`: its data finds no room, which is no error of a path; `full bitmap`: nor does the bitmap. */
export type DiskMode = 'well' | 'errors' | 'full' | 'full bitmap';

/** One write, past every cache and durable before it counts. */
export interface PendingWrite {
  /** Undefined while the kernel has it. */
  readonly result: () => 'done' | 'error' | undefined;
}

/** One client and two legs, numbered 1 and 2, on a real kernel or on the simulated one. The ports are the product's own. */
export interface Stage {
  readonly md: Md;
  readonly nvme: NvmeHost;
  readonly valves: Valves;
  readonly sysfs: Sysfs;
  sleep(ms: number): Promise<void>;
  nqnOf(leg: number): string;
  /** Connects a leg's controller. */
  connect(leg: number): Promise<void>;
  /** The network to a leg goes silently, or comes back. */
  cut(leg: number, cut: boolean): Promise<void>;
  setDisk(leg: number, mode: DiskMode): Promise<void>;
  /** Cuts the controllers of a leg at its target, and lets nobody in any more. */
  fence(leg: number): Promise<void>;
  /** Offers another subsystem at the leg's address, to somebody else. */
  decoy(leg: number): Promise<void>;
  /** The chunks whose bit is set in the bitmap on a leg's disk. */
  bits(leg: number): number[] | Promise<number[]>;
  /** What each block of the volume holds on a leg's disk. */
  data(leg: number): number[] | Promise<number[]>;
  /** Puts a value on a leg's disk behind everybody's back. */
  poke(leg: number, block: number, value: number): Promise<void>;
  pokeBits(leg: number, chunks: readonly number[]): Promise<void>;
  /** Begins a write on the array. */
  write(block: number, value: number): PendingWrite;
  /** Makes all that the array has acknowledged durable. */
  flush(): Promise<void>;
  /** The same for one leg alone, through its valve. */
  flushLeg(leg: number): Promise<void>;
  /** Flushes that have reached a leg. */
  flushes(leg: number): number;
  /** Lets go of the array's device, so that it can be stopped. */
  release(): Promise<void>;
}

export const ARRAY = 'md_conformance';
export const SIZE_BYTES = 1024 ** 2;
export const LEG_BYTES = LEG_HEADER_BYTES + SIZE_BYTES;
export const LEGS = [1, 2] as const;
/** Of the volume's blocks, this many share a bit. */
export const CHUNK_BLOCKS = bitmapChunkBytes(SIZE_BYTES) / 4096;

/** The array's shape, as the client agent gives it. */
export const SHAPE = {
  name: ARRAY,
  raidDisks: LEGS.length,
  sizeBytes: SIZE_BYTES,
  dataOffsetBytes: LEG_HEADER_BYTES,
  bitmapSector: LEG_BITMAP_SECTOR,
  bitmapChunkBytes: bitmapChunkBytes(SIZE_BYTES),
} as const;

export const valveOf = (leg: number): string => `gate-valve-${leg}`;
const LOOK_MS = 50;

/** Waits until something is so; tells whether it came to be. */
export async function until(
  stage: Stage,
  look: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < timeoutMs; waitedMs += LOOK_MS) {
    if (await look()) return true;
    await stage.sleep(LOOK_MS);
  }
  return false;
}

export async function assemble(
  stage: Stage,
  legs: readonly number[],
  resyncStart: 'none' | '0' = 'none',
): Promise<void> {
  const members = [];
  for (const leg of legs) members.push({ ...(await freshValve(stage, leg)), slot: leg - 1 });
  await stage.md.assembleReadOnly({ ...SHAPE, resyncStart, members });
  await stage.md.activate(ARRAY);
}

export async function freshValve(stage: Stage, leg: number): Promise<{ device: string; devNo: string }> {
  return await stage.valves.make(valveOf(leg), LEG_BYTES, namespaceOf(stage, leg).devNo, 'closed');
}

export function namespaceOf(stage: Stage, leg: number): { name: string; devNo: string } {
  const found = stage.nvme.listNamespaces((nqn) => nqn === stage.nqnOf(leg)).get(stage.nqnOf(leg));
  if (!found) throw new Error(`leg ${leg} has no namespace`);
  return found;
}

export const controllerOf = (stage: Stage, leg: number): string | undefined =>
  stage.nvme.listControllers((nqn) => nqn === stage.nqnOf(leg))[0]?.state;

export const deviceOf = (stage: Stage, leg: number): string =>
  stage.valves.list('gate-valve-').get(valveOf(leg))?.device ?? '';

/** The state of a leg's member in words, or `gone`. */
export function memberOf(stage: Stage, leg: number): string {
  const member = stage.md.readArray(ARRAY)?.members.find(({ device }) => device === deviceOf(stage, leg));
  // That errors of its writes are held is how every member is set up, and says nothing about what happened to it.
  return member ? [...member.state].filter((word) => word !== 'external_bbl').join(',') : 'gone';
}

/** The array's state. An array without a write for 200 ms is also called `active-idle`, which depends on the timing alone. */
export function stateOf(stage: Stage): string {
  const state = stage.md.readArray(ARRAY)?.state ?? 'gone';
  return state === 'active-idle' ? 'active' : state;
}

export async function pathOf(stage: Stage, leg: number): Promise<string> {
  const status = await stage.valves.status(valveOf(leg));
  return status === undefined ? 'gone' : status.pathFailed ? 'failed' : 'works';
}

/** Writes, and says `active` where md asks for it; for writes that nothing holds up. */
export async function writeNow(stage: Stage, block: number, value: number): Promise<string> {
  const write = stage.write(block, value);
  await until(stage, async () => {
    if (stateOf(stage) === 'write-pending') await stage.md.activate(ARRAY);
    return write.result() !== undefined;
  });
  return write.result() ?? 'waits';
}

/** The agent's order, once the loss is recorded: faulty, open the valve, unblock, go on. */
export async function drop(stage: Stage, leg: number): Promise<void> {
  const device = deviceOf(stage, leg);
  if (!memberOf(stage, leg).includes('faulty')) await stage.md.failMember(ARRAY, device);
  const live = controllerOf(stage, leg) === 'live';
  await stage.valves.open(valveOf(leg), live ? namespaceOf(stage, leg).devNo : undefined);
  await stage.md.unblockMember(ARRAY, device);
  await stage.md.activate(ARRAY);
}

/** Takes a failed leg out of the array, with its valve. */
export async function remove(stage: Stage, leg: number): Promise<boolean> {
  const device = deviceOf(stage, leg);
  const removed = await until(stage, () =>
    stage.md.removeMember(ARRAY, device).then(
      () => true,
      () => false,
    ),
  );
  await stage.valves.remove(valveOf(leg));
  return removed;
}

export async function join(stage: Stage, leg: number, kind: 'Bitmap' | 'Full'): Promise<void> {
  const valve = await freshValve(stage, leg);
  await stage.md.addMember(ARRAY, {
    ...valve,
    slot: leg - 1,
    sizeBytes: SIZE_BYTES,
    dataOffsetBytes: LEG_HEADER_BYTES,
    kind,
  });
}

/** Waits until both legs count as in sync; md asks for `active` on the way. */
export async function synced(stage: Stage): Promise<boolean> {
  return await until(stage, async () => {
    const array = stage.md.readArray(ARRAY);
    if (array?.state === 'write-pending') await stage.md.activate(ARRAY);
    return array?.syncAction === 'idle' && array.members.filter(({ state }) => state.has('in_sync')).length === 2;
  });
}

/** Blocks in which the two legs differ. */
export async function differences(stage: Stage): Promise<number[]> {
  const [first, second] = [await stage.data(1), await stage.data(2)];
  return first.flatMap((value, block) => (value === second[block] ? [] : [block]));
}
