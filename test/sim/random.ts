/** Numbers from a seed: the same seed gives the same numbers on every machine. */
export interface Dice {
  /** From 0 to just below 1. */
  fraction(): number;
  /** A whole number from 0 to `below` - 1. */
  integer(below: number): number;
  /** True once in `n` throws. */
  oneIn(n: number): boolean;
  pick<T>(from: readonly T[]): T;
}

/** sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of state, quick, and good enough for choosing faults. */
export function createDice(seed: number, stream = 0): Dice {
  let a = 0x9e3779b9 ^ stream;
  let b = seed | 0;
  let c = Math.floor(seed / 2 ** 32) | 0;
  let d = 1;
  const next = (): number => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + t;
    c |= 0;
    return t >>> 0;
  };
  for (let i = 0; i < 12; i += 1) next();
  const integer = (below: number): number => Math.floor((next() / 2 ** 32) * below);
  return {
    fraction: () => next() / 2 ** 32,
    integer,
    oneIn: (n) => integer(n) === 0,
    pick: (from) => {
      const found = from[integer(from.length)];
      if (found === undefined) throw new Error('nothing to pick from');
      return found;
    },
  };
}
