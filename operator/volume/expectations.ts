import type { Clock } from '../../lib/clock.ts';

/** After this time a cache shows what was written; should it not, the world is planned for as the cache has it. */
const PATIENCE_MS = 2_000;

/**
 * What the operator itself has written and a cache does not show yet. To plan without it would do no harm, but ask the API
 * server for the same once more. Its own event ends the waiting.
 */
export interface Expectations {
  /** @param isShown whether the caches have it */
  expect(volume: string, isShown: () => boolean): void;
  /** Milliseconds for which the caches may still be behind; 0 when they show what is expected. */
  waitMs(volume: string): number;
}

/** Keeps one expectation for each volume. It is forgotten once it is met or too old, when somebody asks. */
export function createExpectations(clock: Pick<Clock, 'monotonicMs'>): Expectations {
  const expected = new Map<string, { readonly isShown: () => boolean; readonly untilMs: number }>();
  return {
    expect: (volume, isShown) => {
      expected.set(volume, { isShown, untilMs: clock.monotonicMs() + PATIENCE_MS });
    },
    waitMs: (volume) => {
      const entry = expected.get(volume);
      if (entry === undefined) return 0;
      const leftMs = entry.untilMs - clock.monotonicMs();
      if (leftMs > 0 && !entry.isShown()) return leftMs;
      expected.delete(volume);
      return 0;
    },
  };
}
