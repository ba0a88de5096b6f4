import { chmod, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServiceDefinition,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import type { Logger } from '../../lib/log.ts';
import { parseEndpoint, removeStaleSocket } from './endpoint.ts';
import { toStatus } from './errors.ts';
import type { CallContext, Handler } from './handlers.ts';

/** A service's definition with what answers it. */
export interface Service {
  readonly definition: ServiceDefinition;
  readonly handlers: object;
}

export interface ServeOptions {
  readonly endpoint: string;
  readonly services: readonly Service[];
  readonly log: Logger;
  /** How long a call that came without a deadline may take. */
  readonly defaultTimeoutMs: number;
}

export interface RunningServer {
  /** Takes no new calls, ends those that only wait, gives the others `graceMs` to finish, then closes the socket. */
  stop(graceMs: number): Promise<void>;
}

/** The answer must reach the caller before the caller's own deadline, or it sees a bare timeout without our reason. */
const ANSWER_MARGIN_MS = 500;

/**
 * Serves gRPC on a UNIX socket that only this user may open (0600). A socket that a killed program left is replaced.
 *
 * @throws when the endpoint is wrong, or another program listens there
 */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const { endpoint, services, log, defaultTimeoutMs } = options;
  const path = parseEndpoint(endpoint);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await removeStaleSocket(path);

  const stopping = new AbortController();
  const server = new Server();
  for (const { definition, handlers } of services) {
    const calls = Object.entries(handlers).map(([method, handler]): [string, UntypedHandleCall] => [
      method,
      unary(method, handler as Handler<object, object>, { log, stopping: stopping.signal, defaultTimeoutMs }),
    ]);
    server.addService(definition, Object.fromEntries(calls));
  }
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  await chmod(path, 0o600);
  log.info('listening', { endpoint });

  return {
    async stop(graceMs) {
      stopping.abort(new Error('this program is stopping'));
      await new Promise<void>((resolve) => {
        const force = setTimeout(() => {
          log.warn('calls still under way at the end of the grace time', { graceMs });
          server.forceShutdown();
        }, graceMs);
        server.tryShutdown((error) => {
          clearTimeout(force);
          if (error) log.warn('the gRPC server did not stop in order', { error: error.message });
          resolve();
        });
      });
    },
  };
}

interface CallEnvironment {
  readonly log: Logger;
  readonly stopping: AbortSignal;
  readonly defaultTimeoutMs: number;
}

function unary(method: string, handler: Handler<object, object>, environment: CallEnvironment) {
  const { log, stopping, defaultTimeoutMs } = environment;
  return (call: ServerUnaryCall<object, object>, answer: sendUnaryData<object>): void => {
    const startMs = Date.now();
    const cancelled = new AbortController();
    call.on('cancelled', () => cancelled.abort(new Error('the caller has gone')));
    const context: CallContext = {
      signal: AbortSignal.any([stopping, cancelled.signal]),
      deadlineMs: deadlineOf(call, startMs, defaultTimeoutMs),
    };
    const about = { method, ...subjectOf(call.request) };
    const finish = (error?: unknown, response?: object): void => {
      const ms = Date.now() - startMs;
      if (error === undefined) {
        // Probes and statistics come every few seconds for ever.
        log[frequent.has(method) ? 'debug' : 'info']('call', { ...about, ms, code: 'OK' });
        answer(null, response ?? {});
        return;
      }
      const { status: code, message } = toStatus(error);
      log.warn('call', { ...about, ms, code, error: message });
      if (code === 'INTERNAL' && error instanceof Error) log.debug('stack', { ...about, stack: error.stack });
      answer({ code: status[code], details: message });
    };
    handler(call.request, context).then((response) => finish(undefined, response), finish);
  };
}

const frequent: ReadonlySet<string> = new Set([
  'probe',
  'nodeGetVolumeStats',
  'nodeGetCapabilities',
  'controllerGetCapabilities',
  'getPluginCapabilities',
]);

function deadlineOf(call: ServerUnaryCall<object, object>, nowMs: number, defaultTimeoutMs: number): number {
  const deadline = call.getDeadline();
  const asked = deadline instanceof Date ? deadline.getTime() : deadline;
  const givenMs = Math.min(asked - nowMs, defaultTimeoutMs);
  return nowMs + givenMs - Math.min(ANSWER_MARGIN_MS, givenMs / 4);
}

/** The fields of a request that say what it is about. Nothing else is logged: requests carry secrets. */
function subjectOf(request: object): { readonly volume?: string; readonly node?: string } {
  const { volumeId, name, nodeId } = request as Readonly<Record<string, unknown>>;
  const volume = typeof volumeId === 'string' && volumeId !== '' ? volumeId : name;
  return {
    ...(typeof volume === 'string' && volume !== '' ? { volume } : {}),
    ...(typeof nodeId === 'string' && nodeId !== '' ? { node: nodeId } : {}),
  };
}
