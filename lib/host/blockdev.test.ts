import { describe, expect, test } from '@jest/globals';
import {
  indexOfNonZero,
  mountsOf,
  parseOpenCount,
  parseSignatures,
  parseThinStatus,
  sampleRanges,
} from './blockdev.ts';

describe('signatures', () => {
  test('of an LVM disk (wipefs of util-linux 2.38.1)', () => {
    const json = `{
   "signatures": [
      {
         "device": "vdc",
         "offset": "0x218",
         "type": "LVM2_member",
         "uuid": "2dr6IY-qGoz-yadI-cVDd-aqch-D1dY-2E5Re7",
         "label": null
      }
   ]
}`;
    expect(parseSignatures(json)).toEqual([
      'LVM2_member signature at 0x218 (UUID 2dr6IY-qGoz-yadI-cVDd-aqch-D1dY-2E5Re7)',
    ]);
  });

  test('none: wipefs prints nothing', () => {
    expect(parseSignatures('')).toEqual([]);
  });
});

describe('dmsetup', () => {
  test.each([
    ['0 139264 thin 0 -', 0],
    ['0 139264 thin 2048 139263', 1_048_576],
    ['hf--main-hf--3e34: 0 139264 thin 128 127', 65_536],
  ])('status %s', (line, bytes) => {
    expect(parseThinStatus(line)).toBe(bytes);
  });

  test.each([['0 139264 thin Fail'], ['0 139264 linear'], ['']])('status %p proves nothing', (line) => {
    expect(() => parseThinStatus(line)).toThrow(/can't be understood/);
  });

  test('open count', () => {
    expect(parseOpenCount('   2\n')).toBe(2);
    expect(() => parseOpenCount('Device does not exist.')).toThrow(/can't be understood/);
  });
});

test('mount points by device number', () => {
  const mountinfo = `22 1 254:0 / / rw,relatime - erofs /dev/vda rw
36 22 254:33 / /mnt/data rw,relatime shared:1 - ext4 /dev/vdc1 rw
37 22 254:33 /sub /mnt/other rw - ext4 /dev/vdc1 rw
`;
  expect(mountsOf(mountinfo, '254:33')).toEqual(['/mnt/data', '/mnt/other']);
  expect(mountsOf(mountinfo, '254:3')).toEqual([]);
});

describe('samples', () => {
  test.each([[512], [1024 * 1024], [3 * 1024 * 1024], [71_303_168], [10 * 1024 ** 4]])(
    'of %d bytes stay inside',
    (size) => {
      const ranges = sampleRanges(size, 32);
      expect(ranges[0]?.offsetBytes).toBe(0);
      for (const range of ranges) expect(range.offsetBytes + range.lengthBytes).toBeLessThanOrEqual(size);
      const last = ranges.at(-1);
      expect((last?.offsetBytes ?? 0) + (last?.lengthBytes ?? 0)).toBe(size);
    },
  );

  test('find the one byte that is not zero', () => {
    const buffer = Buffer.alloc(70_000);
    expect(indexOfNonZero(buffer)).toBe(-1);
    buffer[69_999] = 1;
    expect(indexOfNonZero(buffer)).toBe(69_999);
  });
});
