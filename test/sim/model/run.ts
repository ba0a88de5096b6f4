/** One run of a world with its departures: the product's code can't be copied in the middle, so each begins anew. */
import type { Violation } from '../laws.ts';
import { runSchedule } from '../run.ts';
import type { Trace, WorldOptions } from '../world.ts';
import type { Departure } from './departures.ts';
import { depart, departuresOf } from './departures.ts';
import { stateOf } from './state.ts';
import { middle } from './middle.ts';
import type { Plan } from './plan.ts';
import { Recorder } from './trace.ts';
import { BLOCKS } from './worlds.ts';

export interface Job {
  readonly world: string;
  readonly departures: readonly Departure[];
  /** Whether to tell where the run can be departed from further. */
  readonly wantsChoices: boolean;
  /** How far lateness goes event by event. */
  readonly eachUpTo?: number;
}

export interface Choice {
  readonly departure: Departure;
  /** Of the world in which it is made. */
  readonly state: string;
}

export interface JobResult {
  readonly violation: Violation | undefined;
  readonly events: number;
  readonly choices: readonly Choice[];
  /** All the departures came to pass: none was made impossible by those before it. */
  readonly complete: boolean;
}

export async function runJob(
  plan: Plan,
  { departures, wantsChoices, eachUpTo }: Job,
  options: WorldOptions & { readonly trace?: Trace } = {},
): Promise<JobResult> {
  const { schedule, fromMs, untilMs } = plan;
  const last = departures.at(-1);
  // A late event leaves its place to the next one.
  const from = last === undefined ? 0 : last.kind === 'late' ? last.at : last.at + 1;
  const states = new Map<number, string>();
  let recorder: Recorder | undefined;
  let next = 0;
  const { violation, events } = await runSchedule(
    schedule,
    { ...options, dice: middle, blocksInTurn: BLOCKS },
    (made) => {
      if (wantsChoices) recorder = new Recorder(made, fromMs);
      made.scheduler.beforeEvent = (event, at) => {
        const departure = departures[next];
        if (departure?.at === at) {
          next += 1;
          options.trace?.(made.scheduler.now(), 'DEPARTS', tell(departure));
          const waitMs = depart(made, departure);
          if (waitMs !== undefined) return waitMs;
        }
        if (recorder === undefined || event.atMs >= schedule.healMs) return undefined;
        recorder.before(event, at);
        const isChoice = next === departures.length && at >= from && event.atMs >= fromMs && event.atMs < untilMs;
        if (isChoice) states.set(at, stateOf(made, event));
        return undefined;
      };
    },
  );
  const all = recorder === undefined ? [] : departuresOf(recorder.events, { fromMs, untilMs, from }, eachUpTo);
  const choices = all.map((departure) => ({ departure, state: states.get(departure.at) ?? '' }));
  return { violation, events, choices, complete: next === departures.length };
}

/** A departure for people. */
export function tell({ kind, who, at, waitMs }: Departure): string {
  switch (kind) {
    case 'kill':
      return `${who} is killed before event ${at}`;
    case 'power':
      return `power of ${who} goes before event ${at}`;
    case 'cut':
      return `${who.replace('-', ' <-> ')} is cut before event ${at}`;
    case 'late':
      return `event ${at} is ${Math.round(waitMs ?? 0)} ms late: ${who}`;
  }
}
