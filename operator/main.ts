import { randomUUID } from 'node:crypto';
import os from 'node:os';
import { OPERATOR_LEASE } from '../lib/api/names.ts';
import { commonOptions, orExit, parseOrExit } from '../lib/cli.ts';
import { systemClock } from '../lib/clock.ts';
import { serveHealthIfAsked } from '../lib/health.ts';
import { connect, kinds, resource } from '../lib/kube/client.ts';
import { createEventRecorder } from '../lib/kube/events.ts';
import { kubeOver } from '../lib/kube/kube.ts';
import { runWithLeaderElection, startHeartbeat } from '../lib/kube/lease.ts';
import { createLogger, describeError } from '../lib/log.ts';
import { stopOnSignal } from '../lib/shutdown.ts';
import { metricsOf, type View } from './metrics.ts';
import { runVolumeController } from './volume/controller.ts';
import { defaultSettings } from './volume/world.ts';

const options = parseOrExit({
  name: 'operator',
  summary: 'places, attaches, heals and deletes replicated volumes',
  options: {
    ...commonOptions,
    'leader-elect': {
      type: 'boolean',
      default: true,
      description: 'work only while holding the lead; without it there must be one operator only',
    },
    identity: { type: 'string', description: 'this candidate in the election; default: host name and a random part' },
    'snapshot-standstill': {
      type: 'duration',
      default: '4s',
      description: 'writes are held no longer than this for a snapshot, whatever becomes of it; at most 60s',
    },
    concurrency: {
      type: 'integer',
      default: 8,
      minimum: 1,
      maximum: 256,
      description: 'volumes worked on at the same time',
    },
  },
});

/**
 * The lead, and the witness of what this operator can see. It lapses sooner than the leases of nodes: when the operator
 * was cut off for long enough that they look stale, it knows that it was.
 */
const leaseName = OPERATOR_LEASE;
const nodeLeaseMs = options['lease-duration'];
const renewMs = nodeLeaseMs / 10;

const log = createLogger({
  program: 'operator',
  level: options['log-level'],
  format: options['log-format'],
});
const connection = await orExit('operator', () =>
  connect({ kubeconfigPath: options.kubeconfig, userAgent: 'holdfast-operator' }),
);
// One that waits for the lead is as ready as it can be.
let view: View | undefined;
const health = await orExit('operator', () =>
  serveHealthIfAsked(
    options.health,
    () => true,
    () => metricsOf(view),
  ),
);
const { namespace } = options;
const identity = options.identity ?? `${os.hostname()}-${randomUUID().slice(0, 8)}`;
const leases = resource(connection, kinds.leases, namespace);
const recorder = createEventRecorder(connection, 'holdfast-operator', { log });

const work = (signal: AbortSignal): Promise<void> =>
  runVolumeController(
    {
      kube: kubeOver(connection),
      namespace,
      witness: leaseName,
      leaseDurationMs: nodeLeaseMs,
      recorder,
      clock: systemClock,
      settings: defaultSettings,
      log,
      concurrency: options.concurrency,
      standstillMs: options['snapshot-standstill'],
      onView: (now) => {
        view = now;
      },
    },
    signal,
  );

const stop = options['leader-elect'] ? startElected() : startAlone();
stopOnSignal(log, shutDown);

function startElected(): () => Promise<void> {
  const election = runWithLeaderElection({
    leases,
    name: leaseName,
    identity,
    leaseDurationMs: 6 * renewMs,
    renewDeadlineMs: 4.5 * renewMs,
    retryPeriodMs: renewMs,
    onStarted: work,
    log,
  });
  return () => election.stop();
}

function startAlone(): () => Promise<void> {
  const heartbeat = startHeartbeat({ leases, name: leaseName, holder: identity, durationMs: 3 * renewMs, log });
  const stopping = new AbortController();
  const running = work(stopping.signal).catch((error: unknown) => {
    log.error('the operator can not work', { error: describeError(error) });
    process.exitCode = 1;
    process.kill(process.pid, 'SIGTERM');
  });
  return async () => {
    stopping.abort();
    await running;
    await heartbeat.stop();
  };
}

/** In order: no new work, the work in hand to its end, the lead given away, events written. No volume is touched. */
async function shutDown(): Promise<void> {
  await stop();
  await recorder.flush();
  connection.close();
  await health?.close();
}
