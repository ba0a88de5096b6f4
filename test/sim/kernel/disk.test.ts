import { describe, expect, test } from '@jest/globals';
import { Bitmap } from './bitmap.ts';
import { Content } from './disk.ts';
import { Pages } from './pages.ts';

describe('a disk with a volatile cache', () => {
  const survivors = (prepare: (content: Content) => void): Set<number> => {
    const found = new Set<number>();
    for (let fraction = 0; fraction < 1; fraction += 0.1) {
      const content = new Content(true);
      prepare(content);
      content.losePower(() => fraction);
      found.add(content.read(7));
    }
    return found;
  };

  test('keeps what was flushed, and any state that came after', () => {
    const prepare = (content: Content): void => {
      content.write(7, 1, false);
      content.flush();
      content.write(7, 2, false);
      content.write(7, 3, false);
    };
    expect(survivors(prepare)).toEqual(new Set([1, 2, 3]));
  });

  test('keeps a write that was forced to the medium', () => {
    const prepare = (content: Content): void => {
      content.write(7, 1, false);
      content.write(7, 2, true);
    };
    expect(survivors(prepare)).toEqual(new Set([2]));
  });
});

describe("md's bitmap", () => {
  const bits = (bitmap: Bitmap): number[] =>
    [0, 1, 2, 3].filter((index) => Math.floor(bitmap.page / 2 ** index) % 2 === 1);

  test('loses a bit at the second look after the last write, but not one that a member lacks', () => {
    const bitmap = new Bitmap(64, 16);
    for (const index of [1, 3]) bitmap.startWrite(index);
    bitmap.endWrite(1, true);
    bitmap.endWrite(3, false);
    expect(bitmap.age()).toBe(true);
    expect(bits(bitmap)).toEqual([1, 3]);
    bitmap.age();
    expect(bits(bitmap)).toEqual([3]);
    bitmap.age();
    expect(bits(bitmap)).toEqual([3]);
  });

  test('keeps a chunk to be copied when its copy failed, or when another member stays away', () => {
    const bitmap = new Bitmap(64, 16);
    bitmap.setBits([0, 1, 2]);
    bitmap.startCopy(0, false);
    bitmap.endCopy(0, false);
    bitmap.startCopy(1, false);
    bitmap.endCopy(1, true);
    bitmap.startCopy(2, true);
    bitmap.endCopy(2, false);
    expect([0, 1, 2].map((index) => bitmap.isNeeded(index))).toEqual([false, true, true]);
  });

  test('is loaded as clean or as to be copied, as md is told', () => {
    for (const needed of [true, false]) {
      const bitmap = new Bitmap(64, 16);
      bitmap.load(0b1010, needed);
      expect([1, 3].map((index) => bitmap.isNeeded(index))).toEqual([needed, needed]);
      for (let look = 0; look < 3; look += 1) bitmap.age();
      expect(bits(bitmap)).toEqual(needed ? [1, 3] : []);
    }
  });
});

test('pages give back their bytes; another number is the bits of a bitmap', () => {
  const pages = new Pages();
  const [number = 0] = pages.keep(Buffer.from('HOLDFAST'));
  expect(pages.bytes(number).subarray(0, 8).toString()).toBe('HOLDFAST');
  expect([...pages.bytes(2 ** 33 + 1).subarray(0, 6)]).toEqual([1, 0, 0, 0, 2, 0]);
  expect(pages.bytes(0).every((byte) => byte === 0)).toBe(true);
});
