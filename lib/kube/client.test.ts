import { afterEach, expect, test } from '@jest/globals';
import { kinds, resource } from './client.ts';
import { sendJson, startFaultServer, type Answer, type FaultServer } from './fault-server.ts';

let server: FaultServer | undefined;
afterEach(async () => await server?.stop());

async function serving(answer: Answer, options = {}) {
  server = await startFaultServer(answer, options);
  return resource(server.connection, kinds.storageNodes);
}

test('each write names its patch type, its field manager, and a resource its path', async () => {
  const seen: string[] = [];
  const nodes = await serving((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += String(chunk)));
    request.on('end', () => {
      seen.push(`${request.method} ${request.url} ${request.headers['content-type']} ${body}`);
      sendJson(response, 200, { metadata: { name: 'n', managedFields: [{}] } });
    });
  });
  expect(await nodes.patch('n', { a: 1 }, { subresource: 'status' })).toEqual({ metadata: { name: 'n' } });
  await nodes.apply({ metadata: { name: 'n' } }, { fieldManager: 'm', force: true });
  await nodes.delete('n', { uid: 'u' });
  const base = '/apis/holdfast.dev/v1alpha1/storagenodes/n';
  expect(seen).toEqual([
    `PATCH ${base}/status?fieldManager=test&fieldValidation=Warn application/merge-patch+json {"a":1}`,
    `PATCH ${base}?fieldManager=m&fieldValidation=Warn&force=true application/apply-patch+yaml {"apiVersion":"holdfast.dev/v1alpha1","kind":"StorageNode","metadata":{"name":"n"}}`,
    `DELETE ${base} application/json {"apiVersion":"v1","kind":"DeleteOptions","propagationPolicy":"Background","preconditions":{"uid":"u"}}`,
  ]);
});

test('no answer is not a refusal', async () => {
  const nodes = await serving(() => undefined, { requestTimeoutMs: 100 });
  await expect(nodes.get('n')).rejects.toMatchObject({
    status: 0,
    reason: 'Timeout',
    isUnanswered: true,
    message: expect.stringContaining('no answer within 100 ms'),
  });
});

test('an answer that stops in the middle is not an answer', async () => {
  const nodes = await serving((_request, response) => {
    response.writeHead(200, { 'content-length': 1000 });
    response.write('{"metadata"');
    setTimeout(() => response.destroy(), 20);
  });
  await expect(nodes.get('n')).rejects.toMatchObject({ status: 0, reason: 'ConnectionFailed' });
});

test('an answer that is no JSON is not an answer', async () => {
  const nodes = await serving((_request, response) => void response.end('<html>'));
  await expect(nodes.get('n')).rejects.toMatchObject({ status: 0, reason: 'BadAnswer' });
});

test('an answer that never ends is cut at the deadline', async () => {
  const nodes = await serving((_request, response) => void response.writeHead(200).write('{'), {
    requestTimeoutMs: 150,
  });
  await expect(nodes.get('n')).rejects.toMatchObject({ reason: 'Timeout' });
});

test('a plain-text error of a proxy is told as it is, with the time it asks for', async () => {
  const nodes = await serving(
    (_request, response) => void response.writeHead(503, { 'retry-after': '3' }).end('upstream is away'),
  );
  await expect(nodes.list()).rejects.toMatchObject({
    status: 503,
    retryAfterMs: 3000,
    message: expect.stringContaining('upstream is away'),
  });
});

const node = (name: string) => ({ metadata: { name } });

test('a list whose continuation has expired is fetched again in one piece', async () => {
  const nodes = await serving((request, response) => {
    const query = new URL(request.url ?? '', 'http://x').searchParams;
    if (query.get('continue') === 'more') {
      sendJson(response, 410, { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' });
    } else if (query.has('limit')) {
      sendJson(response, 200, { metadata: { resourceVersion: '1', continue: 'more' }, items: [node('a')] });
    } else sendJson(response, 200, { metadata: { resourceVersion: '9' }, items: [node('a'), node('b')] });
  });
  const { items, resourceVersion } = await nodes.list();
  expect([items.map(({ metadata }) => metadata.name), resourceVersion]).toEqual([['a', 'b'], '9']);
});

test('credentials that are refused are read again for the next request', async () => {
  const { writeFile, readFile } = await import('node:fs/promises');
  const tokens: (string | undefined)[] = [];
  const nodes = await serving((request, response) => {
    tokens.push(request.headers.authorization);
    if (request.headers.authorization === 'Bearer new') sendJson(response, 200, { metadata: { name: 'n' } });
    else sendJson(response, 401, { kind: 'Status', code: 401, reason: 'Unauthorized', message: 'Unauthorized' });
  });
  const file = server?.kubeconfigPath ?? '';
  await writeFile(file, (await readFile(file, 'utf8')).replace('"token":"t"', '"token":"new"'));
  await expect(nodes.get('n')).rejects.toMatchObject({ status: 401 });
  expect(await nodes.get('n')).toBeDefined();
  expect(tokens).toEqual(['Bearer t', 'Bearer new']);
});

test('a namespaced kind needs its namespace, an object its name', async () => {
  const nodes = await serving(() => undefined);
  if (!server) throw new Error('no server');
  const { connection } = server;
  expect(() => resource(connection, kinds.leases)).toThrow('Lease is namespaced: name the namespace');
  await expect(nodes.get('')).rejects.toThrow('the name is empty');
});
