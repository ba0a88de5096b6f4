import { describe, expect, test } from '@jest/globals';
import { choosePool, freeBytes, shortage } from './capacity.ts';
import type { Demand } from './capacity.ts';
import { GIB, node, pool } from './fixtures.ts';
import type { Pool } from './request.ts';

describe('freeBytes', () => {
  test.each<[string, Partial<Pool>, number]>([
    ['empty', {}, 10],
    ['promised, not yet used', { provisionedBytes: 4 * GIB }, 6],
    ['used by more than what is promised (snapshots)', { usedBytes: 5 * GIB, provisionedBytes: 4 * GIB }, 5],
    ['over-provisioned', { provisionedBytes: 30 * GIB }, -20],
  ])('%s', (_, fields, gib) => {
    expect(freeBytes(pool(fields))).toBe(gib * GIB);
  });
});

describe('shortage', () => {
  const thin: Demand = { sizeBytes: 4 * GIB };
  const thick: Demand = { sizeBytes: 4 * GIB, thick: true };
  test.each<[string, Partial<Pool>, Demand, string | undefined]>([
    ['thin: fits', {}, thin, undefined],
    ['thin: may be larger than what is free', { usedBytes: 9 * GIB }, thin, undefined],
    ['thin: exactly the ratio', { provisionedBytes: 96 * GIB }, thin, undefined],
    ['thin: one byte more', { provisionedBytes: 96 * GIB + 1 }, thin, 'would promise more than 10 times its capacity'],
    [
      'thin: another ratio',
      { provisionedBytes: 7 * GIB },
      { ...thin, overProvisioningRatio: 1 },
      'would promise more than 1 times its capacity',
    ],
    ['thin: exactly the physical minimum', { usedBytes: 9.5 * GIB }, thin, undefined],
    ['thin: below the physical minimum', { usedBytes: 9.5 * GIB + 1 }, thin, 'is full'],
    [
      'thin: no minimum asked for, but not a byte left',
      { usedBytes: 10 * GIB },
      { ...thin, minFreeShare: 0 },
      'is full',
    ],
    [
      'thin: data is copied at once',
      { usedBytes: 6 * GIB },
      { ...thin, initialBytes: 4 * GIB },
      'has no room to copy 4.0 GiB to',
    ],
    ['thin: data is copied at once, and fits', { usedBytes: 5 * GIB }, { ...thin, initialBytes: 4 * GIB }, undefined],
    ['thick: exactly fits', { provisionedBytes: 6 * GIB }, thick, undefined],
    [
      'thick: what is promised to thin volumes is not free',
      { provisionedBytes: 6 * GIB + 1 },
      thick,
      'has less than 4.0 GiB free',
    ],
    ['thick: what is used is not free', { usedBytes: 7 * GIB }, thick, 'has less than 4.0 GiB free'],
    ['no capacity yet', { capacityBytes: 0 }, thin, 'has no usable pool'],
    ['nonsense', { capacityBytes: Number.NaN }, thin, 'has no usable pool'],
    ['nonsense', { usedBytes: Number.NaN }, thin, 'is full'],
    ['nonsense', { usedBytes: Number.NaN }, thick, 'has less than 4.0 GiB free'],
    ['nonsense', { provisionedBytes: Number.NaN }, thin, 'would promise more than 10 times its capacity'],
  ])('%s', (_, fields, demand, expected) => {
    expect(shortage(pool(fields), demand)?.one).toBe(expected);
  });
});

const nameOf = (pools: readonly Pool[]) => {
  const choice = choosePool(node('n1', {}, { pools }), { sizeBytes: GIB });
  return 'pool' in choice ? choice.pool.name : choice.shortage.one;
};

describe('choosePool', () => {
  test('takes the pool with the most free bytes of those with room, then the first name', () => {
    const a = pool({ name: 'a' });
    const b = pool({ name: 'b' });
    const large = pool({ name: 'large', capacityBytes: 100 * GIB, provisionedBytes: 50 * GIB });
    const full = pool({ name: 'full', capacityBytes: 1000 * GIB, usedBytes: 999 * GIB });
    expect(nameOf([b, a])).toBe('a');
    expect(nameOf([b, a, large, full])).toBe('large');
    expect(nameOf([full])).toBe('is full');
    expect(nameOf([])).toBe('has no pool');
  });
});
