import type { Clock } from '../clock.ts';
import { backoffMs } from './backoff.ts';

/** Keys to work on: each at most once in the queue, never handed out twice at a time. */
export interface Queue {
  add(key: string): void;
  /** Adds the key later; of several such requests the earliest counts. */
  addAfter(key: string, afterMs: number): void;
  /** Adds the key after a wait that grows with its failures, and is `atLeastMs` or more. */
  addBackedOff(key: string, atLeastMs: number): { readonly delayMs: number; readonly failures: number };
  /** The key succeeded: its next failure is its first. */
  forget(key: string): void;
  /** The oldest key that nobody works on; the taker must call `done`. */
  take(): string | undefined;
  /** The work on the key ended; if it was added meanwhile, it is ready again. */
  done(key: string): void;
  /** Called whenever a key has become ready. */
  onReady(listener: () => void): void;
  clear(): void;
}

/** A longer timer would fire at once; waking up early does no harm. */
const MAX_TIMER_MS = 2_147_483_647;

export interface QueueOptions {
  readonly baseMs: number;
  readonly maxMs: number;
  readonly clock: Clock;
  readonly random: () => number;
}

export function createQueue({ baseMs, maxMs, clock, random }: QueueOptions): Queue {
  const ready = new Set<string>();
  const working = new Set<string>();
  const dirty = new Set<string>();
  const failures = new Map<string, number>();
  const delayed = new Map<string, { readonly atMs: number; readonly cancel: () => void }>();
  let listener: (() => void) | undefined;

  function add(key: string): void {
    if (working.has(key)) {
      dirty.add(key);
      return;
    }
    if (ready.has(key)) return;
    ready.add(key);
    listener?.();
  }

  function addAfter(key: string, afterMs: number): void {
    const atMs = clock.monotonicMs() + Math.max(0, afterMs);
    const waiting = delayed.get(key);
    if (waiting && waiting.atMs <= atMs) return;
    waiting?.cancel();
    const cancel = clock.setTimeout(
      () => {
        delayed.delete(key);
        add(key);
      },
      Math.min(Math.max(0, afterMs), MAX_TIMER_MS),
    );
    delayed.set(key, { atMs, cancel });
  }

  return {
    add,
    addAfter,
    addBackedOff: (key, atLeastMs) => {
      const before = failures.get(key) ?? 0;
      failures.set(key, before + 1);
      const delayMs = Math.max(atLeastMs, backoffMs(before, { baseMs, maxMs, random }));
      addAfter(key, delayMs);
      return { delayMs, failures: before + 1 };
    },
    forget: (key) => {
      failures.delete(key);
    },
    take: () => {
      const [key] = ready;
      if (key === undefined) return undefined;
      ready.delete(key);
      working.add(key);
      return key;
    },
    done: (key) => {
      working.delete(key);
      if (dirty.delete(key)) add(key);
    },
    onReady: (called) => {
      listener = called;
    },
    clear: () => {
      ready.clear();
      dirty.clear();
      for (const { cancel } of delayed.values()) cancel();
      delayed.clear();
    },
  };
}
