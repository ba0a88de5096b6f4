import { sleep, systemClock, type Clock } from '../clock.ts';
import { describeError } from '../describe-error.ts';
import type { Logger } from '../log.ts';
import type { Resource } from './client.ts';
import { KubeError } from './error.ts';
import type { Lease } from './kinds.ts';
import { microTime } from './time.ts';

export interface HeartbeatOptions {
  readonly leases: Resource<Lease>;
  readonly name: string;
  readonly holder: string;
  /** After this long without a renewal others may count the holder as away. It is renewed every third of it. */
  readonly durationMs: number;
  /** What others may know of the holder. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly log: Logger;
  /** Called after a renewal was accepted, with the time at which it was sent. */
  readonly onRenewed?: (sentMs: number) => void;
  readonly clock?: Clock;
}

export interface Heartbeat {
  /** Ends the heartbeat. The Lease stays and grows old: a restart must not look like a death. */
  stop(): Promise<void>;
}

/** Renews a Lease from now on; makes it when there is none. A failure is logged and the next renewal comes in its time. */
export function startHeartbeat(options: HeartbeatOptions): Heartbeat {
  const { leases, name, holder, durationMs, log, clock = systemClock } = options;
  const periodMs = durationMs / 3;
  const stopping = new AbortController();
  let failing = false;

  async function renew(): Promise<void> {
    const sentMs = clock.now();
    const spec = {
      holderIdentity: holder,
      leaseDurationSeconds: Math.max(1, Math.ceil(durationMs / 1000)),
      renewTime: microTime(sentMs),
    };
    // An answer that comes later than the next renewal is due helps nobody: give up and send a new one.
    const timeoutMs = Math.max(1000, Math.round(periodMs));
    const told = options.annotations && { annotations: { ...options.annotations } };
    try {
      await leases.patch(name, { ...(told && { metadata: told }), spec }, { timeoutMs });
    } catch (error) {
      if (!(error instanceof KubeError && error.isNotFound)) throw error;
      await leases.create(
        { metadata: { name, ...told }, spec: { ...spec, acquireTime: spec.renewTime } },
        { timeoutMs },
      );
    }
    options.onRenewed?.(sentMs);
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedMs = clock.monotonicMs();
      try {
        await renew();
        if (failing) log.info('the lease is renewed again', { lease: name });
        failing = false;
      } catch (error) {
        if (!failing) log.warn('the lease could not be renewed', { lease: name, error: describeError(error) });
        failing = true;
      }
      // The time that the renewal took counts, but there is always a pause.
      const restMs = periodMs - (clock.monotonicMs() - startedMs);
      await sleep(clock, Math.max(periodMs / 4, restMs), stopping.signal);
    }
  }

  const running = run();
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}
