import type { IncomingMessage } from 'node:http';
import type { KubeObject } from '../api/meta.ts';
import type { Clock } from '../clock.ts';
import { describeError } from '../describe-error.ts';
import type { KubeConnection } from './connection.ts';
import { KubeError, type KubeStatus } from './error.ts';
import { collectionPath, type ResourceKind } from './kinds.ts';
import { query, slim } from './wire.ts';

export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string | undefined }
  | { readonly type: 'ERROR'; readonly error: KubeError };

export interface WatchOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** The resourceVersion after which to begin. */
  readonly from: string;
  /** The server ends the watch after this time; if it doesn't, we do, a little later. */
  readonly lifetimeMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const GRACE_MS = 10_000;

/**
 * The changes of a kind's objects from a moment on. Ends as the server ends it; throws KubeError when the server refuses
 * or the connection breaks. A connection that died in silence ends with the lifetime at the latest, or sooner by TCP's
 * keepalive.
 */
export async function* openWatch<T extends KubeObject>(
  connection: KubeConnection,
  kind: ResourceKind<T>,
  options: WatchOptions,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const { namespace, labelSelector, fieldSelector, from, lifetimeMs, clock, signal } = options;
  const response = await connection.stream({
    method: 'GET',
    path:
      collectionPath(kind, namespace) +
      query({
        watch: true,
        allowWatchBookmarks: true,
        resourceVersion: from,
        timeoutSeconds: Math.max(1, Math.round(lifetimeMs / 1000)),
        labelSelector,
        fieldSelector,
      }),
    signal,
  });
  const cancel = clock.setTimeout(
    () => response.destroy(new KubeError(0, 'Timeout', `watch ${kind.plural}: the server did not end it in time`)),
    lifetimeMs + GRACE_MS,
  );
  try {
    for await (const line of linesOf(response)) yield toEvent<T>(line, kind.plural);
  } catch (error) {
    if (error instanceof KubeError) throw error;
    throw new KubeError(0, 'ConnectionFailed', `watch ${kind.plural}: ${describeError(error)}`);
  } finally {
    cancel();
    response.destroy();
  }
}

/** Whole lines; what comes after the last newline is the torn end of a broken connection, and no event. */
async function* linesOf(response: IncomingMessage): AsyncGenerator<string, void, undefined> {
  response.setEncoding('utf8');
  let parts: string[] = [];
  for await (const chunk of response as AsyncIterable<string>) {
    const lines = chunk.split('\n');
    const last = lines.pop() ?? '';
    for (const line of lines) {
      parts.push(line);
      const whole = parts.join('');
      parts = [];
      if (whole.trim() !== '') yield whole;
    }
    if (last !== '') parts.push(last);
  }
}

function toEvent<T extends KubeObject>(line: string, plural: string): WatchEvent<T> {
  const { type, object } = JSON.parse(line) as { type: string; object: unknown };
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type, object: slim(object as T) };
    case 'BOOKMARK':
      return { type, resourceVersion: (object as T).metadata.resourceVersion };
    case 'ERROR': {
      const status = object as KubeStatus;
      const message = `watch ${plural}: ${status.message ?? status.reason ?? 'an error without a message'}`;
      return { type, error: new KubeError(status.code ?? 500, status.reason ?? '', message) };
    }
    default:
      throw new KubeError(0, 'BadAnswer', `watch ${plural}: there is no event type "${type}"`);
  }
}
