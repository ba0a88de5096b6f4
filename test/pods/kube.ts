import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeConnection } from '../../lib/kube/client.ts';

/** A pod, as far as the test looks. */
export interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly phase: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

/** Reads one object or a list; undefined when it isn't there. @throws Error for any other answer */
export async function get<T>(connection: KubeConnection, path: string): Promise<T | undefined> {
  const { status, body } = await connection.request({ method: 'GET', path });
  if (status === 404) return undefined;
  if (status >= 300) throw new Error(`GET ${path}: ${status} ${body.slice(0, 300)}`);
  return JSON.parse(body) as T;
}

export async function list<T>(connection: KubeConnection, path: string): Promise<readonly T[]> {
  return (await get<{ readonly items: readonly T[] }>(connection, path))?.items ?? [];
}

/** Asks until there is an answer. @returns it @throws Error after `timeoutMs`, with what was last said to be missing */
export async function until<T>(
  what: string,
  timeoutMs: number,
  probe: () => Promise<T | undefined>,
  why: () => Promise<string> = () => Promise.resolve(''),
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s ${await why()}`);
    await sleep(150);
  }
}

export const isReady = (status: Pod['status']): boolean =>
  status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
