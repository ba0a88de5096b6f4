import { describe, expect, test } from '@jest/globals';
import type { VolumeUse } from '../validation.ts';
import { fits, sizeFor } from './capacity.ts';

const MIB = 1024n * 1024n;
const ext4: readonly VolumeUse[] = [{ kind: 'mount', access: 'writer', fsType: undefined, mountFlags: [] }];
const xfs: readonly VolumeUse[] = [{ kind: 'mount', access: 'writer', fsType: 'xfs', mountFlags: [] }];
const block: readonly VolumeUse[] = [{ kind: 'block', access: 'writer' }];

const range = (requiredBytes: bigint, limitBytes = 0n) => ({ requiredBytes, limitBytes });

describe('sizeFor', () => {
  test.each([
    ['nothing asked: 1 GiB', undefined, ext4, 1024],
    ['whole MiB stay', range(64n * MIB), ext4, 64],
    ['the rest of a MiB is rounded up', range(64n * MIB + 1n), ext4, 65],
    ['a limit that leaves room', range(64n * MIB + 1n, 65n * MIB), ext4, 65],
    ['a limit alone below the default', range(0n, 100n * MIB + 5n), ext4, 100],
    ['a limit alone above the default', range(0n, 5000n * MIB), ext4, 1024],
    ['one byte of block volume', range(1n), block, 1],
    ['the smallest xfs', range(300n * MIB), xfs, 300],
  ])('%s', (_, asked, uses, mib) => {
    expect(sizeFor(asked, uses)).toBe(mib * 1024 * 1024);
  });

  test.each([
    ['size 0', range(0n, 0n), ext4, 'INVALID_ARGUMENT', 'required_bytes is 0: expected a size above 0'],
    ['a negative size', range(-1n), ext4, 'INVALID_ARGUMENT', 'required_bytes is -1'],
    ['a negative limit', range(1n, -5n), ext4, 'INVALID_ARGUMENT', 'limit_bytes is -5'],
    ['a limit below the size', range(2n * MIB, MIB), ext4, 'INVALID_ARGUMENT', 'expected at least required_bytes'],
    ['no whole MiB in between', range(MIB + 1n, MIB + 2n), block, 'OUT_OF_RANGE', 'no whole number of MiB'],
    ['a limit below 1 MiB', range(0n, 1000n), block, 'OUT_OF_RANGE', 'below the smallest volume'],
    ['more than 64 TiB', range(64n * 1024n * 1024n * MIB + 1n), ext4, 'OUT_OF_RANGE', 'more than the largest volume'],
    ['xfs below 300 MiB', range(299n * MIB), xfs, 'OUT_OF_RANGE', 'too small for xfs, which needs 300Mi'],
    ['ext4 without room for a journal', range(MIB), ext4, 'OUT_OF_RANGE', 'too small for ext4'],
  ])('%s is refused', (_, asked, uses, status, message) => {
    expect(() => sizeFor(asked, uses)).toThrow(
      expect.objectContaining({ status, message: expect.stringContaining(message) }),
    );
  });
});

test('fits: an existing volume lies between what is required and the limit', () => {
  expect(fits(10, undefined)).toBe(true);
  expect(fits(10, range(10n, 10n))).toBe(true);
  expect(fits(10, range(11n))).toBe(false);
  expect(fits(10, range(1n, 9n))).toBe(false);
});
