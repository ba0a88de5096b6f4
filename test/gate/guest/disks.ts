import { run } from '../../../lib/host/exec.ts';
import { readDevice } from './direct.ts';

/** How the disk of a leg behaves. */
export type DiskMode =
  | 'good'
  /** Every request fails at once with an I/O error, which a dm-multipath above counts as the path's. */
  | 'error'
  /** The same, each request 300 ms after it came: some fail when the leg has been given up already. */
  | 'late-error'
  /** Writes to the data find no room in a thin pool: an error that is not the path's. */
  | 'data-nospc'
  | 'late-data-nospc'
  /** Writes to the bitmap find no room. */
  | 'bitmap-nospc';

export const SECTOR = 512;
const LATE_MS = 300;

const dmsetup = async (...args: string[]): Promise<void> => void (await run('dmsetup', args));
const diskName = (leg: number): string => `gate-disk${leg}`;

/** The memory that a leg's data really lies in. */
export const diskMemory = (leg: number): string => `/dev/ram${leg}`;
export const diskPath = (leg: number): string => `/dev/mapper/${diskName(leg)}`;

/** RAM disks for up to four legs, and for a thin pool without room: all zeros. */
export async function prepareDisks(): Promise<void> {
  // Loaded anew, they are all zeros.
  await run('modprobe', ['-r', 'brd']);
  await run('modprobe', ['brd', 'rd_nr=7', `rd_size=${1024 ** 2}`]);
  const modules = ['dm-thin-pool', 'dm-delay', 'dm-multipath', 'dm-round-robin', 'raid1', 'nvme-tcp'];
  await run('modprobe', ['-a', ...modules]);
}

/** Makes the disk of a leg. */
export async function createDisk(leg: number, sizeBytes: number): Promise<void> {
  await dmsetup('create', diskName(leg), '--table', `0 ${sizeBytes / SECTOR} linear ${diskMemory(leg)} 0`);
}

/** Lets the disk of a leg behave so from now on; what it holds stays. The header's size says where the data begins. */
export async function setDisk(leg: number, sizeBytes: number, headerBytes: number, mode: DiskMode): Promise<void> {
  const table = await tableOf(leg, sizeBytes / SECTOR, headerBytes / SECTOR, mode);
  await run('dmsetup', ['load', diskName(leg)], { input: table });
  await dmsetup('suspend', '--nolockfs', diskName(leg));
  await dmsetup('resume', diskName(leg));
}

/** Gives a leg's disk another size. */
export async function resizeDisk(leg: number, sizeBytes: number): Promise<void> {
  await setDisk(leg, sizeBytes, 0, 'good');
}

async function tableOf(leg: number, sectors: number, header: number, mode: DiskMode): Promise<string> {
  const memory = diskMemory(leg);
  const data = sectors - header;
  const part = (from: number, length: number, device: string): string =>
    `${from} ${length} linear ${device} ${device === memory ? from : 0}\n`;
  const late = (from: number, length: number, device: string): string =>
    `${from} ${length} delay ${device} 0 ${LATE_MS} ${device} 0 ${LATE_MS}\n`;
  switch (mode) {
    case 'good':
      return part(0, sectors, memory);
    case 'error':
      return `0 ${sectors} error\n`;
    case 'late-error':
      await createDm('gate-error', `0 ${sectors} error`);
      return part(0, header, memory) + late(header, data, '/dev/mapper/gate-error');
    case 'data-nospc':
      return part(0, header, memory) + part(header, data, await fullThin(sectors));
    case 'late-data-nospc':
      return part(0, header, memory) + late(header, data, await fullThin(sectors));
    case 'bitmap-nospc':
      return part(0, header, await fullThin(sectors)) + part(header, data, memory);
  }
}

async function createDm(name: string, table: string): Promise<string> {
  const { code } = await run('dmsetup', ['info', name], { ok: [0, 1] });
  if (code !== 0) await dmsetup('create', name, '--table', table);
  return `/dev/mapper/${name}`;
}

/** A thin volume that has nothing, in a pool that has no room and says so at once. */
async function fullThin(sectors: number): Promise<string> {
  const [metadata, data] = ['/dev/ram5', '/dev/ram6'];
  const { code } = await run('dmsetup', ['info', 'gate-pool'], { ok: [0, 1] });
  if (code !== 0) {
    const block = 128;
    await dmsetup(
      'create',
      'gate-pool',
      '--table',
      `0 ${block} thin-pool ${metadata} ${data} ${block} 0 1 error_if_no_space`,
    );
    for (const id of [0, 1]) await dmsetup('message', 'gate-pool', '0', `create_thin ${id}`);
    await dmsetup('create', 'gate-filler', '--table', `0 ${block} thin /dev/mapper/gate-pool 1`);
    await run('dd', ['if=/dev/zero', 'of=/dev/mapper/gate-filler', 'bs=64k', 'count=1', 'oflag=direct']);
  }
  return await createDm('gate-thin', `0 ${sectors} thin /dev/mapper/gate-pool 0`);
}

/** Removes every disk and what was made for them. */
export async function removeDisks(): Promise<void> {
  const { stdout } = await run('dmsetup', ['ls']);
  const names = stdout.split('\n').map((line) => line.split(/\s/)[0] ?? '');
  for (const prefix of ['gate-disk', 'gate-thin', 'gate-filler', 'gate-pool', 'gate-error']) {
    for (const name of names.filter((found) => found.startsWith(prefix))) await dmsetup('remove', '--retry', name);
  }
}

/** Whether legs hold the same data, by a look at their memory. */
export function sameData(legs: readonly number[], offsetBytes: number, lengthBytes: number): boolean {
  const [first, ...others] = legs.map((leg) => readDevice(diskMemory(leg), offsetBytes, lengthBytes));
  return first !== undefined && others.every((other) => other.equals(first));
}
