import { systemClock, type Clock } from '../clock.ts';
import { describeError } from '../describe-error.ts';
import type { Logger } from '../log.ts';
import { KubeError } from './error.ts';
import { createQueue } from './queue.ts';

/** When to look again even if nothing changes. */
export type ReconcileResult = { readonly requeueAfterMs?: number | undefined } | void;

export interface ControllerOptions {
  readonly name: string;
  /**
   * Makes the world as the object of this key says. Called again after an error, with growing waits. The signal is aborted
   * when the controller stops; a reconcile that waits for something should give up then.
   */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<ReconcileResult>;
  /** How many keys are worked on at the same time; one key never twice. Default 1. */
  readonly concurrency?: number;
  /** Default 200 ms, doubled per failure of the same key, up to 30 s. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly log: Logger;
}

export interface Controller {
  /** Asks for a reconcile of the key, now or after a time; asked twice before it begins, it is done once. */
  enqueue(key: string, afterMs?: number): void;
  start(): void;
  /** Begins nothing more, and resolves when what runs has ended. */
  stop(): Promise<void>;
}

/**
 * Calls `reconcile` for each key that is asked for: a key that is asked for while it is worked on is done again
 * afterwards; a key that fails is done again after its own backoff, which a success ends.
 */
export function createController(options: ControllerOptions): Controller {
  const { name, log, concurrency = 1, clock = systemClock, random = Math.random } = options;
  const backoff = options.backoff ?? { baseMs: 200, maxMs: 30_000 };
  const queue = createQueue({ clock, random, ...backoff });
  const stopping = new AbortController();
  const running = new Set<Promise<void>>();
  let started = false;

  function fill(): void {
    if (!started) return;
    while (!stopping.signal.aborted && running.size < concurrency) {
      const key = queue.take();
      if (key === undefined) return;
      const work = handle(key).finally(() => {
        running.delete(work);
        fill();
      });
      running.add(work);
    }
  }

  async function handle(key: string): Promise<void> {
    try {
      const result = await options.reconcile(key, stopping.signal);
      queue.forget(key);
      queue.done(key);
      if (result?.requeueAfterMs !== undefined) queue.addAfter(key, result.requeueAfterMs);
    } catch (error) {
      queue.done(key);
      if (stopping.signal.aborted) return;
      const atLeastMs = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
      const { delayMs, failures } = queue.addBackedOff(key, atLeastMs);
      // A conflict is how optimistic locking works, not a fault.
      const expected = error instanceof KubeError && error.isConflict && failures < 5;
      log[expected ? 'debug' : 'warn']('reconcile failed', {
        controller: name,
        key,
        failures,
        retryInMs: delayMs,
        error: describeError(error),
      });
    }
  }

  queue.onReady(fill);
  return {
    enqueue: (key, afterMs = 0) => {
      if (stopping.signal.aborted) return;
      if (afterMs > 0) queue.addAfter(key, afterMs);
      else queue.add(key);
    },
    start: () => {
      started = true;
      fill();
    },
    stop: async () => {
      stopping.abort();
      queue.clear();
      await Promise.all(running);
    },
  };
}
