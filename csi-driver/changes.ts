import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import { CsiError } from './grpc/errors.ts';
import type { CallContext } from './grpc/handlers.ts';

/**
 * Wakes those who wait for a volume. An informer only says *that* something has changed; what is so now is always read
 * afresh, so a cache that lags behind can't answer with the state before the last attachment.
 */
export interface Changes {
  /** Something about this volume has changed. */
  notify(volume: string): void;
  /**
   * Looks, and looks again after every change, until `look` finds something.
   *
   * @returns undefined when the deadline has passed
   * @throws CsiError (UNAVAILABLE) when the caller has gone or this program stops; whatever `look` throws
   */
  waitFor<T>(volume: string, context: CallContext, look: () => Promise<T | undefined>): Promise<T | undefined>;
}

/** @param clock for the deadline, which is in its time */
export function createChanges(clock: Clock = systemClock): Changes {
  const sleepers = new Map<string, Set<() => void>>();

  /** Begins to listen at once; the promise resolves at the first change, at the deadline or when the call ends. */
  const nextChange = (volume: string, { signal, deadlineMs }: CallContext): { woken: Promise<void>; end(): void } => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const ofVolume = sleepers.get(volume) ?? new Set();
    sleepers.set(volume, ofVolume.add(resolve));
    const cancelTimer = clock.setTimeout(resolve, Math.max(0, deadlineMs - clock.now()));
    const onAbort = (): void => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    return {
      woken: promise,
      end() {
        cancelTimer();
        signal.removeEventListener('abort', onAbort);
        ofVolume.delete(resolve);
        if (ofVolume.size === 0 && sleepers.get(volume) === ofVolume) sleepers.delete(volume);
      },
    };
  };

  return {
    notify(volume) {
      for (const wake of sleepers.get(volume) ?? []) wake();
    },
    async waitFor(volume, context, look) {
      for (;;) {
        if (context.signal.aborted) throw interrupted(volume, context.signal);
        // Listening begins before looking: a change in between is not missed.
        const change = nextChange(volume, context);
        try {
          const found = await look();
          if (found !== undefined) return found;
          if (clock.now() >= context.deadlineMs) return undefined;
          await change.woken;
        } finally {
          change.end();
        }
      }
    },
  };
}

function interrupted(volume: string, signal: AbortSignal): CsiError {
  const why = signal.reason instanceof Error ? signal.reason.message : 'the call was cancelled';
  return new CsiError('UNAVAILABLE', 'HF406', `waiting for volume ${volume} was broken off: ${why}`);
}
