import { expect, test } from '@jest/globals';
import { hunt, mutants } from './hunt.ts';
import { LAWS } from './mutation.ts';

const seeds = Array.from({ length: 300 }, (_, i) => i + 1);

test('each law is broken by one bug at least', () => {
  expect(new Set(mutants.map(({ law }) => law))).toEqual(new Set(LAWS));
});

test.each(mutants.map((mutant) => [mutant.bug, mutant] as const))(
  '%s, and the simulation notices it',
  async (_, mutant) => {
    const { seed, by } = await hunt(mutant, seeds);
    expect(seed).toBeDefined();
    expect(by).toBeDefined();
  },
  120_000,
);
