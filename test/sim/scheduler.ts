/**
 * Time and order of the simulated world. Nothing in it uses a real timer: whatever waits is an event in a queue, ordered by
 * virtual time, and one event runs at a time, together with all that the promises it settles set going.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Dice } from './random.ts';

/** One run of a program, from its start to its end. A program that is killed never runs again; a new run is another handle. */
export interface ProgramHandle {
  readonly name: string;
  alive: boolean;
}

export interface Turns {
  /** Virtual milliseconds since the world began. */
  now(): number;
  /**
   * One effect of a program on the world: done at some later moment, in one piece. When the program has been killed before,
   * nothing is done; in either case of a kill the promise never settles.
   */
  turn<T>(program: ProgramHandle, label: string, effect: () => T | PromiseLike<T>): Promise<T>;
  timer(program: ProgramHandle, ms: number, label: string): Promise<void>;
}

/** Milliseconds since 1970 at the beginning of the world. */
export const WORLD_BEGAN_MS = Date.parse('2026-01-01T00:00:00Z');

export interface Scheduler extends Turns {
  readonly dice: Dice;
  /** Runs `run` after `ms`, unless the program is dead by then or the returned function was called. */
  after(program: ProgramHandle | undefined, ms: number, label: string, run: () => void): () => void;
  /** The clock of a program, for code of the product. */
  clockOf(program: ProgramHandle): Clock;
  /** Lets the world run until this moment, or until `isDone` says so (asked after each event). */
  run(untilMs: number, isDone?: () => boolean): Promise<void>;
  /** Called after each turn's effect and before the program learns of it: the moment between two effects. */
  onTurn: (program: ProgramHandle, label: string) => void;
  /** By how much the wall clock is off that programs of this name read. */
  setWall(program: string, offMs: number): void;
  /** Holds all events of a program back until `untilMs`: a machine that swaps, a process that is stopped. */
  hold(program: ProgramHandle, untilMs: number): void;
  /** Events that have run. */
  events(): number;
  /** Asked before each event; a time makes it wait that much longer. For a search that chooses the order itself. */
  beforeEvent: ((event: PendingEvent, index: number) => number | undefined) | undefined;
  /** What waits, soonest first. */
  pending(): readonly PendingEvent[];
}

export interface PendingEvent {
  readonly atMs: number;
  readonly program: ProgramHandle | undefined;
  readonly label: string;
  /** Index of the event that made it, -1 for the beginning of the world. */
  readonly cause: number;
}

interface Event {
  atMs: number;
  readonly seq: number;
  readonly program: ProgramHandle | undefined;
  readonly label: string;
  readonly cause: number;
  run: (() => void) | undefined;
}

/** How long an effect takes: mostly nothing much, sometimes long enough for everything else to happen in between. */
function effectMs(dice: Dice): number {
  const kind = dice.integer(64);
  if (kind === 0) return 100 + dice.integer(900);
  return kind < 6 ? 5 + dice.integer(40) : 0.1 + 2 * dice.fraction();
}

export function createScheduler(dice: Dice): Scheduler {
  let nowMs = 0;
  let seq = 0;
  let count = 0;
  const heap: Event[] = [];
  const heldUntilMs = new Map<ProgramHandle, number>();
  const wallOffMs = new Map<string, number>();

  const push = (event: Event): void => {
    heap.push(event);
    let at = heap.length - 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = heap[up] as Event;
      if (!before(event, parent)) break;
      heap[at] = parent;
      at = up;
    }
    heap[at] = event;
  };
  const pop = (): Event => {
    const top = heap[0] as Event;
    const last = heap.pop() as Event;
    if (heap.length > 0) sink(last);
    return top;
  };
  const sink = (event: Event): void => {
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const right = left + 1;
      const least = right < heap.length && before(heap[right] as Event, heap[left] as Event) ? right : left;
      if (!before(heap[least] as Event, event)) break;
      heap[at] = heap[least] as Event;
      at = least;
    }
    heap[at] = event;
  };

  const after: Scheduler['after'] = (program, ms, label, run) => {
    const event: Event = { atMs: nowMs + Math.max(0, ms), seq: (seq += 1), program, label, cause: count - 1, run };
    push(event);
    return () => {
      event.run = undefined;
    };
  };

  const runUntil = (untilMs: number, isDone: (() => boolean) | undefined): void => {
    for (;;) {
      const next = heap[0];
      if (next === undefined || next.atMs > untilMs) break;
      pop();
      const { run, program } = next;
      if (run === undefined || isDead(next)) continue;
      const heldMs = program === undefined ? undefined : heldUntilMs.get(program);
      if (heldMs !== undefined && heldMs > next.atMs) {
        next.atMs = heldMs;
        push(next);
        continue;
      }
      nowMs = next.atMs;
      const waitMs = scheduler.beforeEvent?.(next, count);
      if (waitMs !== undefined) {
        next.atMs += waitMs;
        push(next);
        continue;
      }
      // What was asked may have killed it.
      if (isDead(next)) continue;
      count += 1;
      run();
      settlePromises();
      if (isDone?.() === true) return;
    }
    nowMs = Math.max(nowMs, untilMs);
  };

  const scheduler: Scheduler = {
    dice,
    now: () => nowMs,
    after,
    onTurn: () => undefined,
    beforeEvent: undefined,
    pending: () => heap.filter(({ run, program }) => run !== undefined && program?.alive !== false).sort(inOrder),
    turn: <T>(program: ProgramHandle, label: string, effect: () => T | PromiseLike<T>) =>
      new Promise<T>((resolve, reject) => {
        if (!program.alive) return;
        after(program, effectMs(dice), label, () => {
          let settle: () => void;
          try {
            const result: T | PromiseLike<T> = effect();
            if (isPromise(result)) {
              // An effect that takes its time: nobody learns of its end once the program is dead.
              result.then(
                (value) => program.alive && resolve(value),
                (error: unknown) => program.alive && reject(asError(error)),
              );
              settle = () => undefined;
            } else settle = () => resolve(result);
          } catch (error) {
            settle = () => reject(asError(error));
          }
          scheduler.onTurn(program, label);
          if (program.alive) settle();
        });
      }),
    timer: (program, ms, label) =>
      new Promise((resolve) => {
        if (program.alive) after(program, ms, label, resolve);
      }),
    clockOf: (program) => ({
      now: () => WORLD_BEGAN_MS + nowMs + (wallOffMs.get(program.name) ?? 0),
      monotonicMs: () => nowMs,
      setTimeout: (run, ms) => after(program, ms, 'timer', run),
    }),
    setWall: (program, offMs) => void wallOffMs.set(program, offMs),
    hold: (program, untilMs) => {
      heldUntilMs.set(program, untilMs);
    },
    events: () => count,
    run: (untilMs, isDone) =>
      new Promise((resolve, reject) => {
        // Promises can be made to run on between two events only from a task of the event loop, not from a promise.
        setImmediate(() => {
          try {
            runUntil(untilMs, isDone);
            resolve();
          } catch (error) {
            reject(asError(error));
          }
        });
      }),
  };
  return scheduler;
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.seq < b.seq);
}

const isDead = ({ program }: Event): boolean => program?.alive === false;

const isPromise = <T>(value: T | PromiseLike<T>): value is PromiseLike<T> =>
  typeof value === 'object' && value !== null && 'then' in value;

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

const inOrder = (a: Event, b: Event): number => (before(a, b) ? -1 : 1);

/**
 * Lets every promise that can run on do so, and returns when none can. It is what Node does between two tasks of the event
 * loop; a task of its own for each event would say the same in documented words, and take twice as long.
 */
// oxlint-disable-next-line no-underscore-dangle -- the name is Node's
const settlePromises = (process as unknown as { readonly _tickCallback: () => void })._tickCallback;
