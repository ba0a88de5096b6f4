import { randomBytes } from 'node:crypto';
import os from 'node:os';
import type { KubeObject } from '../api/meta.ts';
import { systemClock, type Clock } from '../clock.ts';
import { describeError } from '../describe-error.ts';
import { silentLog, type Logger } from '../log.ts';
import { resource, type Resource } from './client.ts';
import type { KubeConnection } from './connection.ts';
import { KubeError } from './error.ts';
import { kinds, type KubeEvent } from './kinds.ts';
import { secondTime } from './time.ts';

export type EventType = 'Normal' | 'Warning';

/** Tells people what happened to an object; `kubectl describe` shows it. */
export interface EventRecorder {
  /** Never throws and never waits: an event that can't be written is logged and lost. */
  event(object: KubeObject, type: EventType, reason: string, message: string): void;
  /** Resolves when all that was recorded is written or lost. */
  flush(): Promise<void>;
}

export interface EventRecorderOptions {
  readonly log?: Logger;
  readonly clock?: Clock;
  /** For tests. */
  readonly events?: (namespace: string) => Resource<KubeEvent>;
  /** Distinct events that may wait to be written; beyond it the oldest is lost. Default 200. */
  readonly maxWaiting?: number;
}

interface Series {
  readonly name: string;
  readonly namespace: string;
  readonly firstMs: number;
  lastMs: number;
  count: number;
  /** What the API server knows: 0 means that the event is not there yet. */
  written: number;
  readonly event: Omit<KubeEvent, 'metadata' | 'count' | 'lastTimestamp'>;
}

/** A repeat within this time counts up the event that is there. The API server keeps events for an hour. */
const SERIES_MS = 10 * 60_000;
const MAX_SERIES = 1000;
const MAX_MESSAGE = 1024;

/** Records events under the name of a component. Repeats become one event with a count. */
export function createEventRecorder(
  connection: KubeConnection,
  component: string,
  options: EventRecorderOptions = {},
): EventRecorder {
  const { log = silentLog, clock = systemClock, maxWaiting = 200 } = options;
  const events = options.events ?? ((namespace: string) => resource(connection, kinds.events, namespace));
  const host = os.hostname();
  const known = new Map<string, Series>();
  const waiting = new Set<Series>();
  let writing: Promise<void> | undefined;

  function seriesOf(object: KubeObject, type: EventType, reason: string, message: string, nowMs: number): Series {
    const { name, namespace, uid, resourceVersion } = object.metadata;
    const key = JSON.stringify([object.kind, namespace, name, uid, type, reason, message]);
    const before = known.get(key);
    known.delete(key);
    const series =
      before && nowMs - before.lastMs < SERIES_MS
        ? before
        : {
            name: `${name.slice(0, 200)}.${nowMs.toString(16)}${randomBytes(3).toString('hex')}`,
            // Events are namespaced; those about cluster-scoped objects belong into "default".
            namespace: namespace ?? 'default',
            firstMs: nowMs,
            lastMs: nowMs,
            count: 0,
            written: 0,
            event: {
              involvedObject: {
                ...(object.apiVersion !== undefined && { apiVersion: object.apiVersion }),
                ...(object.kind !== undefined && { kind: object.kind }),
                name,
                ...(namespace !== undefined && { namespace }),
                ...(uid !== undefined && { uid }),
                ...(resourceVersion !== undefined && { resourceVersion }),
              },
              type,
              reason,
              message: message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE - 3)}...` : message,
              firstTimestamp: secondTime(nowMs),
              source: { component, host },
              reportingComponent: component,
              reportingInstance: host,
            },
          };
    // The order of the map is the order of use: the first is the one unused for longest.
    known.set(key, series);
    for (const oldest of known.keys()) {
      if (known.size <= MAX_SERIES) break;
      known.delete(oldest);
    }
    return series;
  }

  async function write(series: Series): Promise<void> {
    const { count, name } = series;
    const lastTimestamp = secondTime(series.lastMs);
    const target = events(series.namespace);
    if (series.written > 0) {
      try {
        await target.patch(name, { count, lastTimestamp });
        series.written = count;
        return;
      } catch (error) {
        // The API server has dropped it as too old: begin anew.
        if (!(error instanceof KubeError && error.isNotFound)) throw error;
      }
    }
    await target.create({ metadata: { name, namespace: series.namespace }, ...series.event, count, lastTimestamp });
    series.written = count;
  }

  async function writeAll(): Promise<void> {
    for (const series of waiting) {
      waiting.delete(series);
      try {
        await write(series);
      } catch (error) {
        log.warn('an event could not be written', { reason: series.event.reason, error: describeError(error) });
      }
    }
  }

  return {
    event: (object, type, reason, message) => {
      const nowMs = clock.now();
      const series = seriesOf(object, type, reason, message, nowMs);
      series.count += 1;
      series.lastMs = nowMs;
      waiting.add(series);
      for (const oldest of waiting) {
        if (waiting.size <= maxWaiting) break;
        waiting.delete(oldest);
        log.warn('an event was dropped: too many wait', { reason: oldest.event.reason });
      }
      writing ??= writeAll().finally(() => {
        writing = undefined;
      });
    },
    flush: async () => {
      // What is recorded while the last write runs is written by the same loop, which goes on until nothing waits.
      await writing;
    },
  };
}
