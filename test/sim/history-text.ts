/** A failing schedule as a person reads it: what was done to the world, what the record said, and where a law broke. */
import { describe, runSchedule } from './run.ts';
import type { Schedule } from './schedule.ts';
import type { WorldOptions } from './world.ts';

/** Lines before the violation that are shown unless all are asked for. */
const SHOWN = 60;

export async function historyOf(schedule: Schedule, all = false, options: WorldOptions = {}): Promise<string> {
  const lines: string[] = [];
  const { violation } = await runSchedule(schedule, {
    ...options,
    trace: (atMs, who, what) => lines.push(`${seconds(atMs)}  ${who.padEnd(9)} ${what}`),
  });
  const { shape, steps, seed } = schedule;
  const shown = all ? lines : lines.slice(-SHOWN);
  return [
    `seed ${seed}: ${shape.storageNodes} storage nodes, ${shape.replicas} replicas, legTimeout ${shape.legTimeout}, replicaTimeout ${shape.replicaTimeout}, leases ${shape.leaseMs} ms`,
    ...steps.map((step) => `  at ${(step.atMs / 1000).toFixed(3)} s: ${describe(step)}`),
    shown.length < lines.length ? `history (the last ${shown.length} of ${lines.length} lines):` : 'history:',
    ...shown,
    violation === undefined
      ? 'no law was broken'
      : `${seconds(violation.atMs)}  BROKEN: ${violation.law}: ${violation.message}`,
  ].join('\n');
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(4).padStart(9)} s`;
