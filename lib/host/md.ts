import { HoldfastError } from '../api/errors.ts';
import { SysfsError, type Sysfs } from './sysfs.ts';

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
  /** `idle`, `resync`, `recover`, `repair`, `frozen`, ... */
  readonly syncAction: string;
  /** How many members it has places for. */
  readonly raidDisks: number;
  /** What it offers to its users. */
  readonly sizeBytes: number;
  /** From here on its members may differ, as far as the bitmap says (`resync_start`); undefined: nowhere. */
  readonly unsyncedFromBytes: number | undefined;
  /** Bytes done and to do of the running sync. */
  readonly sync: { readonly doneBytes: number; readonly totalBytes: number } | undefined;
  readonly members: readonly MdMember[];
}

/** Whether the array takes I/O. `readonly` is what a start that was cut off leaves: nobody can have written to it. */
export function isRunning(array: MdArray | undefined): array is MdArray {
  return array !== undefined && array.state !== 'inactive' && array.state !== 'readonly';
}

/** Whether md has failed the member, holds writes because one to it has failed, or did so: it lacks a write. */
export function hasErred({ state }: Pick<MdMember, 'state'>): boolean {
  return state.has('faulty') || state.has('blocked') || state.has('write_error');
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

/**
 * A write that a member answers with an error then doesn't fail the member at once, upon which md would end the other
 * writes in flight on it unheld: md marks the member `blocked,write_error` and holds all of them (raid1.c, handle_write_finished;
 * md.c, rdev_set_badblocks). The member counts as failed for whoever looks.
 */
const HOLDS_WRITE_ERRORS = 'external_bbl';

/** Beyond the end of every array, also of one that grows meanwhile. */
const ALL_SECTORS = String(2 ** 52);

/** Foreground writes may slow a sync down to this. md's own 1 MiB/s would let a heal take days. */
const SYNC_SPEED_MIN_KIB = 20_000;

/** The port to md. Each change may be tried again at any time. @throws SysfsError with what the kernel answered */
export interface Md {
  /** The array as the kernel has it now, or `undefined` when there is none. */
  readArray(name: string): MdArray | undefined;
  /** Names of the arrays that the kernel has and that begin with `prefix`; also of those without anything in them. */
  list(prefix: string): string[];
  /** `major:minor` of the array's block device, or undefined when there is none. */
  deviceNumber(name: string): string | undefined;
  /** Whether nothing is left to be copied between members that count as in sync. */
  isResynced(name: string): boolean;
  /**
   * Puts an array together, up to `readonly`: nothing is written to the members yet. Starts over when an earlier try
   * was cut off in the middle.
   * @throws HoldfastError HF501 when this kernel can't keep a bitmap for such an array
   */
  assembleReadOnly(options: AssembleOptions): Promise<void>;
  /** Lets writes go on: from `readonly` after assembly, and from `write-pending` once what happened is recorded. */
  activate(name: string): Promise<void>;
  /** Marks a member faulty; writes that need it wait until `unblock`. */
  failMember(name: string, device: string): Promise<void>;
  /** Says that the loss of a faulty member is recorded. */
  unblockMember(name: string, device: string): Promise<void>;
  /** Takes a faulty member out of the array. EBUSY while I/O on it has not ended. */
  removeMember(name: string, device: string): Promise<void>;
  /**
   * Adds a member to the running array and starts its sync. The array is frozen meanwhile: otherwise md's own thread may
   * take the half-described member in between, and it counts as in sync without a copy. For the same reason it stays
   * frozen when a step fails, until a later try gets through. It waits for all I/O under way. @throws Error when another member
   * has failed meanwhile: once that one is let go of, try again
   */
  addMember(name: string, options: AddMemberOptions): Promise<void>;
  /**
   * Makes a running array larger: every member's device has room for it. What is new is compared between the members, and
   * made the same where it differs. May be called again after it was cut off anywhere, also when just the comparison has not
   * begun. It waits for all I/O under way. @throws SysfsError EBUSY while members are copied
   */
  grow(name: string, options: GrowOptions): Promise<void>;
  /**
   * Gives a running array another number of places; of fewer, md moves members up into those that are left. It waits for all I/O
   * under way. @throws SysfsError EBUSY while members are copied, or when there are more of them than places
   */
  setRaidDisks(name: string, raidDisks: number): Promise<void>;
  /** Lets md sync and take members again (`sync_action` idle). */
  unfreeze(name: string): Promise<void>;
  /**
   * Lets no more write through, and returns when all that were under way have ended: then all members that are in sync are
   * equal, and stay so. Reads go on. It lasts until `resumeWrites`, also when this process ends. Waits for a member that does not
   * answer; before 6.12 md takes no other order meanwhile, not even that a member has failed (md.c, suspend_hi_store,
   * is_suspended; raid1.c, freeze_array, which doesn't wait for writes that a member has answered with an error).
   */
  suspendWrites(name: string): Promise<void>;
  /** Lets writes go on. Waits, too, for I/O under way. An array that is gone is no error. */
  resumeWrites(name: string): Promise<void>;
  /** Whether writes are held by `suspendWrites`. */
  isSuspended(name: string): boolean;
  /** Stops an array. EBUSY while it is open. */
  stopArray(name: string): Promise<void>;
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

export interface GrowOptions {
  readonly sizeBytes: number;
  /** Room for the bitmap of an array of that size: md makes its chunks larger only when they no longer fit in. */
  readonly bitmapBytes: number;
  /** What one bit of that bitmap stands for. */
  readonly bitmapChunkBytes: number;
}

/** Where the kernel tells what a glance at an array asks: its state, and a member's. Paths in sysfs. */
export const arrayStatePath = (name: string): string => `${dir(name)}/array_state`;
export const memberStatePath = (name: string, device: string): string => `${dir(name)}/dev-${device}/state`;

/** Up to which sector of the array writes are held; 0: none is. Path in sysfs. */
export const suspendPath = (name: string): string => `${dir(name)}/suspend_hi`;

/** The words of a member's `state`. */
export function parseWords(state: string): ReadonlySet<string> {
  return new Set(state.split(',').filter((word) => word !== ''));
}

function parseSlot(slot: string | undefined): number | undefined {
  return slot === undefined || !/^\d+$/.test(slot) ? undefined : Number(slot);
}

/** `resync_start` is a sector, or `none` (md.c, resync_start_show). */
function parseResyncStart(text: string | undefined): number | undefined {
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text) * 512;
}

/** `sync_completed` is `done / total` in sectors, `none`, or `delayed`. */
export function parseSyncCompleted(text: string): MdArray['sync'] {
  const match = /^(\d+) \/ (\d+)$/.exec(text);
  return match ? { doneBytes: Number(match[1]) * 512, totalBytes: Number(match[2]) * 512 } : undefined;
}

/**
 * Says that the bitmap's place is ours to choose. Later kernels make the folder `bitmap` only with the bitmap itself, and
 * take a place for it only where md's own metadata reserves one (7.3: md-bitmap.c, location_store and bitmap_none_groups):
 * there is no way to have one with external metadata.
 */
async function externalBitmap(sysfs: Sysfs, md: string): Promise<void> {
  try {
    await sysfs.writeAttribute(`${md}/bitmap/metadata`, 'external');
  } catch (error) {
    if (!(error instanceof SysfsError) || error.code !== 'ENOENT') throw error;
    const release = sysfs.readAttribute('/proc/sys/kernel/osrelease') ?? 'of this node';
    throw new HoldfastError(
      'HF501',
      `Linux ${release} takes no bitmap for an array with external metadata (md/bitmap/metadata is missing); Linux 6.1 to 6.12 do`,
      { cause: error },
    );
  }
}

/** The port over sysfs. */
export function createMd(sysfs: Sysfs): Md {
  // An array that is being deleted answers EBUSY (md.c, md_attr_show); a new one of its name waits until it has gone (md_alloc).
  const read = (path: string): string | undefined => {
    try {
      return sysfs.readAttribute(path);
    } catch (error) {
      if (error instanceof SysfsError && error.code === 'EBUSY') return undefined;
      throw error;
    }
  };
  const membersOf = (name: string): MdMember[] =>
    sysfs
      .listDirectory(dir(name))
      .filter((entry) => entry.startsWith('dev-'))
      .flatMap((entry) => {
        const device = entry.slice(4);
        const words = read(memberStatePath(name, device));
        const slot = parseSlot(read(`${dir(name)}/${entry}/slot`));
        return words === undefined ? [] : [{ device, state: parseWords(words), slot }];
      });
  return {
    readArray(name) {
      const md = dir(name);
      // Before the members: a state that waits because of a member that failed is then seen together with that member.
      const state = read(arrayStatePath(name));
      if (state === undefined || state === 'clear') return undefined;
      const syncAction = read(`${md}/sync_action`) ?? 'idle';
      return {
        name,
        state,
        syncAction,
        raidDisks: Number(read(`${md}/raid_disks`) ?? 0),
        sizeBytes: Number(read(`${md}/component_size`) ?? 0) * 1024,
        unsyncedFromBytes: parseResyncStart(read(`${md}/resync_start`)),
        sync: syncAction === 'idle' ? undefined : parseSyncCompleted(read(`${md}/sync_completed`) ?? 'none'),
        members: membersOf(name),
      };
    },
    list: (prefix) =>
      sysfs
        .listDirectory('/sys/block')
        .filter((name) => name.startsWith(prefix) && read(arrayStatePath(name)) !== undefined),
    deviceNumber: (name) => read(`/sys/block/${name}/dev`),
    isResynced: (name) => read(`${dir(name)}/resync_start`) === 'none',
    async assembleReadOnly(options) {
      const md = dir(options.name);
      const state = read(`${md}/array_state`);
      if (state !== undefined && state !== 'clear') await sysfs.writeAttribute(`${md}/array_state`, 'clear');
      if (read(`${md}/array_state`) === undefined) {
        await sysfs.writeAttribute('/sys/module/md_mod/parameters/new_array', options.name);
      }
      const sizeKib = String(options.sizeBytes / 1024);
      await sysfs.writeAttribute(`${md}/metadata_version`, 'external:holdfast');
      await sysfs.writeAttribute(`${md}/level`, 'raid1');
      await sysfs.writeAttribute(`${md}/raid_disks`, String(options.raidDisks));
      for (const member of options.members) {
        await sysfs.writeAttribute(`${md}/new_dev`, member.devNo);
        await sysfs.writeAttribute(`${md}/dev-${member.device}/state`, HOLDS_WRITE_ERRORS);
        await sysfs.writeAttribute(`${md}/dev-${member.device}/offset`, String(options.dataOffsetBytes / 512));
        await sysfs.writeAttribute(`${md}/dev-${member.device}/size`, sizeKib);
        await sysfs.writeAttribute(`${md}/dev-${member.device}/slot`, String(member.slot));
      }
      await sysfs.writeAttribute(`${md}/component_size`, sizeKib);
      await externalBitmap(sysfs, md);
      await sysfs.writeAttribute(`${md}/bitmap/chunksize`, String(options.bitmapChunkBytes));
      await sysfs.writeAttribute(`${md}/bitmap/time_base`, '5');
      await sysfs.writeAttribute(`${md}/bitmap/location`, `+${options.bitmapSector}`);
      await sysfs.writeAttribute(`${md}/resync_start`, options.resyncStart);
      await sysfs.writeAttribute(`${md}/safe_mode_delay`, '0');
      await sysfs.writeAttribute(`${md}/array_state`, 'readonly');
      await sysfs.writeAttribute(`${md}/sync_speed_min`, String(SYNC_SPEED_MIN_KIB));
    },
    async activate(name) {
      await sysfs.writeAttribute(`${dir(name)}/array_state`, 'active');
    },
    async failMember(name, device) {
      const member = `${dir(name)}/dev-${device}`;
      // One that was to be added by bitmap says that it is in sync before it has a place, and md then takes it for the last
      // one that is: EBUSY (kernel: raid1.c, raid1_error; md.c, recovery_start_store takes the word back).
      if (sysfs.readAttribute(`${member}/slot`) === 'none') await sysfs.writeAttribute(`${member}/recovery_start`, '0');
      await sysfs.writeAttribute(`${member}/state`, 'faulty');
    },
    async unblockMember(name, device) {
      await sysfs.writeAttribute(`${dir(name)}/dev-${device}/state`, '-blocked');
    },
    async removeMember(name, device) {
      await sysfs.writeAttribute(`${dir(name)}/dev-${device}/state`, 'remove');
    },
    async addMember(name, options) {
      const md = dir(name);
      const member = `${md}/dev-${options.device}`;
      const wanted = { offset: String(options.dataOffsetBytes / 512), size: String(options.sizeBytes / 1024) };
      const missing = (attribute: 'offset' | 'size'): boolean => read(`${member}/${attribute}`) !== wanted[attribute];
      await sysfs.writeAttribute(`${md}/sync_action`, 'frozen');
      // In its place already: an earlier try was cut off before its last step, which follows.
      if (parseSlot(read(`${member}/slot`)) !== options.slot) {
        if (read(`${member}/state`) === undefined) await sysfs.writeAttribute(`${md}/new_dev`, options.devNo);
        await sysfs.writeAttribute(`${member}/state`, HOLDS_WRITE_ERRORS);
        // An offset is refused once there is a size (kernel: md.c, offset_store).
        if (missing('offset')) await sysfs.writeAttribute(`${member}/offset`, wanted.offset);
        if (missing('size')) await sysfs.writeAttribute(`${member}/size`, wanted.size);
        // Said either way: an earlier try may have said the other (kernel: md.c, state_store and recovery_start_store).
        if (options.kind === 'Bitmap') await sysfs.writeAttribute(`${member}/state`, 'insync');
        else await sysfs.writeAttribute(`${member}/recovery_start`, '0');
        await sysfs.writeAttribute(`${member}/slot`, String(options.slot));
      }
      // Of a write that began before without the new member no bit tells before it ends. md waits for such writes by itself, but not
      // for those that it holds because another member has failed (md.c, md_sync_position; raid1.c, freeze_array): the copy would
      // miss them. This waits for all of them; before 6.7 for no more than md itself does, so what is held then is looked for.
      await sysfs.writeAttribute(`${md}/suspend_lo`, '0');
      const holding = membersOf(name).find(
        ({ state }) => state.has('blocked') || (state.has('write_error') && !state.has('faulty')),
      );
      if (holding) throw new Error(`${holding.device} has failed while ${options.device} was added`);
      await sysfs.writeAttribute(`${md}/sync_action`, 'idle');
    },
    async grow(name, { sizeBytes, bitmapBytes, bitmapChunkBytes }) {
      const md = dir(name);
      const sizeKib = sizeBytes / 1024;
      // md would begin at once to copy what is new from one member to the others, zeros and all.
      await sysfs.writeAttribute(`${md}/sync_action`, 'frozen');
      if (Number(read(`${md}/component_size`)) < sizeKib) {
        for (const member of sysfs.listDirectory(md).filter((entry) => entry.startsWith('dev-'))) {
          if (Number(read(`${md}/${member}/size`)) >= sizeKib) continue;
          await sysfs.writeAttribute(`${md}/${member}/size`, String(sizeKib));
        }
        await sysfs.writeAttribute(`${md}/bitmap/space`, String(bitmapBytes / 512));
        await sysfs.writeAttribute(`${md}/component_size`, String(sizeKib));
      }
      const fromBytes = parseResyncStart(read(`${md}/resync_start`)) ?? 0;
      if (fromBytes === 0) {
        await sysfs.writeAttribute(`${md}/sync_action`, 'idle');
        return;
      }
      // md marks what is new in memory only (md-bitmap.c, md_bitmap_resize): after a power loss nothing would tell.
      const [first, last] = [fromBytes, sizeBytes - 1].map((at) => Math.floor(at / bitmapChunkBytes));
      await sysfs.writeAttribute(`${md}/bitmap_set_bits`, `${first}-${last}`);
      // A comparison reads from all and writes where they differ, so that what nobody has written takes no room on thin members.
      await sysfs.writeAttribute(`${md}/sync_min`, String(fromBytes / 512));
      await sysfs.writeAttribute(`${md}/sync_action`, 'repair');
    },
    async setRaidDisks(name, raidDisks) {
      await sysfs.writeAttribute(`${dir(name)}/raid_disks`, String(raidDisks));
    },
    async unfreeze(name) {
      await sysfs.writeAttribute(`${dir(name)}/sync_action`, 'idle');
    },
    async suspendWrites(name) {
      await sysfs.writeAttribute(suspendPath(name), ALL_SECTORS);
    },
    async resumeWrites(name) {
      try {
        if (read(suspendPath(name)) !== undefined) await sysfs.writeAttribute(suspendPath(name), '0');
      } catch (error) {
        // An array that was never started, or is gone, has nothing to hold (suspend_hi_store: EINVAL without a personality).
        if (!(error instanceof SysfsError) || !['EINVAL', 'ENODEV', 'ENOENT'].includes(error.code)) throw error;
      }
    },
    isSuspended: (name) => (read(suspendPath(name)) ?? '0') !== '0',
    async stopArray(name) {
      if (read(`${dir(name)}/array_state`) === undefined) return;
      await sysfs.writeAttribute(`${dir(name)}/array_state`, 'clear');
    },
  };
}
