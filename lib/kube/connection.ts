import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { loadAccess, type AccessOptions } from './access.ts';
import { isErrorLike } from '../describe-error.ts';
import { errorOfResponse, KubeError } from './error.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface HttpRequest {
  readonly method: Method;
  /** Path and query. */
  readonly path: string;
  readonly body?: string | undefined;
  readonly contentType?: string | undefined;
  /** Default application/json. */
  readonly accept?: string | undefined;
  /** Default: the connection's. */
  readonly timeoutMs?: number | undefined;
  /** Ends the exchange early. */
  readonly signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  readonly status: number;
  readonly body: string;
  /** The Retry-After header. */
  readonly retryAfter: string | undefined;
}

export interface ConnectOptions {
  /** Without it: the pod's service account when there is one, else $KUBECONFIG, else ~/.kube/config. */
  readonly kubeconfigPath?: string | undefined;
  /** `program/version`; what stands before the slash is also the default field manager. */
  readonly userAgent: string;
  /** Deadline of each request that isn't a watch. Default 10 000 ms. */
  readonly requestTimeoutMs?: number;
  /** What the API server does with unknown and repeated fields. Default Warn. */
  readonly fieldValidation?: 'Ignore' | 'Warn' | 'Strict';
  /** The API server's warnings (unknown fields, deprecations). */
  readonly onWarning?: (warning: string) => void;
}

/** A way to the API server; share one per program. */
export interface KubeConnection {
  readonly fieldManager: string;
  readonly fieldValidation: string;
  /** One exchange; resolves with any HTTP status. Throws KubeError with status 0 when there is no whole answer in time. */
  request(request: HttpRequest): Promise<HttpResponse>;
  /**
   * The body as it comes, for a watch. `timeoutMs` limits the wait for the answer's beginning only.
   * @throws KubeError for a status other than 200.
   */
  stream(request: HttpRequest): Promise<IncomingMessage>;
  /** Ends what is idle, so that the process can end. */
  close(): void;
}

const DEFAULT_TIMEOUT_MS = 10_000;
/** The API server closes an idle connection after 90 s (Go's default for it): close it well before. */
const IDLE_MS = 30_000;
/** A dead peer is noticed after this much silence plus ten probes, one a second (libuv, uv_tcp_keepalive). */
const KEEPALIVE_MS = 10_000;

/**
 * Connects lazily: nothing is sent, and only an unusable kubeconfig throws (HoldfastError HF005). Credentials in files are
 * read again as they change.
 */
export function connect(options: ConnectOptions): KubeConnection {
  const access = loadAccess(options.kubeconfigPath);
  const timeoutMs = options.requestTimeoutMs ?? DEFAULT_TIMEOUT_MS;
  const agentOptions = { keepAlive: true, keepAliveMsecs: KEEPALIVE_MS, timeout: IDLE_MS, maxFreeSockets: 4 };
  const agents = { 'http:': new http.Agent(agentOptions), 'https:': new https.Agent(agentOptions) };

  async function open(request: HttpRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const grant = await access.options();
    const url = new URL(grant.server);
    const secure = url.protocol === 'https:';
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const sent = (secure ? https : http).request({
      ...tlsOptions(grant),
      agent: grant.agent ?? agents[secure ? 'https:' : 'http:'],
      hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      method: request.method,
      path: url.pathname.replace(/\/$/, '') + request.path,
      signal,
      headers: {
        ...grant.headers,
        accept: request.accept ?? 'application/json',
        'user-agent': options.userAgent,
        ...(request.body === undefined
          ? {}
          : { 'content-type': request.contentType, 'content-length': Buffer.byteLength(request.body) }),
      },
    });
    sent.on('socket', (socket) => socket.setKeepAlive(true, KEEPALIVE_MS));
    sent.on('response', (response) => {
      for (const warning of warningsIn(response)) options.onWarning?.(warning);
      if (response.statusCode === 401) access.forget();
      resolve(response);
    });
    sent.on('error', reject);
    sent.end(request.body);
    return await promise;
  }

  return {
    fieldManager: options.userAgent.split('/')[0] ?? options.userAgent,
    fieldValidation: options.fieldValidation ?? 'Warn',
    request: async (request) => {
      const what = `${request.method} ${request.path.split('?')[0]}`;
      const limitMs = request.timeoutMs ?? timeoutMs;
      return await withDeadline(what, limitMs, request.signal, async (signal) => {
        const response = await open(request, signal);
        return {
          status: response.statusCode ?? 0,
          body: await readAll(response),
          retryAfter: response.headers['retry-after'],
        };
      });
    },
    stream: async (request) => {
      const what = `${request.method} ${request.path.split('?')[0]}`;
      const response = await withDeadline(what, request.timeoutMs ?? timeoutMs, request.signal, async (both) => {
        const begun = await open(request, both);
        if (begun.statusCode === 200) return begun;
        throw errorOfResponse(what, begun.statusCode ?? 0, await readAll(begun), begun.headers['retry-after']);
      });
      return response;
    },
    close: () => {
      agents['http:'].destroy();
      agents['https:'].destroy();
    },
  };
}

/** Runs an exchange that ends at the deadline at the latest, and names every failure of the network as what it is. */
async function withDeadline<R>(
  what: string,
  limitMs: number,
  outer: AbortSignal | undefined,
  exchange: (signal: AbortSignal) => Promise<R>,
): Promise<R> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), limitMs);
  try {
    return await exchange(outer ? AbortSignal.any([outer, deadline.signal]) : deadline.signal);
  } catch (error) {
    if (error instanceof KubeError) throw error;
    if (deadline.signal.aborted) throw new KubeError(0, 'Timeout', `${what}: no answer within ${limitMs} ms`);
    if (isNetworkError(error)) {
      throw new KubeError(0, 'ConnectionFailed', `${what}: ${error.message || error.code}`, { cause: error });
    }
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function isNetworkError(error: unknown): error is Error & { code: string } {
  return isErrorLike(error) && typeof error.code === 'string';
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function tlsOptions(grant: AccessOptions): https.RequestOptions {
  const { ca, cert, key, rejectUnauthorized, servername } = grant;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
    ...(servername === undefined ? {} : { servername }),
  };
}

/** The texts of `Warning: 299 - "text"` headers (RFC 7234). */
function warningsIn(response: IncomingMessage): string[] {
  const header = response.headers['warning'];
  const lines = header === undefined ? [] : [header].flat();
  return lines.flatMap((line) =>
    [...line.matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)].map((match) => unquote(match[1] ?? '')),
  );
}

function unquote(text: string): string {
  return text.replaceAll(/\\(.)/g, '$1');
}
