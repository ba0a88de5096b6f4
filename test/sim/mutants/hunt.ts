/** Runs mutants until the simulation notices them. */
import { runSchedule } from '../run.ts';
import { scheduleOf } from '../schedule.ts';
import type { Mutant } from './mutation.ts';
import { plain } from './plain.ts';
import { ofSnapshots } from './snapshots.ts';
import { special } from './special.ts';

export const mutants: readonly Mutant[] = [...plain, ...special, ...ofSnapshots];

export interface Caught {
  readonly law: string;
  readonly bug: string;
  /** The seed that caught it and the law that it named; undefined: none did. */
  readonly seed: number | undefined;
  readonly by: string | undefined;
  readonly message: string | undefined;
  /** Schedules that were run with the bug. */
  readonly runs: number;
}

/** Laws that say that the world does not come to rest: they notice a mutant, but prove nothing about safety. */
const LIVENESS = new Set([
  'snapshots are taken',
  'the volume recovers',
  'the volume is detached',
  'the volume is deleted',
  'no error',
]);

const isSafety = (law: string | undefined): boolean => law !== undefined && !LIVENESS.has(law);

/**
 * Runs seeds until one breaks a law of safety with the bug, and none without it: the same schedule is run as a control.
 */
export async function hunt(mutant: Mutant, seeds: Iterable<number>): Promise<Caught> {
  const { law, bug, mutation, ground } = mutant;
  let runs = 0;
  for (const seed of seeds) {
    const schedule = ground === undefined ? scheduleOf(seed) : ground.schedule(seed);
    const run = async (options: Parameters<typeof runSchedule>[1]): ReturnType<typeof runSchedule> =>
      await runSchedule(schedule, options, (world) => ground?.prepare?.(world, schedule));
    runs += 1;
    const { violation } = await run({ mutation });
    if (violation === undefined || !isSafety(violation.law)) continue;
    const control = await run({});
    if (isSafety(control.violation?.law)) continue;
    return { law, bug, seed, by: violation.law, message: violation.message, runs };
  }
  return { law, bug, seed: undefined, by: undefined, message: undefined, runs };
}
