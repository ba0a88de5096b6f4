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
