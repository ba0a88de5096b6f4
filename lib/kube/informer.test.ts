import type { ServerResponse } from 'node:http';
import { afterEach, expect, test } from '@jest/globals';
import type { StorageNode } from '../api/index.ts';
import { silentLog, type Logger } from '../log.ts';
import { kinds } from './client.ts';
import { sendJson, startFaultServer, type FaultServer } from './fault-server.ts';
import { createInformer, type Informer, type InformerOptions } from './informer.ts';

type Respond = (response: ServerResponse, query: URLSearchParams) => void;

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

interface Scene {
  readonly informer: Informer<StorageNode>;
  readonly server: FaultServer;
  readonly changes: string[];
  readonly logs: string[];
}

/** Lists and watches are answered in order, each by the next of its functions; the last one answers all that follow. */
async function scene(lists: Respond[], watches: Respond[], options: InformerOptions<StorageNode> = {}): Promise<Scene> {
  const server = await startFaultServer(
    (request, response) => {
      const query = new URL(request.url ?? '', 'http://x').searchParams;
      const queue = query.has('watch') ? watches : lists;
      const next = queue.length > 1 ? queue.shift() : queue[0];
      next?.(response, query);
    },
    { requestTimeoutMs: 500 },
  );
  cleanUps.push(async () => await server.stop());
  const changes: string[] = [];
  const logs: string[] = [];
  const note = (message: string, fields?: object): void => void logs.push(`${message} ${JSON.stringify(fields)}`);
  const log: Logger = { ...silentLog, debug: note, warn: note, error: note };
  const informer = createInformer(server.connection, kinds.storageNodes, {
    onChange: ({ metadata: { name, resourceVersion } }, previous, deleted) =>
      changes.push(`${deleted ? '-' : previous ? '~' : '+'}${name}@${resourceVersion}`),
    log,
    random: () => 0,
    backoff: { baseMs: 20, maxMs: 100 },
    ...options,
  });
  cleanUps.push(async () => await informer.stop());
  informer.start();
  return { informer, server, changes, logs };
}

const object = (name: string, resourceVersion: number, uid = name) => ({
  metadata: { name, uid, resourceVersion: String(resourceVersion) },
  spec: { addresses: [], pools: [], cordoned: false, draining: false },
});
const list =
  (resourceVersion: number, ...items: object[]): Respond =>
  (response) =>
    sendJson(response, 200, { metadata: { resourceVersion: String(resourceVersion) }, items });
const line = (type: string, event: object): string => `${JSON.stringify({ type, object: event })}\n`;
/** A watch that says something and stays open. */
const says =
  (...lines: string[]): Respond =>
  (response) => {
    response.writeHead(200).flushHeaders();
    for (const each of lines) response.write(each);
  };
const silence = says();
const status =
  (code: number, reason: string, headers: object = {}): Respond =>
  (response) =>
    sendJson(response, code, { kind: 'Status', code, reason, message: `${reason}!` }, headers);
const reset: Respond = (response) => response.socket?.resetAndDestroy();

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(holds()).toBe(true);
}

function watchesFrom(server: FaultServer): (string | null)[] {
  return server.requests
    .filter((request) => request.includes('watch=true'))
    .map((request) => new URL(request.split(' ')[1] ?? '', 'http://x').searchParams.get('resourceVersion'));
}

test('a first list that fails is tried again until it succeeds', async () => {
  const { informer, changes } = await scene(
    [status(503, 'ServiceUnavailable'), reset, (response) => response.end('nonsense'), list(5, object('a', 3))],
    [silence],
  );
  await informer.synced(5000);
  expect(changes).toEqual(['+a@3']);
});

test('after a connection reset it watches from where it was', async () => {
  const resetAfter: Respond = (response, query) => {
    says(line('ADDED', object('a', 7)))(response, query);
    setTimeout(() => response.socket?.resetAndDestroy(), 50);
  };
  const { server, changes } = await scene([list(5)], [resetAfter, says(line('MODIFIED', object('a', 8)))]);
  await until(() => changes.length === 2);
  expect(changes).toEqual(['+a@7', '~a@8']);
  expect(watchesFrom(server)).toEqual(['5', '7']);
  expect(server.requests.filter((request) => !request.includes('watch='))).toHaveLength(1);
});

const ends: Respond = (response) => response.end(line('BOOKMARK', object('', 42)));

test('a bookmark moves the place on from which it watches', async () => {
  const { server } = await scene([list(5)], [ends, silence]);
  await until(() => watchesFrom(server).length === 2);
  expect(watchesFrom(server)).toEqual(['5', '42']);
});

test('an event that was torn by the end of the connection is not taken', async () => {
  const torn: Respond = (response) =>
    response.end(line('ADDED', object('a', 7)) + line('ADDED', object('b', 8)).slice(0, 40));
  const { informer, server, changes } = await scene([list(5)], [torn, says(line('ADDED', object('b', 8)))]);
  await until(() => changes.length === 2);
  expect(watchesFrom(server)).toEqual(['5', '7']);
  expect(informer.get('b')?.metadata.resourceVersion).toBe('8');
});

const pieces: Respond = (response) => {
  response.writeHead(200).flushHeaders();
  const bytes = Buffer.from(line('ADDED', { ...object('a', 7), note: 'é∂ß' }));
  let at = 0;
  const timer = setInterval(() => {
    response.write(bytes.subarray(at, at + 7));
    at += 7;
    if (at >= bytes.length) clearInterval(timer);
  }, 1);
};

test('an event in many pieces is put together', async () => {
  const { informer, changes } = await scene([list(5)], [pieces]);
  await until(() => changes.length === 1);
  expect(informer.get('a')).toMatchObject({ note: 'é∂ß' });
});

test.each([
  ['an answer', status(410, 'Expired')],
  ['an event', says(line('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' }))],
])('HTTP 410 as %s makes it list anew, and what is gone is seen as deleted', async (_how, gone) => {
  const { informer, server, changes } = await scene(
    [list(5, object('a', 1), object('b', 2)), list(90, object('b', 80), object('c', 85))],
    [gone, silence],
  );
  await until(() => watchesFrom(server).length === 2);
  expect(changes).toEqual(['+a@1', '+b@2', '-a@1', '~b@80', '+c@85']);
  expect(watchesFrom(server)).toEqual(['5', '90']);
  expect(informer.list().map(({ metadata }) => metadata.name)).toEqual(['b', 'c']);
});

test('an object that was deleted and made anew while nobody watched is two objects', async () => {
  const { changes } = await scene(
    [list(5, object('a', 1, 'first')), list(90, object('a', 80, 'second'))],
    [status(410, 'Expired'), silence],
  );
  await until(() => changes.length === 3);
  expect(changes).toEqual(['+a@1', '-a@1', '+a@80']);
});

test('watches that fail over and over at one place end in a new list', async () => {
  const { server, changes } = await scene(
    [list(900, object('a', 1)), list(7, object('a', 2))],
    [...Array.from({ length: 5 }, () => status(504, 'Timeout')), silence],
  );
  await until(() => watchesFrom(server).at(-1) === '7');
  expect(changes).toEqual(['+a@1', '~a@2']);
});

test('a server that ends each watch at once is not asked in a tight loop', async () => {
  const empty = await scene([list(5)], [(response) => void response.writeHead(200).end()]);
  const chatty = await scene([list(5)], [(response) => void response.end(line('BOOKMARK', object('', 42)))]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(empty.server.requests.length).toBeLessThan(30);
  expect(chatty.server.requests.length).toBeLessThan(60);
});

test('a server that asks to be left alone is', async () => {
  const { server } = await scene([status(429, 'TooManyRequests', { 'retry-after': '1' }), list(5)], [silence]);
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(server.requests).toHaveLength(1);
  await until(() => watchesFrom(server).length === 1);
});

test('a handler that throws, or fails later, stops nothing', async () => {
  const seen: string[] = [];
  const { informer, logs } = await scene(
    [list(5, object('a', 1))],
    [says(line('ADDED', object('b', 7)), line('ADDED', object('c', 8)))],
    {
      onChange: ({ metadata: { name } }) => {
        seen.push(name);
        if (name === 'a') throw new Error(`no ${name}`);
        // What an async function would give, which the handler's type lets pass.
        return Promise.reject(new Error(`no ${name}`)) as unknown as void;
      },
    },
  );
  await until(() => seen.length === 3);
  expect(informer.list()).toHaveLength(3);
  expect(logs.filter((log) => log.startsWith('the handler of a change failed'))).toHaveLength(3);
});

test('the same state told again is no change', async () => {
  const again = says(line('ADDED', object('a', 1)), line('MODIFIED', object('a', 1)), line('ADDED', object('b', 9)));
  const { changes } = await scene([list(5, object('a', 1))], [again]);
  await until(() => changes.includes('+b@9'));
  expect(changes).toEqual(['+a@1', '+b@9']);
});

test('resync tells of everything again, changed or not', async () => {
  const { changes } = await scene([list(5, object('a', 1), object('b', 2))], [silence], { resyncMs: 40 });
  await until(() => changes.filter((change) => change === '~b@2').length >= 2);
  expect(changes.slice(0, 4)).toEqual(['+a@1', '+b@2', '~a@1', '~b@2']);
});

const named = (name: string, resourceVersion: number, zone: string) => ({
  ...object(name, resourceVersion),
  metadata: { name, uid: name, resourceVersion: String(resourceVersion), labels: { zone } },
});

test('an index follows its objects', async () => {
  const { informer } = await scene(
    [list(5, named('a', 1, 'x'), named('b', 2, 'x'))],
    [says(line('MODIFIED', named('a', 7, 'y')), line('DELETED', named('b', 8, 'x')))],
    { indexes: { zone: ({ metadata }) => Object.values(metadata.labels ?? {}) } },
  );
  const inZone = (zone: string) => informer.byIndex('zone', zone).map(({ metadata }) => metadata.name);
  await informer.synced(5000);
  await until(() => informer.get('b') === undefined);
  expect([inZone('x'), inZone('y')]).toEqual([[], ['a']]);
  expect(() => informer.byIndex('rack', 'x')).toThrow('there is no index "rack"; there are: zone');
}, 10_000);

test('stop ends a list that hangs', async () => {
  const { informer, server } = await scene([() => undefined], [silence]);
  const synced = informer.synced();
  await until(() => server.requests.length === 1);
  const startedMs = performance.now();
  await informer.stop();
  expect(performance.now() - startedMs).toBeLessThan(200);
  await expect(synced).rejects.toThrow('stopped before it was synced');
});
