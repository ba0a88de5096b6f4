export interface Backoff {
  /** How long to wait before the next attempt, in milliseconds. */
  next(): number;
  reset(): void;
}

/** Waits that double from `baseMs` to `maxMs`, each shortened at random by up to a half so that many clients spread out. */
export function createBackoff(options: { baseMs: number; maxMs: number; random: () => number }): Backoff {
  let attempt = 0;
  return {
    next: () => backoffMs(attempt++, options),
    reset: () => {
      attempt = 0;
    },
  };
}

/** The wait before attempt `attempt + 2`; `attempt` counts from 0. */
export function backoffMs(
  attempt: number,
  { baseMs, maxMs, random }: { baseMs: number; maxMs: number; random: () => number },
): number {
  // 2^30 is far beyond any maximum: the exponent must not overflow when something fails for weeks.
  const wholeMs = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(wholeMs * (0.5 + random() / 2));
}
