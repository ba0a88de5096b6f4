import type { KubeObject } from '../api/meta.ts';
import { sleep, systemClock, type Clock } from '../clock.ts';
import { describeError } from '../describe-error.ts';
import { silentLog, type Logger } from '../log.ts';
import { createBackoff } from './backoff.ts';
import type { KubeConnection } from './connection.ts';
import { KubeError } from './error.ts';
import type { ResourceKind } from './kinds.ts';
import { listAll } from './list.ts';
import { createStore } from './store.ts';
import { openWatch } from './watch.ts';

/** A local copy of all objects of a kind, kept current by a list and watches. The objects are shared: never change one. */
export interface Informer<T extends KubeObject> {
  start(): void;
  /** Ends the watch; when it resolves, no handler runs any more. */
  stop(): Promise<void>;
  /** Resolves after the first complete list has been handed to `onChange`; rejects after `timeoutMs` (default: never). */
  synced(timeoutMs?: number): Promise<void>;
  /** By name; `namespace/name` when the informer watches a namespaced kind in all namespaces. */
  get(name: string): T | undefined;
  list(): readonly T[];
  byIndex(index: string, value: string): readonly T[];
}

export interface InformerOptions<T extends KubeObject> {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** For each index, the values under which an object is found by `byIndex`. */
  readonly indexes?: Readonly<Record<string, (object: T) => string[]>>;
  /**
   * Called in order, one at a time, after the local copy has changed. A change may be seen as one of several that were
   * made; a deletion is always seen, with the last known state of the object. What it throws is logged.
   */
  readonly onChange?: (object: T, previous: T | undefined, deleted: boolean) => void;
  readonly log?: Logger;
  /** Calls `onChange` for every object this often, changed or not. */
  readonly resyncMs?: number;
  readonly clock?: Clock;
  /** From 0 to 1, for jitter. */
  readonly random?: () => number;
  /** A watch ends after one to two times this long and begins anew where it was. Default 120 000 ms. */
  readonly watchMs?: number;
  /** Default 200 ms, doubled up to 5 s. */
  readonly backoff?: { readonly baseMs: number; readonly maxMs: number };
}

/** Watches that fail this often in a row at one resourceVersion: the server may not have it any more; list again. */
const WATCH_FAILURES_BEFORE_LIST = 5;
/** A watch that ends sooner is not begun again at once; without an event, it is a failure. */
const SHORT_WATCH_MS = 1000;

/**
 * Keeps a local copy of the objects of a kind. It survives everything: an API server that is away for however long,
 * refuses, answers nonsense, or has forgotten the resourceVersion (HTTP 410); it only ends by `stop`.
 */
export function createInformer<T extends KubeObject>(
  connection: KubeConnection,
  kind: ResourceKind<T>,
  options: InformerOptions<T> = {},
): Informer<T> {
  const { log = silentLog, clock = systemClock, random = Math.random, watchMs = 120_000, namespace } = options;
  const { labelSelector, fieldSelector } = options;
  const where = { namespace, labelSelector, fieldSelector };
  const store = createStore<T>({
    keyOf: ({ metadata }) =>
      kind.namespaced && namespace === undefined ? `${metadata.namespace ?? ''}/${metadata.name}` : metadata.name,
    indexes: options.indexes ?? {},
  });
  const backoff = createBackoff({ ...(options.backoff ?? { baseMs: 200, maxMs: 5000 }), random });
  const stopping = new AbortController();
  const firstList = Promise.withResolvers<void>();
  firstList.promise.catch(() => undefined);
  let running: Promise<void> | undefined;
  let cancelResync: (() => void) | undefined;
  let lastError: unknown;
  /** The resourceVersion from which to watch; undefined when everything is to be listed. */
  let position: string | undefined;

  /** Deletes that a relist found, and everything else, go through here: the one place that calls the handler. */
  function tell(object: T, previous: T | undefined, deleted: boolean): void {
    const failed = (error: unknown): void =>
      log.error('the handler of a change failed', { kind: kind.kind, name: object.metadata.name, error });
    try {
      const result: unknown = options.onChange?.(object, previous, deleted);
      // An async function fits the type of the handler: its failure must not end the process.
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  function changed(object: T): void {
    const previous = store.get(store.keyOf(object));
    if (previous && sameVersion(previous, object)) return;
    store.set(object);
    tell(object, previous, false);
  }

  function deleted(object: T): void {
    const previous = store.get(store.keyOf(object));
    if (!previous) return;
    store.delete(store.keyOf(object));
    tell(object, previous, true);
  }

  async function relist(): Promise<string> {
    const { items, resourceVersion } = await listAll(connection, kind, { ...where, signal: stopping.signal });
    const keys = new Set(items.map((item) => store.keyOf(item)));
    for (const known of store.list()) if (!keys.has(store.keyOf(known))) deleted(known);
    for (const item of items) {
      const known = store.get(store.keyOf(item));
      // Deleted and made anew while nobody watched: two objects, not one that changed.
      if (known && known.metadata.uid !== item.metadata.uid) deleted(known);
      changed(item);
    }
    return resourceVersion;
  }

  /** Watches until the server ends the watch, and moves `position` along. */
  async function watchOnce(from: string): Promise<void> {
    const startedMs = clock.monotonicMs();
    const lifetimeMs = Math.round(watchMs * (1 + random()));
    const events = openWatch(connection, kind, { ...where, from, lifetimeMs, clock, signal: stopping.signal });
    let seen = 0;
    for await (const event of events) {
      if (seen === 0) backoff.reset();
      seen += 1;
      switch (event.type) {
        case 'ADDED':
        case 'MODIFIED':
          changed(event.object);
          position = event.object.metadata.resourceVersion ?? position;
          break;
        case 'DELETED':
          deleted(event.object);
          position = event.object.metadata.resourceVersion ?? position;
          break;
        case 'BOOKMARK':
          position = event.resourceVersion ?? position;
          break;
        case 'ERROR':
          throw event.error;
      }
    }
    if (clock.monotonicMs() - startedMs >= SHORT_WATCH_MS) return;
    if (seen === 0) throw new KubeError(0, 'ConnectionFailed', `watch ${kind.plural}: it ended at once`);
    await sleep(clock, backoff.next(), stopping.signal);
  }

  async function run(): Promise<void> {
    let failures = 0;
    while (!stopping.signal.aborted) {
      try {
        if (position === undefined) {
          position = await relist();
          failures = 0;
          lastError = undefined;
          firstList.resolve();
          backoff.reset();
        }
        await watchOnce(position);
        failures = 0;
      } catch (error) {
        if (stopping.signal.aborted) break;
        lastError = error;
        failures += 1;
        const expired = error instanceof KubeError && error.isExpired;
        if (expired || failures >= WATCH_FAILURES_BEFORE_LIST) position = undefined;
        const delayMs = Math.max(backoff.next(), error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0);
        const level = failures === 1 ? 'debug' : 'warn';
        log[level]('watching was interrupted', { kind: kind.kind, failures, delayMs, error: describeError(error) });
        await sleep(clock, delayMs, stopping.signal);
      }
    }
  }

  function scheduleResync(): void {
    const { resyncMs } = options;
    if (resyncMs === undefined || resyncMs <= 0) return;
    cancelResync = clock.setTimeout(() => {
      for (const object of store.list()) tell(object, object, false);
      scheduleResync();
    }, resyncMs);
  }

  return {
    start: () => {
      if (running || stopping.signal.aborted) return;
      running = run();
      scheduleResync();
    },
    stop: async () => {
      stopping.abort();
      cancelResync?.();
      firstList.reject(new Error(`the informer of ${kind.plural} was stopped before it was synced`));
      await running;
    },
    synced: async (timeoutMs) => {
      if (timeoutMs === undefined) return await firstList.promise;
      const late = Promise.withResolvers<void>();
      const cancel = clock.setTimeout(() => {
        const why = lastError === undefined ? '' : `: ${describeError(lastError)}`;
        late.reject(new Error(`no list of ${kind.plural} within ${timeoutMs} ms${why}`));
      }, timeoutMs);
      try {
        await Promise.race([firstList.promise, late.promise]);
      } finally {
        cancel();
      }
    },
    get: (name) => store.get(name),
    list: () => store.list(),
    byIndex: (index, value) => store.byIndex(index, value),
  };
}

function sameVersion(a: KubeObject, b: KubeObject): boolean {
  return a.metadata.resourceVersion === b.metadata.resourceVersion && a.metadata.uid === b.metadata.uid;
}
