import type { Dice } from '../random.ts';

/** Always the middle: nothing is left to chance, and what alike programs do takes alike times. */
export const middle: Dice = {
  fraction: () => 0.5,
  integer: (below) => Math.floor(below / 2),
  oneIn: () => false,
  pick: (from) => from[0] as (typeof from)[0],
};
