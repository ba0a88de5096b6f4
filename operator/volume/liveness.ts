import type { Clock } from '../../lib/clock.ts';
import { LeaseTracker } from '../../lib/kube/lease.ts';
import type { Lease } from '../../lib/kube/lease.ts';
import type { LeaseView } from './observe.ts';

export interface LivenessOptions {
  /** The lease that this operator renews itself: silence of others counts only as far as its own renewals came through. */
  readonly witness: string;
  readonly defaultDurationMs: number;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
  /** A lease came to life, or went stale. */
  readonly onFlip: (lease: string, alive: boolean) => void;
}

export interface Liveness extends LeaseView {
  readonly observe: (lease: Lease) => void;
  readonly forget: (name: string) => void;
}

/**
 * Turns the passing of time into events: each change of a lease is also the moment to see which others have gone stale.
 * The witness is renewed every second or so, so a stale lease is noticed that much later at most, and without the witness
 * nothing may be judged anyway.
 */
export function createLiveness({ witness, defaultDurationMs, clock, onFlip }: LivenessOptions): Liveness {
  const tracker = new LeaseTracker({ witness, defaultDurationMs });
  const alive = new Map<string, boolean>();

  function judge(): void {
    const nowMs = clock.monotonicMs();
    for (const [name, was] of alive) {
      const is = tracker.isFresh(name, nowMs);
      if (is !== was) {
        alive.set(name, is);
        onFlip(name, is);
      }
    }
  }

  return {
    observe: (lease) => {
      tracker.observe(lease, clock.monotonicMs());
      const { name } = lease.metadata;
      if (name !== witness && !alive.has(name)) alive.set(name, false);
      judge();
    },
    forget: (name) => {
      tracker.forget(name);
      if (alive.get(name) === true) onFlip(name, false);
      alive.delete(name);
    },
    isFresh: (name) => tracker.isFresh(name, clock.monotonicMs()),
    lastSeenMs: (name) => {
      const seenMs = tracker.lastSeenMs(name);
      return seenMs === undefined ? undefined : clock.now() - (clock.monotonicMs() - seenMs);
    },
  };
}
