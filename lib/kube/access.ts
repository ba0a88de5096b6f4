import { accessSync, readFileSync } from 'node:fs';
import type { Agent } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { load } from 'js-yaml';
import { HoldfastError } from '../api/errors.ts';
import { describeError } from '../describe-error.ts';

/** What a request needs to reach the API server and be let in. */
export interface AccessOptions {
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly ca?: Buffer | undefined;
  readonly cert?: Buffer | undefined;
  readonly key?: Buffer | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
  readonly servername?: string | undefined;
  /** A proxy. */
  readonly agent?: Agent | undefined;
}

export interface Access {
  options(): Promise<AccessOptions>;
  /** The server refused the credentials: read them again for the next request. */
  forget(): void;
}

export interface AccessSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly serviceAccountDir: string;
  /** How long what was read from files is used, in milliseconds. */
  readonly cacheMs: number;
  readonly now: () => number;
}

const systemSources: AccessSources = {
  env: process.env,
  serviceAccountDir: '/var/run/secrets/kubernetes.io/serviceaccount',
  cacheMs: 10_000,
  now: () => Date.now(),
};

/**
 * Finds the credentials: the kubeconfig at `kubeconfigPath`, else the pod's service account, else $KUBECONFIG, else
 * ~/.kube/config. Files are read again as time passes, so that rotated tokens and certificates are taken up.
 * @throws HoldfastError HF005 when there are none or they make no sense.
 */
export function loadAccess(kubeconfigPath: string | undefined, sources: AccessSources = systemSources): Access {
  const read = readerFor(kubeconfigPath, sources);
  let last: { readonly atMs: number; readonly found: Found } | undefined = { atMs: sources.now(), found: read() };
  let lastGood: Found = last.found;
  return {
    options: async () => {
      if (!last || sources.now() - last.atMs > sources.cacheMs) {
        try {
          lastGood = read();
        } catch (error) {
          // A file in the middle of its replacement: what was right a moment ago is tried once more.
          if (!(error instanceof HoldfastError)) throw error;
        }
        last = { atMs: sources.now(), found: lastGood };
      }
      const { found } = last;
      return found.kind === 'plain' ? found.options : await found.options();
    },
    forget: () => {
      last = undefined;
    },
  };
}

type Found =
  | { readonly kind: 'plain'; readonly options: AccessOptions }
  | { readonly kind: 'delegated'; readonly options: () => Promise<AccessOptions> };

function readerFor(kubeconfigPath: string | undefined, sources: AccessSources): () => Found {
  if (kubeconfigPath !== undefined) return kubeconfigReader(kubeconfigPath);
  const { serviceAccountDir, env } = sources;
  const tokenFile = path.join(serviceAccountDir, 'token');
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env;
  if (host !== undefined && isReadable(tokenFile)) {
    const server = `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
    return () => ({
      kind: 'plain',
      options: {
        server,
        ca: readFile(path.join(serviceAccountDir, 'ca.crt'), 'the service account'),
        headers: bearer(readFile(tokenFile, 'the service account').toString('utf8')),
      },
    });
  }
  const fromEnv = env['KUBECONFIG']?.split(path.delimiter).find((file) => file !== '');
  const file = fromEnv ?? path.join(env['HOME'] ?? os.homedir(), '.kube', 'config');
  if (fromEnv === undefined && !isReadable(file)) {
    throw new HoldfastError(
      'HF005',
      `no way to the API server: this is no pod with a service account, and there is no kubeconfig; name one with --kubeconfig FILE`,
      { field: 'kubeconfig' },
    );
  }
  return kubeconfigReader(file);
}

function isReadable(file: string): boolean {
  try {
    accessSync(file);
    return true;
  } catch {
    return false;
  }
}

interface Kubeconfig {
  readonly 'current-context'?: string;
  readonly clusters?: readonly { readonly name: string; readonly cluster?: Cluster }[];
  readonly users?: readonly { readonly name: string; readonly user?: User }[];
  readonly contexts?: readonly {
    readonly name: string;
    readonly context?: { readonly cluster?: string; readonly user?: string };
  }[];
}

interface Cluster {
  readonly server?: string;
  readonly 'certificate-authority'?: string;
  readonly 'certificate-authority-data'?: string;
  readonly 'insecure-skip-tls-verify'?: boolean;
  readonly 'tls-server-name'?: string;
  readonly 'proxy-url'?: string;
}

interface User {
  readonly token?: string;
  readonly tokenFile?: string;
  readonly 'client-certificate'?: string;
  readonly 'client-certificate-data'?: string;
  readonly 'client-key'?: string;
  readonly 'client-key-data'?: string;
  readonly username?: string;
  readonly password?: string;
  readonly as?: string;
  readonly exec?: object;
  readonly 'auth-provider'?: object;
}

function kubeconfigReader(file: string): () => Found {
  let delegated: Found | undefined;
  return () => {
    if (delegated) return delegated;
    const config = parse(file);
    const bad = (what: string): HoldfastError =>
      new HoldfastError('HF005', `the kubeconfig ${file} ${what}`, { field: 'kubeconfig' });
    const current = config['current-context'] ?? '';
    const context = config.contexts?.find(({ name }) => name === current)?.context;
    if (!context) throw bad(current === '' ? 'has no current-context' : `has no context "${current}"`);
    const cluster = config.clusters?.find(({ name }) => name === context.cluster)?.cluster;
    if (!cluster) throw bad(`has no cluster "${context.cluster ?? ''}", which context "${current}" names`);
    const user = config.users?.find(({ name }) => name === context.user)?.user ?? {};
    const server = cluster.server ?? '';
    if (!/^https?:\/\//.test(server) || !URL.canParse(server)) {
      throw bad(
        `has the server "${server}" in cluster "${context.cluster ?? ''}"; it is a URL such as https://10.0.0.1:6443`,
      );
    }
    if (user.exec || user['auth-provider'] || cluster['proxy-url'] !== undefined) {
      delegated = { kind: 'delegated', options: delegate(file, server) };
      return delegated;
    }
    return { kind: 'plain', options: plainOptions(file, server, cluster, user) };
  };
}

function parse(file: string): Kubeconfig {
  let parsed: unknown;
  try {
    parsed = load(readFileSync(file, 'utf8'));
  } catch (error) {
    const why = describeError(error).split('\n')[0] ?? '';
    throw new HoldfastError('HF005', `the kubeconfig ${file} can't be read: ${why}`, {
      field: 'kubeconfig',
      cause: error,
    });
  }
  if (typeof parsed !== 'object' || parsed === null) {
    throw new HoldfastError('HF005', `${file} is not a kubeconfig`, { field: 'kubeconfig' });
  }
  return parsed;
}

function plainOptions(file: string, server: string, cluster: Cluster, user: User): AccessOptions {
  const from = (name: string | undefined, data: string | undefined): Buffer | undefined => {
    if (data !== undefined && data !== '') return Buffer.from(data, 'base64');
    return name === undefined || name === '' ? undefined : readFile(path.resolve(path.dirname(file), name), file);
  };
  const token =
    user.tokenFile === undefined
      ? user.token
      : readFile(path.resolve(path.dirname(file), user.tokenFile), file).toString('utf8');
  const basic =
    user.username === undefined
      ? {}
      : { authorization: `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}` };
  return {
    server,
    ca: from(cluster['certificate-authority'], cluster['certificate-authority-data']),
    cert: from(user['client-certificate'], user['client-certificate-data']),
    key: from(user['client-key'], user['client-key-data']),
    ...(cluster['insecure-skip-tls-verify'] === true && { rejectUnauthorized: false }),
    servername: cluster['tls-server-name'],
    headers: {
      ...(token === undefined ? basic : bearer(token)),
      ...(user.as === undefined ? {} : { 'impersonate-user': user.as }),
    },
  };
}

/**
 * Credential plugins and proxies are left to client-node, which knows them all. It is loaded only for them: it adds more
 * memory than all of a program's own code.
 */
function delegate(file: string, server: string): () => Promise<AccessOptions> {
  const config = import('@kubernetes/client-node/dist/config.js').then(({ KubeConfig }) => {
    const loaded = new KubeConfig();
    loaded.loadFromFile(file);
    return loaded;
  });
  // Whoever asks for the options gets the error; until then it is nobody's.
  config.catch(() => undefined);
  return async () => {
    const options: Record<string, unknown> = { headers: {} };
    try {
      await (await config).applyToHTTPSOptions(options);
    } catch (error) {
      throw new HoldfastError('HF005', `the kubeconfig ${file} gives no credentials`, {
        field: 'kubeconfig',
        cause: error,
      });
    }
    return { ...options, server, headers: options['headers'] } as AccessOptions;
  };
}

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token.trim()}` };
}

function readFile(file: string, whose: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new HoldfastError('HF005', `${file}, which ${whose} names, can't be read`, {
      field: 'kubeconfig',
      cause: error,
    });
  }
}
