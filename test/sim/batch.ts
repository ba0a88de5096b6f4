/** Many seeds, one after the other. */
import type { Violation } from './laws.ts';
import { runSchedule } from './run.ts';
import type { Schedule } from './schedule.ts';
import { scheduleOf } from './schedule.ts';

export interface Failure {
  readonly schedule: Schedule;
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

/** A schedule, or the seed that one is made from. */
export type Task = number | Schedule;

export async function runAll(
  tasks: Iterable<Task>,
  onDone: (failure: Failure | undefined) => void = () => undefined,
): Promise<BatchResult> {
  const failures: Failure[] = [];
  const sum = { seeds: 0, events: 0, virtualMs: 0, acknowledged: 0 };
  for (const task of tasks) {
    const schedule = typeof task === 'number' ? scheduleOf(task) : task;
    const { violation, events, virtualMs, acknowledged } = await runOne(schedule);
    const failure = violation === undefined ? undefined : { schedule, violation };
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
async function runOne(schedule: Schedule): ReturnType<typeof runSchedule> {
  try {
    return await runSchedule(schedule);
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { violation: { law: 'no error', message, atMs: 0 }, events: 0, virtualMs: 0, acknowledged: 0 };
  }
}
