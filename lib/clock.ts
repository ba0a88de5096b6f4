/** Time as an argument, so that a test can hold it in its hand. */
export interface Clock {
  /** Milliseconds since 1970, for what others read: it is off by some amount on each machine, and jumps when somebody sets it. */
  now(): number;
  /** Milliseconds since some moment, for how long something takes: it never jumps. */
  monotonicMs(): number;
  /** Calls `run` once after `ms` milliseconds, unless the returned function is called first. */
  setTimeout(run: () => void, ms: number): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimeout: (run, ms) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms` milliseconds, or as soon as the signal is aborted. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const finish = (): void => {
      cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const cancel = clock.setTimeout(finish, ms);
    signal?.addEventListener('abort', finish, { once: true });
  });
}
