import { describe, expect, test } from '@jest/globals';
import { bitmapBytes, bitmapChunkBytes } from '../../../lib/api/names.ts';
import { bitmapFor, bitmapReadBytes, sizesOf, startBytes } from './layout.ts';

const GIB = 2 ** 30;
const TIB = 2 ** 40;

const bits = (bitmap: Buffer): number[] =>
  [...bitmap].flatMap((byte, at) =>
    Array.from({ length: 8 }, (_, bit) => ((byte >> bit) & 1 ? at * 8 + bit : -1)).filter((bit) => bit >= 0),
  );

function bitmapOf(sizeBytes: number, ...set: number[]): Buffer {
  const bitmap = Buffer.alloc(bitmapBytes(sizeBytes));
  for (const bit of set) bitmap[bit >> 3] = (bitmap[bit >> 3] ?? 0) | (1 << (bit & 7));
  return bitmap;
}

describe('a bitmap that was laid out for the size that the array has', () => {
  test('is taken as it is', () => {
    expect(bits(bitmapFor(GIB, [GIB], bitmapOf(GIB, 0, 7, 100, 16_383)))).toEqual([0, 7, 100, 16_383]);
    expect(bits(bitmapFor(GIB, [GIB], Buffer.alloc(0)))).toEqual([]);
  });
});

describe('a bitmap that may be laid out for another size', () => {
  // Given an array that died while it was made larger, so that nobody can say whether the kernel had done it
  // Then each bit is read in both ways, and all that is new counts as different.
  test('is read for both, and never says less than either', () => {
    const [from, to] = [2 * GIB, 4 * GIB];
    expect(bitmapChunkBytes(to)).toBe(2 * bitmapChunkBytes(from));
    const found = new Set(bits(bitmapFor(to, [from, to], bitmapOf(to, 10))));
    expect([5, 10].every((bit) => found.has(bit))).toBe(true);
    expect([...found].filter((bit) => bit < 16_384).sort((a, b) => a - b)).toEqual([5, 10]);
    expect([...found].filter((bit) => bit >= 16_384)).toHaveLength(16_384);
  });

  test.each([
    [GIB, GIB + 2 ** 20],
    [3 * GIB, 3 * TIB],
    [TIB, 5 * TIB],
  ])('covers every byte of what was dirty (%i to %i)', (from, to) => {
    const dirty = [0, 1, 777, Math.ceil(from / bitmapChunkBytes(from)) - 1];
    const found = new Set(bits(bitmapFor(to, [from, to], bitmapOf(from, ...dirty))));
    for (const bit of dirty) {
      for (const at of [bit * bitmapChunkBytes(from), (bit + 1) * bitmapChunkBytes(from) - 1]) {
        expect(found.has(Math.floor(at / bitmapChunkBytes(to)))).toBe(true);
      }
    }
    expect(found.has(Math.floor((to - 1) / bitmapChunkBytes(to)))).toBe(true);
    expect(Math.max(...found)).toBeLessThan(Math.ceil(to / bitmapChunkBytes(to)));
  });

  test('says that all may differ when nothing is known of it', () => {
    expect(bits(bitmapFor(GIB, undefined, Buffer.alloc(0)))).toHaveLength(GIB / bitmapChunkBytes(GIB));
  });
});

describe('an array starts', () => {
  const record = (sizes?: readonly number[]) => {
    const header = {
      lineage: 1,
      epoch: 1,
      generation: 1,
      inSync: [],
      volume: '',
      volumeUid: '',
      replica: '',
      replicaUid: '',
    };
    return { state: 'record', sequence: 0, header: sizes === undefined ? header : { ...header, sizes } } as const;
  };

  test('with the size that its legs say it had, whatever it is to have', () => {
    expect(startBytes([sizesOf(record([GIB]), 2 * GIB), sizesOf(record([GIB]), 2 * GIB)], 2 * GIB)).toBe(GIB);
    // An API server that was restored from before the growth.
    expect(startBytes([sizesOf(record([2 * GIB]), GIB)], GIB)).toBe(2 * GIB);
  });

  test('with the larger one of two that it may have had', () => {
    expect(startBytes([sizesOf(record([GIB, 2 * GIB]), 3 * GIB), sizesOf(record([GIB]), 3 * GIB)], 3 * GIB)).toBe(
      2 * GIB,
    );
  });

  test('with what it is to have when nobody has ever started it', () => {
    expect(startBytes([sizesOf({ state: 'blank' }, GIB), sizesOf({ state: 'blank' }, GIB)], GIB)).toBe(GIB);
    expect(sizesOf(record(), GIB)).toBeUndefined();
    expect(startBytes([undefined], GIB)).toBe(GIB);
  });
});

test('as much of a leg is read as its bitmap may take', () => {
  expect(bitmapReadBytes(3 * TIB, [TIB])).toBe(bitmapBytes(3 * TIB));
  expect(bitmapReadBytes(TIB, [3 * TIB])).toBe(bitmapBytes(3 * TIB));
});
