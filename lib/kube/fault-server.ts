import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { connect, type ConnectOptions, type KubeConnection } from './connection.ts';

/** An HTTP server that answers as a test says, for the answers that a real API server gives on its bad days only. */
export interface FaultServer {
  readonly connection: KubeConnection;
  readonly url: string;
  readonly kubeconfigPath: string;
  /** `GET /path?query` of each request. */
  readonly requests: readonly string[];
  stop(): Promise<void>;
}

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export async function startFaultServer(answer: Answer, options: Partial<ConnectOptions> = {}): Promise<FaultServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-fault-'));
  const kubeconfigPath = path.join(dir, 'config');
  await writeFile(
    kubeconfigPath,
    JSON.stringify({
      clusters: [{ name: 'c', cluster: { server: url } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      users: [{ name: 'u', user: { token: 't' } }],
      'current-context': 'x',
    }),
  );
  const connection = connect({ kubeconfigPath, userAgent: 'test/1', ...options });
  return {
    connection,
    url,
    kubeconfigPath,
    requests,
    stop: async () => {
      connection.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(dir, { recursive: true });
    },
  };
}

export function sendJson(response: ServerResponse, status: number, body: object, headers: object = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}
