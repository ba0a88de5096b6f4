import type { BlockStat } from '../../../lib/host/sysfs.ts';

/** One look at a leg: whether its controller is live, and the counters of its namespace. */
export interface LegSample {
  readonly live: boolean;
  readonly stat: BlockStat | undefined;
}

/** How much of the latency's new mean is believed at each look. */
const SMOOTHING = 0.25;

/**
 * Follows one leg over time: when it last proved that it works, and since when it has done so without a pause.
 * Proof is a live controller that owes nothing, or that completed an I/O since the last look. The kernel's own word
 * (the controller's state) comes up to two keep-alive times late; I/O that stands still tells at once.
 */
export class LegTracker {
  private last: BlockStat | undefined;
  private lastGoodMs: number;
  private goodSinceMs: number | undefined;
  /** Mean time of the latest I/Os, smoothed over some looks so that one burst makes no leg slow. */
  latencyMs: number | undefined;

  constructor(nowMs: number) {
    this.lastGoodMs = nowMs;
  }

  /**
   * Takes one look into account.
   * @returns how many I/Os ended since the last look
   */
  sample(sample: LegSample, nowMs: number): number {
    const { stat } = sample;
    const ended = stat && this.last ? stat.completed - this.last.completed : 0;
    if (stat && this.last && ended > 0) {
      const meanMs = (stat.ioTimeMs - this.last.ioTimeMs) / ended;
      this.latencyMs = this.latencyMs === undefined ? meanMs : this.latencyMs + SMOOTHING * (meanMs - this.latencyMs);
    }
    const works = sample.live && stat !== undefined && (stat.inFlight === 0 || ended !== 0 || this.last === undefined);
    this.last = stat;
    if (works) {
      this.lastGoodMs = nowMs;
      this.goodSinceMs ??= nowMs;
    } else if (!sample.live || nowMs - this.lastGoodMs > 1000) {
      this.goodSinceMs = undefined;
    }
    return ended;
  }

  quietMs(nowMs: number): number {
    return nowMs - this.lastGoodMs;
  }

  goodForMs(nowMs: number): number {
    return this.goodSinceMs === undefined ? 0 : nowMs - this.goodSinceMs;
  }
}
