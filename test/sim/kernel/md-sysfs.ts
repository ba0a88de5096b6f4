import { BLOCK_BYTES, errno } from './io.ts';
import type { MdArray } from './md.ts';
import { Member } from './member.ts';
import type { ValveDevice } from './valve.ts';

/** Files of an array in its `md` folder that are read. */
export function readMd(array: MdArray, file: string): string | undefined {
  switch (file) {
    case 'array_state':
      return stateOf(array);
    case 'sync_action':
      if (array.frozen) return 'frozen';
      return array.readOnly ? 'idle' : (array.sync.kind ?? 'idle');
    case 'sync_completed':
      return array.sync.progress();
    case 'resync_start':
      return array.resynced ? 'none' : String(array.unsyncedFromBytes / 512);
    case 'raid_disks':
      return String(array.raidDisks);
    case 'component_size':
      return String(array.sizeBytes / 1024);
    case 'suspend_hi':
      return array.holdsWrites ? '4503599627370496' : '0';
    case 'degraded':
      return String(array.degraded);
    case 'bitmap/can_clear':
      return String(!(array.bitmap?.keepsBits ?? true));
    default: {
      const { member, attribute } = memberOf(array, file);
      if (attribute === 'state') return member?.text();
      if (attribute === 'size') return member && String(member.sizeBytes / 1024);
      if (attribute === 'slot') return member && (member.slot < 0 ? 'none' : String(member.slot));
      return undefined;
    }
  }
}

function stateOf(array: MdArray): string {
  if (!array.running) return array.members.length > 0 || array.raidDisks > 0 ? 'inactive' : 'clear';
  if (array.readOnly) return 'readonly';
  if (array.pending) return 'write-pending';
  if (array.clean) return 'clean';
  return array.isIdle ? 'active-idle' : 'active';
}

export function listMd(array: MdArray): string[] {
  return ['array_state', 'sync_action', ...array.members.map((member) => `dev-${member.name}`)];
}

function memberOf(array: MdArray, file: string): { member: Member | undefined; attribute: string | undefined } {
  const [, device, attribute] = /^dev-([^/]+)\/(\w+)$/.exec(file) ?? [];
  return { member: array.members.find(({ name }) => name === device), attribute };
}

/**
 * Writes one file in an array's `md` folder. What takes a while resolves when the kernel would return.
 * @throws Error with the kernel's errno as its code
 */
export async function writeMd(
  array: MdArray,
  file: string,
  value: string,
  deviceAt: (devNo: string) => ValveDevice | undefined,
  isAlive: () => boolean,
): Promise<void> {
  const suspended = async (change: () => void): Promise<void> => await whileSuspended(array, change, isAlive);
  if (needsLock(file, value)) await array.unlocked();
  switch (file) {
    case 'metadata_version':
    case 'level':
    case 'safe_mode_delay':
    case 'sync_speed_min':
    case 'bitmap/metadata':
      return;
    case 'raid_disks':
      if (array.running) return await array.reshape(Number(value));
      array.raidDisks = Number(value);
      return;
    case 'component_size':
      if (array.running) return await array.grow(Number(value) * 1024);
      array.sizeBytes = Number(value) * 1024;
      return;
    case 'bitmap/space':
      return;
    case 'sync_min':
      if (array.sync.kind !== undefined) throw errno('EBUSY', file);
      array.compareFromBytes = Number(value) * 512;
      return;
    case 'bitmap/chunksize':
      array.chunkBytes = Number(value);
      return;
    case 'bitmap/time_base':
      array.daemonMs = Number(value) * 1000;
      return;
    case 'bitmap/location':
      array.bitmapBlock = (Number(value) * 512) / BLOCK_BYTES;
      return;
    case 'bitmap/can_clear':
      if (!array.bitmap) throw errno('ENOENT', file);
      if (value === 'true' && array.degraded > 0) throw errno('EBUSY', file);
      array.bitmap.keepsBits = value === 'false';
      array.runDaemon();
      return;
    case 'bitmap_set_bits':
      setBits(array, value);
      return;
    case 'resync_start':
      if (array.running && !array.frozen) throw errno('EBUSY', file);
      array.resynced = value === 'none';
      array.unsyncedFromBytes = 0;
      return;
    case 'suspend_hi':
      if (!array.running) throw errno('EINVAL', file);
      return await suspended(() => {
        array.holdsWrites = value !== '0';
      });
    case 'suspend_lo':
      return await suspended(() => undefined);
    case 'new_dev':
      return await suspended(() => bind(array, deviceAt(value)));
    case 'array_state':
      return await setState(array, value);
    case 'sync_action':
      return await setAction(array, value);
    default: {
      const { member, attribute = '' } = memberOf(array, file);
      if (!member) throw errno('ENOENT', file);
      if (attribute === 'state' && value === 'remove') return await suspended(() => remove(array, member));
      return setMember(array, member, attribute, value);
    }
  }
}

/** What waits while the array is being made larger (mddev_lock); to let writes go on needs no lock (array_state_store). */
function needsLock(file: string, value: string): boolean {
  return file.startsWith('dev-') || file === 'new_dev' || (file === 'array_state' && value !== 'active');
}

/**
 * mddev_suspend, around a change. The wait ends with the process that waits: one that is killed has changed nothing (it is
 * interruptible).
 */
async function whileSuspended(array: MdArray, change: () => void, isAlive: () => boolean): Promise<void> {
  if (array.running) await array.suspend();
  try {
    if (!isAlive()) throw errno('EINTR', array.name);
    change();
  } finally {
    if (array.running) array.resume();
  }
}

function bind(array: MdArray, device: ValveDevice | undefined): void {
  if (!device) throw errno('ENXIO', 'new_dev');
  if (array.members.some((member) => member.dev === device)) throw errno('EEXIST', 'new_dev');
  if (device.claimed) throw errno('EBUSY', 'new_dev');
  device.claimed = true;
  array.members.push(new Member(device));
}

async function setState(array: MdArray, value: string): Promise<void> {
  switch (value) {
    case 'clear':
      if (array.openers > 0) throw errno('EBUSY', 'array_state');
      return await array.stop();
    case 'readonly':
      if (array.running) throw errno('EBUSY', 'array_state');
      return await array.run();
    case 'active':
      if (!array.running) throw errno('EINVAL', 'array_state');
      if (array.readOnly) array.world.onArrayStart?.();
      array.readOnly = false;
      array.pending = false;
      array.needed = true;
      array.wake();
      return;
    default:
      throw errno('EINVAL', 'array_state');
  }
}

/** Chunks and ranges of them; what is said to be dirty from here on is not all in sync (md_bitmap_dirty_bits). */
function setBits(array: MdArray, value: string): void {
  for (const range of value.split(' ')) {
    const [first = 0, last = first] = range.split('-').map(Number);
    array.bitmap?.setBits(Array.from({ length: last - first + 1 }, (_, index) => first + index));
    if (!array.resynced) array.unsyncedFromBytes = Math.min(array.unsyncedFromBytes, first * array.chunkBytes);
  }
}

async function setAction(array: MdArray, value: string): Promise<void> {
  if (!array.running) throw errno('EINVAL', 'sync_action');
  if (value === 'repair') {
    if (array.sync.kind !== undefined) throw errno('EBUSY', 'sync_action');
    array.compares = true;
  }
  array.frozen = value === 'frozen';
  await array.sync.stopped();
  if (array.frozen) return;
  array.needed = true;
  array.wakeThread();
}

function setMember(array: MdArray, member: Member, attribute: string, value: string): void {
  switch (attribute) {
    case 'offset':
    case 'size':
      // rdev_size_store: that of a member of a running array may grow.
      if (array.running && member.slot >= 0 && attribute === 'offset') throw errno('EBUSY', attribute);
      if (attribute === 'size' && Number(value) * 1024 < array.sizeBytes) throw errno('EINVAL', attribute);
      if (attribute === 'offset') member.offsetBlocks = (Number(value) * 512) / BLOCK_BYTES;
      else member.sizeBytes = Number(value) * 1024;
      return;
    case 'recovery_start':
      if (array.running && member.slot >= 0) throw errno('EBUSY', attribute);
      member.inSync = value === 'none';
      return;
    case 'slot':
      return setSlot(array, member, Number(value));
    case 'state':
      return setMemberState(array, member, value);
    default:
      throw errno('ENOENT', attribute);
  }
}

/** slot_store: in a running array a member that says it is in sync lacks just what the bitmap says; another lacks all. */
function setSlot(array: MdArray, member: Member, slot: number): void {
  if (!array.running) {
    member.slot = slot;
    member.faulty = false;
    member.inSync = true;
    return;
  }
  if (member.slot >= 0 || array.sync.kind !== undefined) throw errno('EBUSY', 'slot');
  if (array.members.some((other) => other.slot === slot)) throw errno('EEXIST', 'slot');
  if (!member.inSync) array.fullSync = true;
  member.inSync = false;
  member.slot = slot;
}

function setMemberState(array: MdArray, member: Member, value: string): void {
  switch (value) {
    case 'faulty':
      array.fail(member);
      // The last one: it is not failed, and the array takes no write any more (MD_BROKEN).
      if (array.broken) throw errno('EBUSY', 'state');
      return;
    case '-blocked':
      member.blocked = false;
      array.needed = true;
      array.wake();
      return;
    case 'external_bbl':
      member.notesErrors = true;
      return;
    case 'insync':
      if (member.slot >= 0) throw errno('EINVAL', 'state');
      member.inSync = true;
      return;
    default:
      throw errno('EINVAL', 'state');
  }
}

function remove(array: MdArray, member: Member): void {
  member.blocked = false;
  array.removeFailed(member);
  array.wake();
  if (member.slot >= 0) throw errno('EBUSY', 'state');
  array.members = array.members.filter((other) => other !== member);
  member.dev.claimed = false;
}
