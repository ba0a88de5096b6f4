/**
 * An exhaustive search of one small story. In the base run everything takes its usual time and nothing fails. A run of the
 * search departs from it in a few places: before one event of a program, that program dies, its machine loses power, a
 * link is cut, or the event comes late, so that others overtake it. Every choice of so many departures is tried, but where
 * the world is in a state from which the rest has been searched already.
 *
 * The product's code can't be copied in the middle of a run, so each run begins anew and repeats what it has in common with
 * others; nothing in it depends on anything but the choices.
 */
import { createHash } from 'node:crypto';
import type { Violation } from './laws.ts';
import { API } from './network.ts';
import type { Dice } from './random.ts';
import { runSchedule } from './run.ts';
import type { Schedule, Shape, Step } from './schedule.ts';
import { agentOf, OPERATOR } from './schedule.ts';
import type { PendingEvent } from './scheduler.ts';
import type { World, WorldOptions } from './world.ts';

export interface Departure {
  /** Index of the event that it comes before. */
  readonly at: number;
  readonly kind: 'kill' | 'power' | 'cut-client' | 'cut-api' | 'late';
  /** The program or machine, for people. */
  readonly who: string;
}

export interface ModelOptions {
  /** Departures in one run. */
  readonly depth: number;
  readonly shape?: Partial<Shape>;
  /** Stops the search; it is then not exhausted. */
  readonly endAtMs?: number;
  readonly now?: () => number;
  readonly onRun?: (runs: number, states: number) => void;
  readonly world?: WorldOptions;
}

export interface ModelResult {
  readonly runs: number;
  /** Different states of the world in which the search chose. */
  readonly states: number;
  /** Events of the longest run. */
  readonly longestRun: number;
  readonly violations: readonly { readonly violation: Violation; readonly departures: readonly Departure[] }[];
  readonly exhausted: boolean;
}

/** After these the fault ends, or the late event comes. */
const DOWN_MS = 300;
const CUT_MS = 6000;
const LATE_MS = 60;

/** Always the middle: nothing is left to chance. */
const middle: Dice = {
  fraction: () => 0.5,
  integer: (below) => Math.floor(below / 2),
  oneIn: () => false,
  pick: (from) => from[0] as (typeof from)[0],
};

const story = (shape: Partial<Shape> = {}): Schedule => {
  const steps: Step[] = [
    { kind: 'move', atMs: 200, to: 'c1', orderly: true },
    { kind: 'move', atMs: 2200, to: 'c2', orderly: false },
  ];
  return {
    seed: 0,
    shape: {
      storageNodes: 2,
      replicas: 2,
      clients: 2,
      legTimeout: '1s',
      replicaTimeout: '1h',
      leaseMs: 4000,
      operators: 1,
      volatileCache: false,
      mode: 'block',
      thinkMs: 400,
      teardown: false,
      ...shape,
    },
    steps,
    healMs: 6000,
  };
};

interface Choice {
  readonly at: number;
  readonly event: PendingEvent;
  readonly state: string;
}

export async function search(options: ModelOptions): Promise<ModelResult> {
  const { depth, endAtMs = Number.POSITIVE_INFINITY, now = () => 0 } = options;
  const schedule = story(options.shape);
  /** By state, the most departures that were still to be made there. */
  const searched = new Map<string, number>();
  const violations: { violation: Violation; departures: readonly Departure[] }[] = [];
  let runs = 0;
  let longestRun = 0;
  let exhausted = true;

  const runWith = async (departures: readonly Departure[], choices: Choice[] | undefined): Promise<void> => {
    const from = (departures.at(-1)?.at ?? -1) + 1;
    let next = 0;
    const worldOptions = { ...options.world, dice: middle };
    const { violation, events } = await runSchedule(schedule, worldOptions, (world) => {
      world.scheduler.beforeEvent = (event, index) => {
        const departure = departures[next];
        if (departure?.at === index) {
          next += 1;
          return depart(world, event, departure);
        }
        const isChoice = next === departures.length && index >= from && event.atMs < schedule.healMs;
        if (isChoice && choices !== undefined && programOf(event) !== undefined) {
          choices.push({ at: index, event, state: stateOf(world, event) });
        }
        return undefined;
      };
    });
    runs += 1;
    longestRun = Math.max(longestRun, events);
    if (violation !== undefined) violations.push({ violation, departures });
    options.onRun?.(runs, searched.size);
  };

  const explore = async (departures: readonly Departure[]): Promise<void> => {
    const left = depth - departures.length;
    const choices: Choice[] | undefined = left > 0 ? [] : undefined;
    await runWith(departures, choices);
    for (const { at, event, state } of choices ?? []) {
      if (violations.length > 0) return;
      if ((searched.get(state) ?? 0) >= left) continue;
      searched.set(state, left);
      for (const departure of departuresAt(at, event)) {
        if (now() > endAtMs) {
          exhausted = false;
          return;
        }
        await explore([...departures, departure]);
      }
    }
  };

  await explore([]);
  return { runs, states: searched.size, longestRun, violations, exhausted: exhausted && violations.length === 0 };
}

/** The program that an event belongs to: its own, or the one that sent a request. */
function programOf({ program, label }: PendingEvent): string | undefined {
  const name = program?.name ?? label;
  if (name.startsWith(OPERATOR)) return OPERATOR;
  const found = /^(?:agent |kernel of )?([cs]\d+)\b/.exec(name)?.[1];
  return found === undefined ? undefined : agentOf(found);
}

const machineOf = (program: string): string | undefined => /[cs]\d+$/.exec(program)?.[0];

function departuresAt(at: number, event: PendingEvent): readonly Departure[] {
  const who = programOf(event) ?? '';
  const machine = machineOf(who);
  // These are many and all alike.
  if (/Lease|watches|keep-alive|^timer$/.test(event.label)) return [];
  // A step of a kernel or a disk: no program of ours can be killed in it.
  if (event.program?.name.startsWith('kernel') === true) return [{ at, kind: 'power', who: machine ?? '' }];
  return [
    { at, kind: 'kill', who },
    { at, kind: 'late', who },
    ...(machine === undefined ? [] : ([{ at, kind: 'power', who: machine }] as const)),
    ...(machine?.startsWith('s') === true ? ([{ at, kind: 'cut-client', who: machine }] as const) : []),
    ...(machine === undefined ? [] : ([{ at, kind: 'cut-api', who: machine }] as const)),
  ];
}

/** @returns how long the event has to wait, if it is that which departs */
function depart(world: World, event: PendingEvent, { kind }: Departure): number | undefined {
  const { scheduler, services, network } = world;
  const program = programOf(event) ?? '';
  const machine = machineOf(program) ?? '';
  const later = (ms: number, run: () => void): void => void scheduler.after(undefined, ms, 'fault ends', run);
  const cut = (a: string, b: string): void => {
    network.cut(a, b);
    network.cut(b, a);
    later(CUT_MS, () => {
      network.heal(a, b);
      network.heal(b, a);
    });
  };
  switch (kind) {
    case 'kill':
      services.get(program)?.kill(DOWN_MS);
      return undefined;
    case 'power':
      world.powerOff(machine);
      later(DOWN_MS, () => world.powerOn(machine));
      return undefined;
    case 'cut-client':
      cut(machine, 'c1');
      return undefined;
    case 'cut-api':
      cut(machine, API);
      return undefined;
    case 'late':
      return LATE_MS;
  }
}

/** What the world is like, without what only counts: times are relative, versions and stamps are left out. */
function stateOf(world: World, next: PendingEvent): string {
  const { api, scheduler, storage, clients, services, laws } = world;
  const nowMs = scheduler.now();
  const strip = (key: string, value: unknown): unknown =>
    /^(resourceVersion|generation|lastTransitionTime|creationTimestamp|since|at|renewTime|message|observedGeneration|latencyMs)$/.test(
      key,
    )
      ? undefined
      : value;
  const hash = createHash('sha1');
  for (const table of [api.volumes, api.replicas, api.connections]) {
    hash.update(JSON.stringify([...table.rows.values()], strip));
  }
  for (const kernel of storage.values()) hash.update(JSON.stringify([kernel.on, kernel.bootId, kernel.exports()]));
  for (const kernel of clients.values()) hash.update(JSON.stringify([kernel.on, kernel.bootId, kernel.leftovers()]));
  for (const service of services.values()) hash.update(`${service.name} ${service.handle().alive}`);
  hash.update(JSON.stringify([...laws.acknowledged]));
  const waits = scheduler
    .pending()
    .filter(({ label }) => !/Lease/.test(label))
    .map(({ program, label, atMs }) => `${program?.name} ${label} ${Math.round(atMs - nowMs)}`);
  hash.update(`${next.label} ${waits.join('|')}`);
  return hash.digest('base64');
}
