import { clientLeaseName } from '../../lib/api/names.ts';
import type { Clock } from '../../lib/clock.ts';
import { execute } from './execute.ts';
import { createExpectations } from './expectations.ts';
import type { Caches, LeaseView } from './observe.ts';
import { observe } from './observe.ts';
import { plan } from './plan.ts';
import type { Ports } from './ports.ts';
import { sweepStrays, undone, type Left } from './strays.ts';
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
  const expectations = createExpectations(clock);

  const again = (volume: string, why: string): { requeueAfterMs: number } => {
    const count = staleCounts.get(volume) ?? 0;
    staleCounts.set(volume, count + 1);
    const say = count >= 6 ? ports.log.warn : ports.log.debug;
    say('the plan was out of date', { volume, why, attempts: count + 1 });
    return { requeueAfterMs: Math.min(longestRetryMs, firstRetryMs * 2 ** Math.min(count, 16)) };
  };

  return async (volume: string): Promise<{ requeueAfterMs?: number } | void> => {
    const behindMs = expectations.waitMs(volume);
    if (behindMs > 0) return { requeueAfterMs: behindMs };
    let world: World | undefined = observe(volume, caches, leases, settings);
    if (world === undefined) {
      staleCounts.delete(volume);
      return await sweep(volume);
    }
    const { uid } = world.volume.metadata;
    const before = new Set<string | undefined>();
    for (let pass = 0; pass < passLimit; pass += 1) {
      const next = plan(world, clock.now());
      const outcome = await execute(next, world.volume, ports, pass > 0);
      if (outcome.kind === 'gone') {
        staleCounts.delete(volume);
        return await sweep(volume, uid);
      }
      if (outcome.kind === 'stale') {
        return again(volume, outcome.why);
      }
      if (outcome.volume !== world.volume) before.add(world.volume.metadata.resourceVersion);
      const made = next.actions.flatMap((action) => (action.kind === 'createReplica' ? action.name : []));
      if (before.size + made.length > 0) {
        expectations.expect(volume, () => {
          const names = caches.replicasOf(volume).map(({ metadata }) => metadata.name);
          const isOld = before.has(caches.volume(volume)?.metadata.resourceVersion ?? '');
          return !isOld && made.every((name) => names.includes(name));
        });
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

  /** @param uid of the volume that is proved to be gone; undefined: it is not in the cache */
  async function sweep(volume: string, uid?: string): Promise<void> {
    const isItsOwn = ({ spec }: { readonly spec: { readonly volumeUid: string } }): boolean =>
      uid === undefined || spec.volumeUid === uid;
    const isAlive = (node: string): boolean => leases.isFresh(clientLeaseName(node));
    const left = (): Left => {
      const replicas = caches.replicasOf(volume).filter(isItsOwn);
      return undone({ replicas, connections: caches.connectionsOf(volume).filter(isItsOwn) }, isAlive);
    };
    const isSwept = (): boolean => left().replicas.length + left().connections.length === 0;
    if ((isSwept() && uid === undefined) || !(await sweepStrays(volume, left(), isAlive, ports, uid !== undefined))) {
      return;
    }
    const isGone = (): boolean => uid === undefined || caches.volume(volume)?.metadata.uid !== uid;
    expectations.expect(volume, () => isGone() && isSwept());
  }
}
