/**
 * The places at which a run can depart from its course, and the ways. Departures that can't make a difference are left out:
 * a fault just before one event is the same as just before the next, if the first has nothing to do with what fails; and
 * two events that touch nothing in common may as well come in one order as in the other (partial-order reduction).
 */
import { CONTROLLER } from '../schedule.ts';
import type { World } from '../world.ts';
import type { Traced } from './trace.ts';
import { isHeartbeat, machineOf, programOf } from './trace.ts';

export interface Departure {
  /** Index of the event that it comes before. */
  readonly at: number;
  readonly kind: 'kill' | 'power' | 'cut' | 'late';
  /** The program, machine or link; for `late`, what is late and what overtakes it. */
  readonly who: string;
  /** For `late`: how long it waits. */
  readonly waitMs?: number;
}

/** After these a fault ends. Longer than `legTimeout` (1 s) where a leg is to be dropped. */
const DOWN_MS = 300;
const OFF_MS = 1500;
const CUT_MS = 2500;
/** An event is overtaken by at most what comes within this time: longer than a lease (4 s). */
const LATE_MS = 4500;
/** It comes just after what overtakes it. */
const JUST_AFTER_MS = 0.001;

/** By how many events one is overtaken: each number up to this one, then its double, and so on. */
export const EACH_UP_TO = 2;

export interface Range {
  readonly fromMs: number;
  readonly untilMs: number;
  /** Index of the first event that may be departed from. */
  readonly from: number;
}

export function departuresOf(
  trace: readonly Traced[],
  { fromMs, untilMs, from }: Range,
  eachUpTo = EACH_UP_TO,
): readonly Departure[] {
  const found: Departure[] = [];
  const senders = new Set(trace.filter(({ isOwn }) => !isOwn).map(({ cause }) => cause));
  /** Machines that have left no mark since they could have lost their power last. */
  const unmarked = new Set<string>();
  for (const [index, event] of trace.entries()) {
    const { at, atMs, links, isOwn, label } = event;
    const machine = isOwn ? machineOf(event.program ?? '') : undefined;
    const isPlace = at >= from && atMs >= fromMs && atMs < untilMs && !isHeartbeat(label);
    if (isPlace && machine !== undefined && !unmarked.has(machine)) {
      found.push({ at, kind: 'power', who: machine });
      unmarked.add(machine);
    }
    if (machine !== undefined && (senders.has(at) || leavesMark(event))) unmarked.delete(machine);
    if (!isPlace) continue;
    const program = programOf(event);
    // What a watch brings changes nothing outside of its program before the program's next event.
    if (isOwn && program !== undefined && !isWatch(label)) found.push({ at, kind: 'kill', who: program });
    for (const link of links) found.push({ at, kind: 'cut', who: link });
    if (canBeLate(event)) found.push(...latenesses(trace, index, eachUpTo));
  }
  return found;
}

/** Something that survives its machine's memory: on a disk, on the way to others, or told to a user. */
function leavesMark({ links, label, program = '' }: Traced): boolean {
  if (links.length > 0 || label === 'disk') return true;
  if (program.startsWith('kernel')) return label === 'answer';
  return !/^timer$|^sleep$|answered$| watches /.test(label);
}

const isWatch = (label: string): boolean => label.includes(' watches ');

/**
 * Requests, answers, effects and watches of programs (but of the CSI controller, which only passes on what Kubernetes wants, and
 * is late when Kubernetes is); of kernels, what depends on a disk or on the order of threads.
 */
function canBeLate(event: Traced): boolean {
  const { program, label } = event;
  if (program === undefined || program === CONTROLLER || label === 'timer') return false;
  return programOf(event) !== undefined || /^(disk|md thread|raid1d|sync)$/.test(label);
}

/** Later by each event with which it does not commute, of those that don't come from it. */
function latenesses(trace: readonly Traced[], index: number, eachUpTo: number): readonly Departure[] {
  const event = trace[index];
  if (event === undefined) return [];
  const found: Departure[] = [];
  const itsOwn = new Set([event.at]);
  let overtaking = 0;
  let next = 1;
  for (let other = trace[(index += 1)]; other !== undefined; other = trace[(index += 1)]) {
    if (other.atMs > event.atMs + LATE_MS) break;
    if (itsOwn.has(other.cause)) itsOwn.add(other.at);
    else if (!isHeartbeat(other.label) && !commute(event, other)) {
      overtaking += 1;
      if (overtaking < next) continue;
      next = overtaking < eachUpTo ? overtaking + 1 : 2 * overtaking;
      const waitMs = other.atMs - event.atMs + JUST_AFTER_MS;
      found.push({ at: event.at, kind: 'late', who: `${event.label} (after ${other.label})`, waitMs });
    }
  }
  return found;
}

const commute = (a: Traced, b: Traced): boolean =>
  (a.writes & (b.writes | b.reads)) === 0 && (a.reads & b.writes) === 0;

/** Departs before the event that comes next. @returns how long that has to wait, if it is late */
export function depart(world: World, departure: Departure): number | undefined {
  const { scheduler, services, network } = world;
  const { kind, who } = departure;
  const later = (ms: number, run: () => void): void => void scheduler.after(undefined, ms, 'fault ends', run);
  switch (kind) {
    case 'kill':
      services.get(who)?.kill(DOWN_MS);
      return undefined;
    case 'power':
      world.powerOff(who);
      later(OFF_MS, () => world.powerOn(who));
      return undefined;
    case 'cut': {
      const [a = '', b = ''] = who.split('-');
      network.cut(a, b);
      network.cut(b, a);
      later(CUT_MS, () => {
        network.heal(a, b);
        network.heal(b, a);
      });
      return undefined;
    }
    case 'late':
      return departure.waitMs;
  }
}
