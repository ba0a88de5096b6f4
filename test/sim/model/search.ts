/**
 * The exhaustive search: from each small world, every choice of at most so many departures from its usual course (as
 * delay-bounded scheduling does it: Emmi, Qadeer, Rakamaric, POPL 2011), breadth first. Departures that can't make a
 * difference are not made (`departures.ts`), and a state from which as many departures were made before is not departed
 * from again (`state.ts`).
 */
import type { Violation } from '../laws.ts';
import type { Departure } from './departures.ts';
import type { Job, JobResult } from './run.ts';

export interface SearchOptions {
  /** Their names. */
  readonly worlds: readonly string[];
  /** Departures in one run. */
  readonly depth: number;
  /** Runs that are under way at once. */
  readonly jobs: number;
  readonly run: (job: Job) => Promise<JobResult>;
  /** Asked before each run; the search ends, and is then not exhausted. */
  readonly isOver?: () => boolean;
  readonly onRun?: (progress: Progress) => void;
  /** A law is broken. */
  readonly onFound?: (found: Found) => void;
}

export interface Progress {
  readonly runs: number;
  /** Runs that are known to be needed still. */
  readonly waiting: number;
}

export interface Found {
  readonly world: string;
  readonly departures: readonly Departure[];
  readonly violation: Violation;
}

export interface WorldResult {
  readonly name: string;
  readonly runs: number;
  /** Events that were run, in all runs together. */
  readonly events: number;
  /** Different states that were departed from. */
  readonly states: number;
  readonly violations: number;
  readonly exhausted: boolean;
}

export interface SearchResult {
  readonly worlds: readonly WorldResult[];
  readonly found: readonly Found[];
}

interface Count {
  runs: number;
  events: number;
  violations: number;
  left: number;
  /** By state, the most departures that were still to be made there. */
  readonly states: Map<string, number>;
}

export async function search(options: SearchOptions): Promise<SearchResult> {
  const { worlds, depth, jobs, run, isOver = () => false, onRun, onFound } = options;
  const counts = new Map<string, Count>(
    worlds.map((name) => [name, { runs: 0, events: 0, violations: 0, left: 0, states: new Map() }]),
  );
  const found: Found[] = [];
  const queue: { readonly world: string; readonly departures: readonly Departure[] }[] = [];
  let head = 0;
  let runs = 0;
  const add = (world: string, departures: readonly Departure[]): void => {
    queue.push({ world, departures });
    count(world).left += 1;
  };
  const count = (world: string): Count => {
    const each = counts.get(world);
    if (each === undefined) throw new Error(`there is no world ${world}`);
    return each;
  };
  for (const name of worlds) add(name, []);

  const next = async (): Promise<void> => {
    const job = queue[head];
    if (job === undefined) return;
    queue[head] = { world: '', departures: [] };
    head += 1;
    const { world, departures } = job;
    const left = depth - departures.length;
    const { violation, events, choices } = await run({ world, departures, wantsChoices: left > 0 });
    const each = count(world);
    each.runs += 1;
    each.events += events;
    each.left -= 1;
    runs += 1;
    if (violation !== undefined) {
      each.violations += 1;
      const one = { world, departures, violation };
      found.push(one);
      onFound?.(one);
    } else {
      const isNew = new Map<string, boolean>();
      for (const { departure, state } of choices) {
        let go = isNew.get(state);
        if (go === undefined) {
          go = (each.states.get(state) ?? 0) < left;
          isNew.set(state, go);
          if (go) each.states.set(state, left);
        }
        if (go) add(world, [...departures, departure]);
      }
    }
    onRun?.({ runs, waiting: queue.length - head });
  };

  const lane = async (): Promise<void> => {
    while (head < queue.length && !isOver()) await next();
  };
  // A lane that finds nothing to do may be too early: what another one runs brings more.
  while (head < queue.length && !isOver()) {
    const lanes = Math.min(jobs, queue.length - head);
    await Promise.all(Array.from({ length: lanes }, lane));
  }

  return {
    found,
    worlds: [...counts].map(([name, each]) => ({
      name,
      runs: each.runs,
      events: each.events,
      states: each.states.size,
      violations: each.violations,
      exhausted: each.left === 0,
    })),
  };
}
