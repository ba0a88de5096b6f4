import { crc32 } from 'node:zlib';

/** Size of the blocks that the writer writes and that must never be torn. */
export const BLOCK_BYTES = 4096;

/** Fills a block with its number and place, all over, and a checksum at its end. */
export function fillBlock(block: Buffer, number: number, at: number): Buffer {
  for (let offset = 0; offset < BLOCK_BYTES; offset += 16) {
    block.writeDoubleLE(number, offset);
    block.writeDoubleLE(at, offset + 8);
  }
  block.writeUInt32LE(crc32(block.subarray(0, BLOCK_BYTES - 4)), BLOCK_BYTES - 4);
  return block;
}

/** The number that a block holds, or -1 when it is torn or belongs elsewhere. */
export function readBlock(block: Buffer, at: number): number {
  const right = block.readUInt32LE(BLOCK_BYTES - 4) === crc32(block.subarray(0, BLOCK_BYTES - 4));
  return right && block.readDoubleLE(8) === at ? block.readDoubleLE(0) : -1;
}

/** One acknowledged write. */
export interface Ack {
  readonly number: number;
  readonly at: number;
  readonly startMs: number;
  readonly endMs: number;
}

/** Parses the writer's log; a last line that was cut off counts as not written. */
export function parseAcks(log: string): Ack[] {
  return log
    .slice(0, log.lastIndexOf('\n') + 1)
    .split('\n')
    .map((line) => /^(\d+) (\d+) (\d+) (\d+)$/.exec(line))
    .filter((match) => match !== null)
    .map((match) => ({
      number: Number(match[1]),
      at: Number(match[2]),
      startMs: Number(match[3]),
      endMs: Number(match[4]),
    }));
}

export interface Verdict {
  readonly acknowledged: number;
  /** Blocks that hold less than what was acknowledged for them. */
  readonly lost: readonly { readonly at: number; readonly acknowledged: number; readonly found: number }[];
  readonly torn: readonly number[];
  /** Blocks that hold a number that was never acknowledged. At most the one write that was under way may. */
  readonly unacknowledged: number;
}

/**
 * Holds what the volume contains against what was acknowledged: each block must hold its last acknowledged write, or a
 * later one that was under way when the writer died.
 * @param numbers by block, the number it holds (-1: torn), as `writer dump` prints them
 */
export function verify(acks: readonly Ack[], numbers: readonly number[]): Verdict {
  const last = new Map<number, number>();
  for (const ack of acks) last.set(ack.at, Math.max(ack.number, last.get(ack.at) ?? 0));
  const highest = acks.reduce((most, ack) => Math.max(most, ack.number), 0);
  const torn = numbers.flatMap((found, at) => (found < 0 ? [at] : []));
  const lost = [...last]
    .map(([at, acknowledged]) => ({ at, acknowledged, found: numbers[at] ?? -1 }))
    .filter(({ acknowledged, found }) => found < acknowledged);
  const unacknowledged = numbers.filter((found) => found > highest).length;
  return { acknowledged: acks.length, lost, torn, unacknowledged };
}

/** The longest time that one write took. */
export function longestStallMs(acks: readonly Ack[]): number {
  return acks.reduce((longest, ack) => Math.max(longest, ack.endMs - ack.startMs), 0);
}

/** Bytes of the distinct chunks that writes touched, for a file that lies in one piece. */
export function dirtyBytes(acks: readonly Ack[], chunkBytes: number): number {
  const chunks = new Set(acks.map((ack) => Math.floor((ack.at * BLOCK_BYTES) / chunkBytes)));
  return chunks.size * chunkBytes;
}
