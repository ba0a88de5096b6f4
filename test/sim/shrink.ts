/** Makes a failing schedule small: as few steps as still fail the same law, and shorter ones. */
import { runSchedule } from './run.ts';
import type { Schedule, Step } from './schedule.ts';
import type { WorldOptions } from './world.ts';

/** At most this many runs. */
const TRIES = 150;

export async function shrink(schedule: Schedule, law: string, options: WorldOptions = {}): Promise<Schedule> {
  let best = schedule;
  let tries = 0;
  const fails = async (candidate: Schedule): Promise<boolean> => {
    tries += 1;
    const { violation } = await runSchedule(candidate, options);
    return violation?.law === law;
  };
  const accept = async (candidate: Schedule): Promise<boolean> => {
    if (tries >= TRIES || !(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  for (let size = Math.ceil(best.steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.steps.length;) {
      const steps = [...best.steps.slice(0, at), ...best.steps.slice(at + size)];
      if (!(await accept({ ...best, steps }))) at += size;
    }
  }
  if (best.shape.teardown) await accept({ ...best, shape: { ...best.shape, teardown: false } });
  for (const [index, step] of best.steps.entries()) {
    for (const smaller of simpler(step)) {
      if (await accept({ ...best, steps: best.steps.with(index, smaller) })) break;
    }
  }
  return best;
}

function simpler(step: Step): readonly Step[] {
  switch (step.kind) {
    case 'power':
      return step.machines.length > 1 ? step.machines.map((machine) => ({ ...step, machines: [machine] })) : [];
    case 'cut':
      return step.both ? [{ ...step, both: false }] : [];
    case 'kill':
    case 'pause':
    case 'slow':
    case 'api':
    case 'disk':
    case 'move':
    case 'restore':
    case 'replicas':
    case 'snapshot':
    case 'expand':
    case 'force':
    case 'clock':
      return [];
  }
}
