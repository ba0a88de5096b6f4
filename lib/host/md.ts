import { listDirectory, readAttribute, writeAttribute } from './sysfs.ts';

/**
 * md RAID1 arrays with external metadata, driven over sysfs as mdmon does it
 * (kernel: Documentation/admin-guide/md.rst, drivers/md/md.c, raid1.c).
 *
 * External metadata is the write gate: when a member fails, md marks it `faulty,blocked`, and completes no write until
 * user space has written `-blocked` to the member and `active` to the array.
 */

/** A member of an array. */
export interface MdMember {
  /** Kernel name of the member device, e.g. `dm-2`. */
  readonly device: string;
  /** The words of its `state`: in_sync, faulty, blocked, spare, write_error, want_replacement, ... */
  readonly state: ReadonlySet<string>;
  /** Its place in the array, or undefined for none. */
  readonly slot: number | undefined;
}

export interface MdArray {
  readonly name: string;
  /** `clear`, `inactive`, `readonly`, `clean`, `active`, `write-pending`, ... */
  readonly state: string;
  /** `idle`, `resync`, `recover`, `frozen`, ... */
  readonly syncAction: string;
  /** Bytes done and to do of the running sync. */
  readonly sync: { readonly doneBytes: number; readonly totalBytes: number } | undefined;
  readonly members: readonly MdMember[];
}

export interface AssembleOptions {
  readonly name: string;
  readonly raidDisks: number;
  readonly sizeBytes: number;
  /** Start of the data on each member. */
  readonly dataOffsetBytes: number;
  readonly bitmapSector: number;
  readonly bitmapChunkBytes: number;
  /** `none`: the members are identical. `0`: copy what the bitmap says is dirty. */
  readonly resyncStart: 'none' | '0';
  readonly members: readonly { readonly device: string; readonly devNo: string; readonly slot: number }[];
}

const dir = (name: string): string => `/sys/block/${name}/md`;

/** Foreground writes may slow a sync down to this. md's own 1 MiB/s would let a heal take days. */
const SYNC_SPEED_MIN_KIB = 20_000;

/** The array as the kernel has it now, or `undefined` when there is none. */
export function readArray(name: string): MdArray | undefined {
  const md = dir(name);
  // Before the members: a state that waits because of a member that failed is then seen together with that member.
  const state = readAttribute(arrayStatePath(name));
  if (state === undefined || state === 'clear') return undefined;
  const syncAction = readAttribute(`${md}/sync_action`) ?? 'idle';
  return {
    name,
    state,
    syncAction,
    sync: syncAction === 'idle' ? undefined : parseSyncCompleted(readAttribute(`${md}/sync_completed`) ?? 'none'),
    members: listDirectory(md)
      .filter((entry) => entry.startsWith('dev-'))
      .flatMap((entry) => {
        const device = entry.slice(4);
        const words = readAttribute(memberStatePath(name, device));
        const slot = parseSlot(readAttribute(`${md}/${entry}/slot`));
        return words === undefined ? [] : [{ device, state: parseWords(words), slot }];
      }),
  };
}

/** Where the kernel tells what a glance at an array asks: its state, and a member's. Paths in sysfs. */
export const arrayStatePath = (name: string): string => `${dir(name)}/array_state`;
export const memberStatePath = (name: string, device: string): string => `${dir(name)}/dev-${device}/state`;

/** The words of a member's `state`. */
export function parseWords(state: string): ReadonlySet<string> {
  return new Set(state.split(',').filter((word) => word !== ''));
}

function parseSlot(slot: string | undefined): number | undefined {
  return slot === undefined || !/^\d+$/.test(slot) ? undefined : Number(slot);
}

/** `sync_completed` is `done / total` in sectors, `none`, or `delayed`. */
export function parseSyncCompleted(text: string): MdArray['sync'] {
  const match = /^(\d+) \/ (\d+)$/.exec(text);
  return match ? { doneBytes: Number(match[1]) * 512, totalBytes: Number(match[2]) * 512 } : undefined;
}

/**
 * Puts an array together, up to `readonly`: nothing is written to the members yet. Starts over when an earlier try
 * was cut off in the middle.
 */
export async function assembleReadOnly(options: AssembleOptions): Promise<void> {
  const md = dir(options.name);
  const state = readAttribute(`${md}/array_state`);
  if (state !== undefined && state !== 'clear') await writeAttribute(`${md}/array_state`, 'clear');
  if (readAttribute(`${md}/array_state`) === undefined) {
    await writeAttribute('/sys/module/md_mod/parameters/new_array', options.name);
  }
  const sizeKib = String(options.sizeBytes / 1024);
  await writeAttribute(`${md}/metadata_version`, 'external:holdfast');
  await writeAttribute(`${md}/level`, 'raid1');
  await writeAttribute(`${md}/raid_disks`, String(options.raidDisks));
  for (const member of options.members) {
    await writeAttribute(`${md}/new_dev`, member.devNo);
    await writeAttribute(`${md}/dev-${member.device}/offset`, String(options.dataOffsetBytes / 512));
    await writeAttribute(`${md}/dev-${member.device}/size`, sizeKib);
    await writeAttribute(`${md}/dev-${member.device}/slot`, String(member.slot));
  }
  await writeAttribute(`${md}/component_size`, sizeKib);
  await writeAttribute(`${md}/bitmap/metadata`, 'external');
  await writeAttribute(`${md}/bitmap/chunksize`, String(options.bitmapChunkBytes));
  await writeAttribute(`${md}/bitmap/time_base`, '5');
  await writeAttribute(`${md}/bitmap/location`, `+${options.bitmapSector}`);
  await writeAttribute(`${md}/resync_start`, options.resyncStart);
  await writeAttribute(`${md}/safe_mode_delay`, '0');
  await writeAttribute(`${md}/array_state`, 'readonly');
  await writeAttribute(`${md}/sync_speed_min`, String(SYNC_SPEED_MIN_KIB));
}

/** Lets writes go on: from `readonly` after assembly, and from `write-pending` once what happened is recorded. */
export async function activate(name: string): Promise<void> {
  await writeAttribute(`${dir(name)}/array_state`, 'active');
}

/** Marks a member faulty; writes that need it wait until `unblock`. */
export async function failMember(name: string, device: string): Promise<void> {
  await writeAttribute(`${dir(name)}/dev-${device}/state`, 'faulty');
}

/** Says that the loss of a faulty member is recorded. */
export async function unblockMember(name: string, device: string): Promise<void> {
  await writeAttribute(`${dir(name)}/dev-${device}/state`, '-blocked');
}

/** Takes a faulty member out of the array. EBUSY while I/O on it has not ended. */
export async function removeMember(name: string, device: string): Promise<void> {
  await writeAttribute(`${dir(name)}/dev-${device}/state`, 'remove');
}

export interface AddMemberOptions {
  readonly device: string;
  readonly devNo: string;
  readonly slot: number;
  readonly sizeBytes: number;
  readonly dataOffsetBytes: number;
  /** `Bitmap`: it lacks just what the running array's bitmap says. `Full`: everything is copied. */
  readonly kind: 'Bitmap' | 'Full';
}

/**
 * Adds a member to the running array and starts its sync. The array is frozen meanwhile: otherwise md's own thread may
 * take the half-described member in between, and it counts as in sync without a copy.
 */
export async function addMember(name: string, options: AddMemberOptions): Promise<void> {
  const md = dir(name);
  await writeAttribute(`${md}/sync_action`, 'frozen');
  try {
    const member = `${md}/dev-${options.device}`;
    if (readAttribute(`${member}/state`) === undefined) await writeAttribute(`${md}/new_dev`, options.devNo);
    await writeAttribute(`${member}/offset`, String(options.dataOffsetBytes / 512));
    await writeAttribute(`${member}/size`, String(options.sizeBytes / 1024));
    if (options.kind === 'Bitmap') await writeAttribute(`${member}/state`, 'insync');
    await writeAttribute(`${member}/slot`, String(options.slot));
  } finally {
    await writeAttribute(`${md}/sync_action`, 'idle');
  }
}

/** Stops an array. EBUSY while it is open. */
export async function stopArray(name: string): Promise<void> {
  if (readAttribute(`${dir(name)}/array_state`) === undefined) return;
  await writeAttribute(`${dir(name)}/array_state`, 'clear');
}
