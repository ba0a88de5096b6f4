import { clientLeaseName } from '../../lib/api/names.ts';
import type { Clock } from '../../lib/clock.ts';
import { execute } from './execute.ts';
import type { Caches, LeaseView } from './observe.ts';
import { observe } from './observe.ts';
import { plan } from './plan.ts';
import type { Ports } from './ports.ts';
import { sweepStrays } from './strays.ts';
import type { Settings, World } from './world.ts';
import { defaultSettings } from './world.ts';

export interface ReconcilerOptions {
  readonly caches: Caches;
  readonly leases: LeaseView;
  readonly ports: Ports;
  readonly clock: Clock;
  readonly settings?: Settings;
}

/** A record change is followed at once by what comes of it; this many in a row mean that something is wrong. */
const passLimit = 12;
const firstRetryMs = 25;
const longestRetryMs = 5_000;
const longestLookMs = 3_600_000;

/**
 * The loop of one volume, by its name: observe, plan, guard, execute. Level triggered; the answer says when to look
 * again. A plan that turned out to be old is no error: it is made again, soon at first, then at longer intervals.
 */
export function createReconciler(options: ReconcilerOptions) {
  const { caches, leases, ports, clock, settings = defaultSettings } = options;
  const staleCounts = new Map<string, number>();

  const again = (volume: string, why: string): { requeueAfterMs: number } => {
    const count = staleCounts.get(volume) ?? 0;
    staleCounts.set(volume, count + 1);
    const say = count >= 6 ? ports.log.warn : ports.log.debug;
    say('the plan was out of date', { volume, why, attempts: count + 1 });
    return { requeueAfterMs: Math.min(longestRetryMs, firstRetryMs * 2 ** Math.min(count, 16)) };
  };

  return async (volume: string): Promise<{ requeueAfterMs?: number } | void> => {
    let world: World | undefined = observe(volume, caches, leases, settings);
    if (world === undefined) {
      staleCounts.delete(volume);
      await sweep(volume);
      return;
    }
    for (let pass = 0; pass < passLimit; pass += 1) {
      const next = plan(world, clock.now());
      const outcome = await execute(next, world.volume, ports);
      if (outcome.kind === 'stale') {
        return again(volume, outcome.why);
      }
      if (next.record === undefined) {
        staleCounts.delete(volume);
        // No timer of the runtime waits for months; looking once an hour costs nothing.
        return next.lookAgainMs === undefined
          ? undefined
          : { requeueAfterMs: Math.min(longestLookMs, Math.ceil(next.lookAgainMs)) };
      }
      world = { ...world, volume: outcome.volume };
    }
    throw new Error(`${volume}: the record changed ${passLimit} times in a row without coming to rest`);
  };

  async function sweep(volume: string): Promise<void> {
    const left = { replicas: caches.replicasOf(volume), connections: caches.connectionsOf(volume) };
    await sweepStrays(volume, left, (node) => leases.isFresh(clientLeaseName(node)), ports);
  }
}
