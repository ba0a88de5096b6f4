import { mkdir, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { createServer } from 'node:net';
import path from 'node:path';
import { LabError } from '../lab/errors.ts';
import { startDaemon, tailOfFile, type Daemon } from '../lab/process.ts';
import { silent, type Progress } from '../lab/progress.ts';
import { controlPlaneBinaries, type ControlPlaneBinaries } from './binaries.ts';
import { kubeconfig } from './kubeconfig.ts';
import { createPki, createSigningKey, type Certificate, type Pki, type SigningKeyFiles } from './pki.ts';

export interface ControlPlaneOptions {
  /** A folder for its data, certificates and logs. Made when missing; one folder serves one control plane once. */
  readonly dir: string;
  /** Where the API server listens; default 127.0.0.1. */
  readonly bindAddress?: string;
  /** Default: a free one. */
  readonly port?: number;
  /** The address that clients use and the certificate names; default bindAddress. */
  readonly advertiseAddress?: string;
  /** Further arguments for kube-apiserver. */
  readonly apiServerArgs?: readonly string[];
  readonly progress?: Progress;
  readonly readyTimeoutMs?: number;
}

/** A running etcd + kube-apiserver. */
export interface ControlPlane {
  readonly url: string;
  readonly caPem: string;
  /** A file with the credentials of a cluster administrator. */
  readonly kubeconfigPath: string;
  /** The URL of etcd, for a test that looks below the API. */
  readonly etcdUrl: string;
  /** From start to ready, without building the programs. */
  readonly startMs: number;
  readonly logFiles: readonly string[];
  /** The text of a kubeconfig for a user with a client certificate in these groups. RBAC decides what it may do. */
  readonly kubeconfigForUser: (user: string, groups?: readonly string[]) => Promise<string>;
  /** The text of a kubeconfig for a bearer token, for example of a service account. */
  readonly kubeconfigForToken: (token: string) => string;
  /**
   * Takes the API server away: 'crash' closes every connection (clients see resets and refusals), 'freeze' leaves them
   * open and silent (clients see only their own timeouts). Data stays.
   */
  readonly stopApiServer: (how?: 'crash' | 'freeze') => Promise<void>;
  /** Brings it back at the same URL and waits until it is ready. */
  readonly startApiServer: () => Promise<void>;
  /** Ends both programs at once. May be called again. */
  readonly stop: () => Promise<void>;
}

interface Running {
  readonly daemon: Daemon;
  readonly port: number;
}

/**
 * Starts etcd and kube-apiserver (TLS, RBAC, the default admission plugins, tokens for service accounts) and waits until
 * the API is ready. Needs no privilege; several run side by side on free ports. Both die with the calling process. Throws
 * LabError with the end of the programs' logs when they don't become ready.
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const binaries = await controlPlaneBinaries(options.progress ?? silent);
  const startedMs = performance.now();
  const dir = path.resolve(options.dir);
  const address = options.advertiseAddress ?? options.bindAddress ?? '127.0.0.1';
  await mkdir(dir, { recursive: true });
  const [{ pki, admin, server, signing }, etcd] = await settleBoth(
    makeIdentities(path.join(dir, 'pki'), address),
    startOnFreePort(undefined, async (port) => await startEtcd(binaries, dir, port)),
    async (started) => await started.daemon.kill(),
  );
  const etcdUrl = `http://127.0.0.1:${etcd.port}`;
  const ready = async (daemon: Daemon, port: number): Promise<void> => {
    await waitReady(daemon, { port, host: connectAddress(options.bindAddress), pki, admin }, options.readyTimeoutMs);
  };
  const startServer = async (wanted: number | undefined): Promise<Running> =>
    await startOnFreePort(wanted, async (port) => {
      const daemon = await startDaemon(
        'kube-apiserver',
        binaries.kubeApiserver,
        [
          ...apiServerArgs({ ...options, address, port, etcdUrl, dir, pki, admin, signing, server }),
          ...(options.apiServerArgs ?? []),
        ],
        { logFile: path.join(dir, 'kube-apiserver.log') },
      );
      await ready(daemon, port);
      return daemon;
    });
  let api: Running;
  try {
    api = await startServer(options.port);
  } catch (error) {
    await etcd.daemon.kill();
    throw error;
  }
  const url = `https://${address}:${api.port}`;
  const kubeconfigPath = path.join(dir, 'kubeconfig');
  const adminConfig = kubeconfig(url, pki.caPem, { kind: 'certificate', certificate: admin });
  await writeFile(kubeconfigPath, adminConfig, { mode: 0o600 });
  let frozen = false;
  return {
    url,
    caPem: pki.caPem,
    kubeconfigPath,
    etcdUrl,
    startMs: Math.round(performance.now() - startedMs),
    logFiles: [etcd.daemon.logFile, api.daemon.logFile],
    kubeconfigForUser: async (user, groups = []) =>
      kubeconfig(url, pki.caPem, { kind: 'certificate', certificate: await pki.clientCertificate(user, groups) }),
    kubeconfigForToken: (token) => kubeconfig(url, pki.caPem, { kind: 'token', token }),
    stopApiServer: async (how = 'crash') => {
      if (how === 'freeze') frozen = api.daemon.signal('SIGSTOP');
      else await api.daemon.kill();
    },
    startApiServer: async () => {
      if (frozen) {
        frozen = false;
        if (api.daemon.signal('SIGCONT')) await ready(api.daemon, api.port);
      }
      if (api.daemon.ended() === undefined) return;
      api = await startServer(api.port);
    },
    stop: async () => {
      // Killed, not asked: without etcd a polite API server lingers for a minute, and nothing here is worth keeping.
      await Promise.all([api.daemon.kill(), etcd.daemon.kill()]);
    },
  };
}

interface Identities {
  readonly pki: Pki;
  readonly admin: Certificate;
  readonly server: { readonly certFile: string; readonly keyFile: string };
  readonly signing: SigningKeyFiles;
}

async function makeIdentities(dir: string, address: string): Promise<Identities> {
  const pki = await createPki(dir);
  const names = new Set(['127.0.0.1', 'localhost', address, SERVICE_ADDRESS, 'kubernetes.default.svc']);
  const [admin, server, signing] = await Promise.all([
    pki.clientCertificate('lab-admin', ['system:masters']),
    pki.serverCertificate([...names]),
    createSigningKey(dir),
  ]);
  return { pki, admin, server, signing };
}

const SERVICE_RANGE = '10.96.0.0/16';
const SERVICE_ADDRESS = '10.96.0.1';

async function startEtcd(binaries: ControlPlaneBinaries, dir: string, port: number): Promise<Daemon> {
  const peerPort = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const peerUrl = `http://127.0.0.1:${peerPort}`;
  const daemon = await startDaemon(
    'etcd',
    binaries.etcd,
    [
      ['--name=lab', `--data-dir=${path.join(dir, 'etcd')}`, '--unsafe-no-fsync', '--log-level=warn'],
      [`--listen-client-urls=${url}`, `--advertise-client-urls=${url}`],
      [`--listen-peer-urls=${peerUrl}`, `--initial-advertise-peer-urls=${peerUrl}`, `--initial-cluster=lab=${peerUrl}`],
      '--initial-cluster-token=lab',
    ].flat(),
    { logFile: path.join(dir, 'etcd.log') },
  );
  const deadline = performance.now() + 30_000;
  for (;;) {
    const reason = daemon.ended();
    if (reason !== undefined) throw new LabError(`etcd ended (${reason}):\n${tailOfFile(daemon.logFile)}`);
    const healthy = await fetch(`${url}/health`).then(
      async (response) => (await response.text()).includes('"true"'),
      () => false,
    );
    if (healthy) return daemon;
    if (performance.now() > deadline) {
      await daemon.kill();
      throw new LabError(`etcd is not healthy after 30 s:\n${tailOfFile(daemon.logFile)}`);
    }
    await sleep(30);
  }
}

interface ServerSettings extends ControlPlaneOptions, Identities {
  readonly address: string;
  readonly port: number;
  readonly etcdUrl: string;
}

function apiServerArgs(settings: ServerSettings): string[] {
  const loopback = settings.address.startsWith('127.');
  return [
    `--etcd-servers=${settings.etcdUrl}`,
    `--bind-address=${settings.bindAddress ?? '127.0.0.1'}`,
    `--advertise-address=${settings.address}`,
    `--secure-port=${settings.port}`,
    `--cert-dir=${path.join(settings.dir, 'pki')}`,
    `--tls-cert-file=${settings.server.certFile}`,
    `--tls-private-key-file=${settings.server.keyFile}`,
    `--client-ca-file=${settings.pki.caFile}`,
    `--service-account-key-file=${settings.signing.publicFile}`,
    `--service-account-signing-key-file=${settings.signing.privateFile}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-cluster-ip-range=${SERVICE_RANGE}`,
    // For logs and exec of pods, where there are any.
    `--kubelet-client-certificate=${settings.admin.certFile}`,
    `--kubelet-client-key=${settings.admin.keyFile}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    '--allow-privileged=true',
    '--profiling=false',
    // An Endpoints object may not name a loopback address: the reconciler would log an error every 10 s.
    ...(loopback ? ['--endpoint-reconciler-type=none'] : []),
  ];
}

/** Where we reach the server ourselves. */
function connectAddress(bindAddress: string | undefined): string {
  return bindAddress === undefined || bindAddress === '0.0.0.0' ? '127.0.0.1' : bindAddress;
}

interface Target {
  readonly host: string;
  readonly port: number;
  readonly pki: Pki;
  readonly admin: Certificate;
}

async function waitReady(daemon: Daemon, target: Target, timeoutMs = 120_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const reason = daemon.ended();
    if (reason !== undefined) throw new LabError(`kube-apiserver ended (${reason}):\n${tailOfFile(daemon.logFile)}`);
    if ((await readyStatus(target)) === 200) return;
    if (performance.now() > deadline) {
      await daemon.kill();
      throw new LabError(`kube-apiserver is not ready after ${timeoutMs / 1000} s:\n${tailOfFile(daemon.logFile)}`);
    }
    await sleep(50);
  }
}

/** The status of GET /readyz, or 0 when there is no answer yet. */
async function readyStatus(target: Target): Promise<number> {
  return await new Promise<number>((resolve) => {
    const asked = request(
      {
        host: target.host,
        port: target.port,
        path: '/readyz',
        agent: false,
        timeout: 5000,
        ca: target.pki.caPem,
        cert: target.admin.certPem,
        key: target.admin.keyPem,
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(0));
    asked.end();
  });
}

/**
 * Starts a program on the wanted port or on a free one. Between finding a free port and taking it, another program may
 * take it: then the log says so and the next port is tried, at most three times.
 */
async function startOnFreePort(wanted: number | undefined, start: (port: number) => Promise<Daemon>): Promise<Running> {
  for (let attempt = 1; ; attempt += 1) {
    const port = wanted ?? (await freePort());
    try {
      return { daemon: await start(port), port };
    } catch (error) {
      const taken = error instanceof LabError && error.message.includes('address already in use');
      if (!taken || wanted !== undefined || attempt === 3) throw error;
    }
  }
}

/** A TCP port that nobody listened on a moment ago. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  return await new Promise<number>((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      if (address === null || typeof address === 'string') throw new Error('a TCP server has an address object');
      server.close(() => resolve(address.port));
    });
  });
}

/** Waits for both; when the first fails, what the second made is undone. */
async function settleBoth<A, B>(
  first: Promise<A>,
  second: Promise<B>,
  undo: (made: B) => Promise<void>,
): Promise<[A, B]> {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === 'rejected') {
    if (b.status === 'fulfilled') await undo(b.value);
    throw a.reason;
  }
  if (b.status === 'rejected') throw b.reason;
  return [a.value, b.value];
}

async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
