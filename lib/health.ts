import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { HoldfastError } from './api/errors.ts';
import { exposition, METRICS_TYPE, type Metric } from './metrics.ts';

/** Where a program answers the kubelet's probes. */
export interface HealthServer {
  /** The port that it has: the one that was asked for, or a free one for 0. */
  readonly port: number;
  close(): Promise<void>;
}

/** {@link serveHealth} where an address is given. */
export async function serveHealthIfAsked(
  address: string | undefined,
  ready: () => boolean,
  metrics?: () => readonly Metric[],
): Promise<HealthServer | undefined> {
  return address === undefined ? undefined : await serveHealth(address, ready, metrics);
}

/**
 * Answers `GET /livez` (the program's event loop turns) and `GET /readyz` (it can do its work: its caches are filled), which
 * tell yes or no; and `GET /metrics`, where there are some.
 *
 * @param address `HOST:PORT`; without a host, every address of the machine
 * @throws HoldfastError HF004 for an address that is none; Error when the port is taken
 */
export async function serveHealth(
  address: string,
  ready: () => boolean,
  metrics?: () => readonly Metric[],
): Promise<HealthServer> {
  const { host, port } = parseAddress(address);
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = 'text/plain'): void => {
      response.writeHead(status, { 'content-type': type, connection: 'close' });
      response.end(text);
    };
    const path = request.method === 'GET' ? new URL(request.url ?? '/', 'http://health').pathname : '';
    if (path === '/livez') answer(200, 'ok\n');
    else if (path === '/readyz') answer(ready() ? 200 : 503, ready() ? 'ok\n' : 'not ready\n');
    else if (path === '/metrics' && metrics !== undefined) answer(200, exposition(metrics()), METRICS_TYPE);
    else answer(404, 'not found\n');
  });
  server.requestTimeout = 5000;
  server.maxConnections = 16;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(host === '' ? {} : { host }) }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:[\]\s]*)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    const expected = 'HOST:PORT, such as 127.0.0.1:9501 or :9501';
    throw new HoldfastError('HF004', `--health is "${address}": expected ${expected}`, { field: '--health' });
  }
  return { host: match[1] ?? match[2] ?? '', port };
}
