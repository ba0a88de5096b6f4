import { bitmapBytes, bitmapChunkBytes } from '../../../lib/api/names.ts';
import type { DecodedLeg } from '../../../lib/host/leg-header.ts';

/*
 * How the bitmap in front of a leg is laid out: what one bit stands for depends on the array's size, and grows with it. So each
 * leg's header says for which size it is (`sizes`), and during a growth, which the kernel does in one step at a moment that
 * nobody can write down, for which two.
 */

/** The sizes for which a leg's bitmap may be laid out; undefined: nothing is known of it. */
export function sizesOf(decoded: DecodedLeg | undefined, freshBytes: number): readonly number[] | undefined {
  switch (decoded?.state) {
    case 'record':
      return decoded.header.sizes;
    case 'blank':
      // Never started from: its bitmap is all zeros.
      return [freshBytes];
    default:
      return undefined;
  }
}

/** The size with which an array starts: the largest that one of its legs may have had; what is to be larger grows later. */
export function startBytes(legs: readonly (readonly number[] | undefined)[], wantedBytes: number): number {
  const known = legs.flatMap((sizes) => sizes ?? [wantedBytes]);
  return known.length === 0 ? wantedBytes : Math.max(...known);
}

/**
 * A leg's bitmap as an array of `sizeBytes` would have it. It says of too much rather than of too little that it may differ:
 * with several sizes it is read in each way, and what lies between them counts as different; with none, everything does.
 */
export function bitmapFor(sizeBytes: number, sizes: readonly number[] | undefined, bitmap: Buffer): Buffer {
  const all = Buffer.alloc(bitmapBytes(sizeBytes));
  const chunkBytes = bitmapChunkBytes(sizeBytes);
  const chunks = Math.ceil(sizeBytes / chunkBytes);
  const set = (fromBytes: number, toBytes: number): void => {
    const last = Math.min(chunks, Math.ceil(toBytes / chunkBytes));
    for (let bit = Math.floor(fromBytes / chunkBytes); bit < last; bit++) {
      all[bit >> 3] = (all[bit >> 3] ?? 0) | (1 << (bit & 7));
    }
  };
  if (sizes === undefined || sizes.length === 0) set(0, sizeBytes);
  for (const each of sizes ?? []) {
    const eachBytes = bitmapChunkBytes(each);
    const count = Math.ceil(each / eachBytes);
    for (let bit = 0; bit < count; bit++) {
      if (((bitmap[bit >> 3] ?? 0) >> (bit & 7)) & 1) set(bit * eachBytes, (bit + 1) * eachBytes);
    }
  }
  if (sizes !== undefined && sizes.length > 0) set(Math.min(...sizes), Math.min(sizeBytes, Math.max(...sizes)));
  return all;
}

/** How much of a leg is to be read to know its bitmap, whatever its layout. */
export function bitmapReadBytes(sizeBytes: number, sizes: readonly number[] | undefined): number {
  return Math.max(bitmapBytes(sizeBytes), ...(sizes ?? []).map(bitmapBytes));
}
