import { expect, test } from '@jest/globals';
import { serveHealth } from './health.ts';

const ask = async (port: number, path: string, method = 'GET'): Promise<number> =>
  (await fetch(`http://127.0.0.1:${port}${path}`, { method })).status;

test('a program lives before it is ready', async () => {
  let ready = false;
  const server = await serveHealth('127.0.0.1:0', () => ready);
  try {
    expect(await ask(server.port, '/livez')).toBe(200);
    expect(await ask(server.port, '/readyz')).toBe(503);
    ready = true;
    expect(await ask(server.port, '/readyz?verbose')).toBe(200);
    expect(await ask(server.port, '/')).toBe(404);
    expect(await ask(server.port, '/readyz', 'POST')).toBe(404);
  } finally {
    await server.close();
  }
});

test('figures are told where there are some', async () => {
  const metrics = () => [{ name: 'holdfast_x', help: 'X.', type: 'gauge' as const, samples: [{ value: 1 }] }];
  const server = await serveHealth('127.0.0.1:0', () => false, metrics);
  const without = await serveHealth('127.0.0.1:0', () => true);
  try {
    const answer = await fetch(`http://127.0.0.1:${server.port}/metrics`);
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await answer.text()).toContain('holdfast_x 1');
    expect(await ask(without.port, '/metrics')).toBe(404);
  } finally {
    await Promise.all([server.close(), without.close()]);
  }
});

test.each(['9501', 'localhost', '127.0.0.1:http', ':70000', '::1:9501'])('"%s" is no address', async (address) => {
  await expect(serveHealth(address, () => true)).rejects.toThrow(`HF004: --health is "${address}": expected HOST:PORT`);
});

test('a port that is taken is an error, not a second listener', async () => {
  const server = await serveHealth('127.0.0.1:0', () => true);
  try {
    await expect(serveHealth(`127.0.0.1:${server.port}`, () => true)).rejects.toThrow('EADDRINUSE');
  } finally {
    await server.close();
  }
});
