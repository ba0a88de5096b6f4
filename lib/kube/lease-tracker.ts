import type { Lease } from './kinds.ts';

export interface LeaseTrackerOptions {
  /**
   * The name of a Lease that the observer itself renews and sees through the same watch. With it, silence of the others
   * counts only as far as the observer has seen its own renewals come through: an observer that was cut off doesn't take
   * everybody else for dead. Without it, the observer must not act on staleness after it was cut off.
   */
  readonly witness?: string;
  /** For a Lease that doesn't say how long it lasts. Default 10 000 ms. */
  readonly defaultDurationMs?: number;
}

interface Seen {
  readonly stamp: string;
  readonly durationMs: number;
  lastSeenMs: number;
}

/**
 * Judges Leases by the observer's own clock: what counts is how long ago it saw a Lease change, never the time written in
 * it. A Lease seen for the first time counts as renewed just then.
 */
export class LeaseTracker {
  readonly #witness: string | undefined;
  readonly #defaultDurationMs: number;
  readonly #seen = new Map<string, Seen>();

  constructor(options: LeaseTrackerOptions = {}) {
    this.#witness = options.witness;
    this.#defaultDurationMs = options.defaultDurationMs ?? 10_000;
  }

  /** Takes note of a Lease as it is now; the same state twice is no renewal. */
  observe(lease: Lease, nowMs: number): void {
    const { name } = lease.metadata;
    const { renewTime = '', holderIdentity = '', leaseDurationSeconds } = lease.spec ?? {};
    const stamp = [lease.metadata.uid ?? '', renewTime, holderIdentity].join(' ');
    const before = this.#seen.get(name);
    if (before?.stamp === stamp) return;
    const durationMs = leaseDurationSeconds === undefined ? this.#defaultDurationMs : leaseDurationSeconds * 1000;
    // We were blind between two renewals of our own: whatever others did then is still on its way to us.
    if (name === this.#witness && before && nowMs - before.lastSeenMs > durationMs) {
      for (const other of this.#seen.values()) other.lastSeenMs = nowMs;
    }
    this.#seen.set(name, { stamp, durationMs, lastSeenMs: nowMs });
  }

  /** The Lease was deleted. */
  forget(name: string): void {
    this.#seen.delete(name);
  }

  /** False for a Lease that was never seen, or not seen to change for longer than its duration. */
  isFresh(name: string, nowMs: number): boolean {
    const seen = this.#seen.get(name);
    if (!seen) return false;
    return this.#judgedAtMs(nowMs) - seen.lastSeenMs < seen.durationMs;
  }

  /** When the Lease was last seen to change, by the observer's clock. */
  lastSeenMs(name: string): number | undefined {
    return this.#seen.get(name)?.lastSeenMs;
  }

  /** When the Lease will be stale unless it is renewed: the time to look again. */
  staleAtMs(name: string): number | undefined {
    const seen = this.#seen.get(name);
    return seen && seen.lastSeenMs + seen.durationMs;
  }

  /** Up to when we know what others did: now, or as far as our own renewals came through. */
  #judgedAtMs(nowMs: number): number {
    if (this.#witness === undefined) return nowMs;
    return this.#seen.get(this.#witness)?.lastSeenMs ?? Number.NEGATIVE_INFINITY;
  }
}
