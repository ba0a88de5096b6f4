import { bitmapChunkBytes, LEG_HEADER_BYTES } from '../../../lib/api/names.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { createMd } from '../../../lib/host/md.ts';
import { createNvmeHost } from '../../../lib/host/nvme.ts';
import { blockStatPath, parseBlockStat } from '../../../lib/host/sysfs.ts';
import { createValves } from '../../../lib/host/valve.ts';
import { exec, sysfs } from './kill.ts';

/**
 * The gate by itself: legs (nvmet over RAM disks, NVMe/TCP over the guest's loopback), valves and an md array, in one
 * kernel, without any of our programs. A leg is known by its number, 1 to 4.
 */

export const ARRAY = 'md_gate';
export const DEVICE = `/dev/${ARRAY}`;
export const BLOCK = 4096;
const MD = `/sys/block/${ARRAY}/md`;
/** The product's ports, over a machine on which a program can be killed (kill.ts). */
export const md = createMd(sysfs);
export const nvme = createNvmeHost(sysfs);
export const valves = createValves(sysfs, exec);

export const valveOf = (leg: number): string => `gate-valve-${leg}`;

/** What an array rests on. */
export interface Rig {
  readonly legs: readonly number[];
  readonly sizeBytes: number;
  /** Without: md stands on the namespaces themselves. */
  readonly valves: boolean;
  /** Seconds; -1 is off. */
  readonly fastIoFailSeconds: number;
  readonly keepAliveSeconds: number;
  /** md's bad-block log for external metadata: a write error is noted there, and waits, before it costs the leg. */
  readonly badBlockLog: boolean;
  /** Without: a kernel that has no place for one. A leg that comes back is copied whole then. */
  readonly bitmap: boolean;
}

export const DEFAULT_RIG: Rig = {
  legs: [1, 2],
  sizeBytes: 16 * 1024 ** 2,
  valves: true,
  fastIoFailSeconds: 1,
  // A busy machine's pauses are no loss of a leg.
  keepAliveSeconds: 5,
  badBlockLog: true,
  bitmap: true,
};

export const blocksOf = (rig: Rig): number => rig.sizeBytes / BLOCK;
export const chunkBytesOf = (rig: Rig): number => bitmapChunkBytes(rig.sizeBytes);
export const legBytes = (rig: Rig): number => LEG_HEADER_BYTES + rig.sizeBytes;

/** Waits until something is so. Throws with what it waited for. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}; ${JSON.stringify(shown())}`);
    await sleep(20);
  }
}

/** Repeats what the kernel refuses (EBUSY, mostly) until it is done. Throws with what it waited for. */
export async function untilDone(what: string, work: () => Promise<unknown>): Promise<void> {
  await until(what, () =>
    work().then(
      () => true,
      () => undefined,
    ),
  );
}

/** The array as JSON shows it. */
export function shown(): unknown {
  const array = md.readArray(ARRAY);
  return array && { ...array, members: array.members.map((member) => ({ ...member, state: [...member.state] })) };
}

export const attribute = (name: string): string | undefined => sysfs.readAttribute(`${MD}/${name}`);
export const setAttribute = (name: string, value: string): Promise<void> =>
  sysfs.writeAttribute(`${MD}/${name}`, value);

/** Requests that a device was given and has not ended. */
export const inFlight = (device: string): number =>
  parseBlockStat(sysfs.readAttribute(blockStatPath(device)) ?? '').inFlight;

export const writtenKib = (device: string): number =>
  parseBlockStat(sysfs.readAttribute(blockStatPath(device)) ?? '').writtenBytes / 1024;

export const deviceBytes = (): number => Number(sysfs.readAttribute(`/sys/block/${ARRAY}/size`)) * 512;
