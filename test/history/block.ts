import { crc32 } from 'node:zlib';
import { INITIAL, TORN } from './history.ts';

/** Size of the blocks that the writer writes and that must never be torn. */
export const BLOCK_BYTES = 4096;

const ZEROS = Buffer.alloc(BLOCK_BYTES);

/** Fills a block with its value and place, all over, and a checksum at its end. */
export function fillBlock(block: Buffer, value: number, at: number): Buffer {
  for (let offset = 0; offset < BLOCK_BYTES; offset += 16) {
    block.writeDoubleLE(value, offset);
    block.writeDoubleLE(at, offset + 8);
  }
  block.writeUInt32LE(crc32(block.subarray(0, BLOCK_BYTES - 4)), BLOCK_BYTES - 4);
  return block;
}

/** The value that a block holds: INITIAL for one that is all zeros, TORN for one that isn't whole or belongs elsewhere. */
export function readBlock(block: Buffer, at: number): number {
  const right = block.readUInt32LE(BLOCK_BYTES - 4) === crc32(block.subarray(0, BLOCK_BYTES - 4));
  if (right) return block.readDoubleLE(8) === at ? block.readDoubleLE(0) : TORN;
  return block.equals(ZEROS) ? INITIAL : TORN;
}
