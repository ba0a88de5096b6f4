import { closeSync, constants, openSync, readSync } from 'node:fs';
import { BLOCK_BYTES, readBlock } from '../../history/block.ts';

/** What TypeScript's library for Node leaves out. */
declare const WebAssembly: { readonly Memory: new (options: { initial: number }) => { readonly buffer: ArrayBuffer } };

/**
 * Memory that begins at a page: O_DIRECT wants its buffers aligned, and Node's own begin 16 bytes into a page. The memory
 * of a WebAssembly instance is whole pages.
 */
export function alignedBuffer(bytes: number): Buffer {
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65_536) });
  return Buffer.from(memory.buffer, 0, bytes);
}

const PIECE_BYTES = 1024 * 1024;

/** A range of a device, past every cache. Offset and length: multiples of 4096 bytes. */
export function readDevice(device: string, offsetBytes: number, lengthBytes: number): Buffer {
  const piece = alignedBuffer(Math.min(PIECE_BYTES, lengthBytes));
  const all = Buffer.alloc(lengthBytes);
  const fd = openSync(device, constants.O_RDONLY | constants.O_DIRECT);
  try {
    for (let at = 0; at < lengthBytes;) {
      const length = Math.min(piece.length, lengthBytes - at);
      const got = readSync(fd, piece, 0, length, offsetBytes + at);
      if (got === 0) throw new Error(`${device} ends at ${offsetBytes + at}`);
      piece.copy(all, at, 0, got);
      at += got;
    }
  } finally {
    closeSync(fd);
  }
  return all;
}

/** By block of a device's range, the number that the writer left there; 0 where it never wrote, -1 for a torn block. */
export function numbersOn(device: string, offsetBytes: number, blocks: number): number[] {
  const data = readDevice(device, offsetBytes, blocks * BLOCK_BYTES);
  return Array.from({ length: blocks }, (_, at) =>
    readBlock(data.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES), at),
  );
}

/** The numbers of the chunks whose bit is set in a bitmap without a superblock: one bit a chunk, from the lowest. */
export function setBits(bitmap: Buffer): number[] {
  const found: number[] = [];
  for (const [byte, value] of bitmap.entries()) {
    for (let bit = 0; value !== 0 && bit < 8; bit++) if ((value >> bit) & 1) found.push(byte * 8 + bit);
  }
  return found;
}
