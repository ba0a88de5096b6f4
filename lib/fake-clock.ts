import type { Clock } from './clock.ts';

/** A clock that stands still until a test moves it. */
export interface FakeClock extends Clock {
  /** Moves time on and runs what becomes due, in order; pending promises run in between. */
  advance(ms: number): Promise<void>;
  /** Somebody sets the machine's clock: timers and `monotonicMs` go on as before. */
  setWall(byMs: number): void;
  /** Timers that wait. */
  readonly waiting: number;
}

interface Timer {
  readonly atMs: number;
  readonly run: () => void;
}

export function createFakeClock(startMs = 1_700_000_000_000): FakeClock {
  let nowMs = startMs;
  let wallMs = 0;
  const timers = new Set<Timer>();

  function nextDue(untilMs: number): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of timers) if (timer.atMs <= untilMs && (!first || timer.atMs < first.atMs)) first = timer;
    return first;
  }

  return {
    now: () => nowMs + wallMs,
    monotonicMs: () => nowMs - startMs,
    setTimeout: (run, ms) => {
      const timer = { atMs: nowMs + Math.max(0, ms), run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    advance: async (ms) => {
      const untilMs = nowMs + ms;
      await settle();
      for (let timer = nextDue(untilMs); timer; timer = nextDue(untilMs)) {
        timers.delete(timer);
        nowMs = timer.atMs;
        timer.run();
        await settle();
      }
      nowMs = untilMs;
      await settle();
    },
    setWall: (byMs) => {
      wallMs += byMs;
    },
    get waiting() {
      return timers.size;
    },
  };
}

/** Lets promises that are ready run on: each round is one trip through the microtask queue and the event loop. */
async function settle(): Promise<void> {
  for (let round = 0; round < 3; round += 1) await new Promise((resolve) => setImmediate(resolve));
}
