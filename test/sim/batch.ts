/** Many seeds, one after the other. */
import type { Violation } from './laws.ts';
import { runSchedule } from './run.ts';
import { scheduleOf } from './schedule.ts';

export interface Failure {
  readonly seed: number;
  readonly violation: Violation;
}

export interface BatchResult {
  readonly failures: readonly Failure[];
  readonly seeds: number;
  readonly events: number;
  readonly virtualMs: number;
  /** Writes that users were told are done. */
  readonly acknowledged: number;
}

export async function runSeeds(
  seeds: Iterable<number>,
  onDone: (failure: Failure | undefined) => void = () => undefined,
): Promise<BatchResult> {
  const failures: Failure[] = [];
  const sum = { seeds: 0, events: 0, virtualMs: 0, acknowledged: 0 };
  for (const seed of seeds) {
    const { violation, events, virtualMs, acknowledged } = await runOne(seed);
    const failure = violation === undefined ? undefined : { seed, violation };
    if (failure !== undefined) failures.push(failure);
    sum.seeds += 1;
    sum.events += events;
    sum.virtualMs += virtualMs;
    sum.acknowledged += acknowledged;
    onDone(failure);
  }
  return { failures, ...sum };
}

/** An error that nobody catches is a failure of its seed as well: no program of the product may throw away a promise. */
async function runOne(seed: number): ReturnType<typeof runSchedule> {
  try {
    return await runSchedule(scheduleOf(seed));
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { violation: { law: 'no error', message, atMs: 0 }, events: 0, virtualMs: 0, acknowledged: 0 };
  }
}
