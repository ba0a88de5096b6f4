import { constants } from 'node:fs';
import { access, open, readFile, realpath, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { Exec } from './exec.ts';
import { listDirectory, readAttribute } from './sysfs.ts';

const MIB = 1024 * 1024;

/** What was found out about a disk before anything is written to it. */
export type DiskState =
  | { readonly state: 'missing'; readonly why: string }
  /** `found`: everything that speaks against it, in words for people. */
  | { readonly state: 'occupied'; readonly found: readonly string[] }
  | { readonly state: 'empty'; readonly sizeBytes: number };

/** The port to block devices: looking at disks, and erasing volumes. */
export interface BlockDevices {
  /** Looks whether a disk may be taken. Writes nothing. */
  probe(device: string): Promise<DiskState>;
  /** The kernel's own path of a device, e.g. `/dev/vdb`; undefined when there is none. */
  resolve(device: string): Promise<string | undefined>;
  /** The `/dev` path of a device number. @throws when there is no such device. */
  pathOf(devNo: string): Promise<string>;
  /** All devices that LVM may look at: no legs, no arrays of ours, no logical volumes. */
  scannable(): Promise<readonly string[]>;
  /** Gives all blocks back (BLKDISCARD). @throws ExecError where the device can't. */
  discard(device: string): Promise<void>;
  /** Writes zeros over a range; a thin volume allocates it. */
  zero(device: string, offsetBytes: number, lengthBytes: number): Promise<void>;
  /** Makes durable what was written to a device. */
  flush(device: string): Promise<void>;
  /** Bytes of a thin volume that are mapped to real blocks (kernel: Documentation/admin-guide/device-mapper). */
  mappedBytes(devNo: string): Promise<number>;
  /** Whether anybody holds a device-mapper device open; without a look at a disk, so that a hanging one can't delay it. */
  isOpen(devNo: string): Promise<boolean>;
  /** The first bytes of a device, past every cache. @param lengthBytes a multiple of 4096 */
  readStart(device: string, lengthBytes: number): Promise<Buffer>;
  /** The offset of a byte that isn't zero among samples of the device, or undefined when all read as zeros. */
  firstNonZero(device: string): Promise<number | undefined>;
}

/** The start of every NQN of ours; such namespaces are legs, not disks. */
const OUR_NQN = 'nqn.2026-01.dev.holdfast:';

/** The offset of the first byte of `buffer` that isn't zero, or -1. */
export function indexOfNonZero(buffer: Uint8Array): number {
  // Comparing with zeros is a memcmp; the byte loop runs only over a buffer that is known to differ.
  if (Buffer.compare(buffer, Buffer.alloc(buffer.length)) === 0) return -1;
  return buffer.findIndex((byte) => byte !== 0);
}

/**
 * Where to read when a device is sampled: the first and the last MiB, and `count` pieces of 64 KiB evenly between.
 * All in bytes; never beyond the end.
 */
export function sampleRanges(sizeBytes: number, count: number): { offsetBytes: number; lengthBytes: number }[] {
  const edge = Math.min(MIB, sizeBytes);
  const ranges = [{ offsetBytes: 0, lengthBytes: edge }];
  const piece = 64 * 1024;
  const step = Math.floor((sizeBytes - 2 * edge) / (count + 1));
  const between = step >= piece ? count : 0;
  for (let index = 1; index <= between; index++) {
    ranges.push({ offsetBytes: edge + Math.floor((index * step) / 4096) * 4096, lengthBytes: piece });
  }
  if (sizeBytes > edge) ranges.push({ offsetBytes: sizeBytes - edge, lengthBytes: edge });
  return ranges;
}

/** The signatures in the output of `wipefs --json`, e.g. `ext4 filesystem "data"`. wipefs prints nothing when there is none. */
export function parseSignatures(json: string): string[] {
  if (json.trim() === '') return [];
  const parsed = JSON.parse(json) as { signatures?: readonly Readonly<Record<string, string | null>>[] };
  return (parsed.signatures ?? []).map((signature) => {
    const label = signature['label'] ? ` "${signature['label']}"` : '';
    const uuid = signature['uuid'] ? ` (UUID ${signature['uuid']})` : '';
    return `${signature['type'] ?? 'unknown'} signature at ${signature['offset'] ?? '?'}${label}${uuid}`;
  });
}

/**
 * The mapped bytes in a line of `dmsetup status` of a thin volume: `<start> <length> thin <mapped sectors> <highest>`.
 * @throws when the line is no such line; a volume in `Fail` state gives no answer and so throws too.
 */
export function parseThinStatus(line: string): number {
  const match = /^\s*(?:\S+:\s+)?\d+ \d+ thin (\d+) (?:\d+|-)\s*$/.exec(line);
  if (match === null) throw new Error(`dmsetup's status of a thin volume can't be understood: "${line.trim()}"`);
  return Number(match[1]) * 512;
}

/** The number in the output of `dmsetup info --columns --options open`. @throws when it is none. */
export function parseOpenCount(text: string): number {
  if (!/^\s*\d+\s*$/.test(text)) throw new Error(`dmsetup's open count can't be understood: "${text.trim()}"`);
  return Number(text);
}

function deviceArgs(devNo: string): string[] {
  const [major = '', minor = ''] = devNo.split(':');
  return ['--major', major, '--minor', minor];
}

/** Mount points of a device number in the text of `/proc/<pid>/mountinfo` (proc(5)). */
export function mountsOf(mountinfo: string, devNo: string): string[] {
  return mountinfo
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields[2] === devNo)
    .map((fields) => fields[4] ?? '?');
}

async function readable(file: string): Promise<string> {
  return await readFile(file, 'utf8').catch(() => '');
}

async function readRange(handle: FileHandle, offsetBytes: number, lengthBytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(lengthBytes);
  let done = 0;
  while (done < lengthBytes) {
    const { bytesRead } = await handle.read(buffer, done, lengthBytes - done, offsetBytes + done);
    if (bytesRead === 0) throw new Error(`the device ends at ${offsetBytes + done}, ${lengthBytes - done} bytes early`);
    done += bytesRead;
  }
  return buffer;
}

async function nonZeroAt(device: string, sizeBytes: number, samples: number): Promise<number | undefined> {
  // O_DIRECT would need aligned buffers; instead the caller drops what the page cache holds (see flushBuffers).
  const handle = await open(device, constants.O_RDONLY);
  try {
    for (const range of sampleRanges(sizeBytes, samples)) {
      const at = indexOfNonZero(await readRange(handle, range.offsetBytes, range.lengthBytes));
      if (at >= 0) return range.offsetBytes + at;
    }
    return undefined;
  } finally {
    await handle.close();
  }
}

/** Whether the device is claimed: O_EXCL on a block device fails with EBUSY while it is mounted, a PV, in md ... (open(2)). */
async function isClaimed(device: string): Promise<boolean> {
  try {
    await (await open(device, constants.O_RDONLY | constants.O_EXCL)).close();
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return true;
    throw error;
  }
}

async function resolve(device: string): Promise<string | undefined> {
  return await realpath(device).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
}

async function sizeOf(device: string): Promise<number> {
  return Number(readAttribute(`/sys/class/block/${path.basename(device)}/size`)) * 512;
}

/** Everything in sysfs and /proc that says the disk is in use, in words. */
async function usesOf(name: string, devNo: string): Promise<string[]> {
  const found: string[] = [];
  const entries = listDirectory(`/sys/class/block/${name}`);
  const partitions = entries.filter((entry) => entry.startsWith(name));
  if (partitions.length > 0) found.push(`partitions ${partitions.join(', ')}`);
  for (const holder of listDirectory(`/sys/class/block/${name}/holders`)) {
    const mapped = readAttribute(`/sys/class/block/${holder}/dm/name`);
    found.push(`in use by ${holder}${mapped === undefined ? '' : ` (${mapped})`}`);
  }
  // In a container /proc/1 is the host's first process only with hostPID; the claim check below covers the rest.
  const mounts = [await readable('/proc/self/mountinfo'), await readable('/proc/1/mountinfo')];
  const points = new Set(mounts.flatMap((mountinfo) => mountsOf(mountinfo, devNo)));
  for (const point of points) found.push(`mounted on ${point}`);
  if ((await readable('/proc/swaps')).split('\n').some((line) => line.startsWith(`/dev/${name} `))) {
    found.push('in use as swap');
  }
  return found;
}

async function isScannable(name: string): Promise<boolean> {
  const at = `/sys/class/block/${name}`;
  if (/^(ram|sr|fd|zram|nbd)\d+/.test(name) || name.startsWith('md_hf_')) return false;
  if (Number(readAttribute(`${at}/size`)) === 0) return false;
  if (readAttribute(`${at}/dm/uuid`)?.startsWith('LVM-') === true) return false;
  if (readAttribute(`${at}/dm/name`)?.startsWith('hf-valve-') === true) return false;
  const nqn = readAttribute(`${at}/device/subsysnqn`);
  return readAttribute(`${at}/hidden`) !== '1' && nqn?.startsWith(OUR_NQN) !== true;
}

/** The real port. */
export function createBlockDevices(exec: Exec): BlockDevices {
  const probe = async (device: string): Promise<DiskState> => {
    const real = await resolve(device);
    if (real === undefined) return { state: 'missing', why: `${device} does not exist` };
    if (!(await stat(real)).isBlockDevice()) return { state: 'missing', why: `${device} is not a block device` };
    const name = path.basename(real);
    const devNo = readAttribute(`/sys/class/block/${name}/dev`);
    const sizeBytes = await sizeOf(real);
    if (devNo === undefined || sizeBytes === 0) return { state: 'missing', why: `${device} has no medium` };
    if (readAttribute(`/sys/class/block/${name}/ro`) === '1') {
      return { state: 'occupied', found: ['it is read-only'] };
    }
    const found = await usesOf(name, devNo);
    const listed = await exec('wipefs', ['--json', '--no-act', real]);
    found.push(...parseSignatures(listed.stdout));
    if (found.length === 0 && (await isClaimed(real))) found.push('the kernel says that it is in use (EBUSY)');
    if (found.length === 0) {
      const at = await nonZeroAt(real, sizeBytes, 0);
      if (at !== undefined) found.push(`unknown data: the byte at offset ${at} is not zero`);
    }
    return found.length > 0 ? { state: 'occupied', found } : { state: 'empty', sizeBytes };
  };

  return {
    probe,
    resolve,
    pathOf: async (devNo) => {
      const link = await resolve(`/sys/dev/block/${devNo}`);
      if (link === undefined) throw new Error(`the kernel has no block device ${devNo}`);
      const node = `/dev/${path.basename(link)}`;
      await access(node);
      return node;
    },
    scannable: async () => {
      const names = listDirectory('/sys/class/block');
      const usable = await Promise.all(names.map(async (name) => ((await isScannable(name)) ? [`/dev/${name}`] : [])));
      return usable.flat().sort();
    },
    discard: async (device) => {
      await exec('blkdiscard', ['--force', device], { timeoutMs: 10 * 60_000 });
    },
    zero: async (device, offsetBytes, lengthBytes) => {
      const range = ['--offset', String(offsetBytes), '--length', String(lengthBytes)];
      await exec('blkdiscard', ['--force', '--zeroout', ...range, device], { timeoutMs: 10 * 60_000 });
    },
    flush: async (device) => {
      await exec('sync', ['--data', device]);
    },
    mappedBytes: async (devNo) => {
      const { stdout } = await exec('dmsetup', ['status', '--noflush', ...deviceArgs(devNo)]);
      return parseThinStatus(stdout);
    },
    isOpen: async (devNo) => {
      const columns = ['--columns', '--noheadings', '--options', 'open'];
      const { stdout } = await exec('dmsetup', ['info', ...columns, ...deviceArgs(devNo)]);
      return parseOpenCount(stdout) > 0;
    },
    readStart: async (device, lengthBytes) => {
      const args = [`if=${device}`, 'bs=4096', `count=${lengthBytes / 4096}`, 'iflag=direct', 'status=none'];
      return Buffer.from((await exec('dd', args, { encoding: 'latin1' })).stdout, 'latin1');
    },
    firstNonZero: async (device) => {
      // BLKFLSBUF: without it the samples could come from the page cache instead of the volume.
      await exec('blockdev', ['--flushbufs', device]);
      return await nonZeroAt(device, await sizeOf(device), 32);
    },
  };
}
