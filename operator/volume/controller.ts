import { API_GROUP_VERSION, clientLeaseName, storageLeaseName } from '../../lib/api/names.ts';
import type { Clock } from '../../lib/clock.ts';
import { kinds } from '../../lib/kube/client.ts';
import { createController } from '../../lib/kube/controller.ts';
import type { EventRecorder } from '../../lib/kube/events.ts';
import type { Kube } from '../../lib/kube/kube.ts';
import type { Logger } from '../../lib/log.ts';
import { createSnapshotController, MADE_FROM, madeFromIndex } from '../snapshot/controller.ts';
import { createLiveness } from './liveness.ts';
import type { View } from '../metrics.ts';
import type { ReplicatedVolume } from './model.ts';
import type { Caches } from './observe.ts';
import { createReconciler } from './reconcile.ts';
import type { Settings } from './world.ts';

export interface VolumeControllerOptions {
  readonly kube: Kube;
  /** Where the Leases are. */
  readonly namespace: string;
  /** The Lease that this operator renews. */
  readonly witness: string;
  /** For Leases that don't say how long they last. */
  readonly leaseDurationMs: number;
  readonly recorder: Pick<EventRecorder, 'event'>;
  readonly clock: Clock;
  /** From 0 to 1, for jitter. */
  readonly random?: () => number;
  readonly settings: Settings;
  readonly log: Logger;
  /** Writes are held no longer than this for a snapshot; default 4 s. */
  readonly standstillMs?: number;
  /** Volumes worked on at the same time. */
  readonly concurrency: number;
  /** Told what is known once it is known, and undefined when it is no longer looked at. */
  readonly onView?: (view: View | undefined) => void;
}

const DEFAULT_STANDSTILL_MS = 4_000;

/**
 * Watches everything that a volume depends on and keeps all volumes as they should be, until the signal is aborted.
 * Rejects when the first lists don't come within `syncTimeoutMs`.
 */
export async function runVolumeController(
  options: VolumeControllerOptions,
  signal: AbortSignal,
  syncTimeoutMs = 60_000,
): Promise<void> {
  const { kube, namespace, witness, leaseDurationMs, recorder, clock, random, settings, log, concurrency } = options;

  const volumes = kube.informer(kinds.replicatedVolumes, {
    log,
    indexes: {
      storageNode: ({ status }) => (status?.replicas ?? []).map((replica) => replica.storageNode),
      client: ({ spec, status }) => [spec.attachTo, status?.attachment?.node ?? ''].filter((node) => node !== ''),
      unplaced: (volume) => (waitsForPlace(volume) ? ['yes'] : []),
      [MADE_FROM]: madeFromIndex,
    },
    onChange: (volume) => {
      controller.enqueue(volume.metadata.name);
      snapshots.onVolume(volume);
    },
  });
  const replicas = kube.informer(kinds.volumeReplicas, {
    log,
    indexes: { volume: ({ spec }) => [spec.volume], storageNode: ({ spec }) => [spec.storageNode] },
    onChange: ({ spec }) => controller.enqueue(spec.volume),
  });
  const connections = kube.informer(kinds.volumeConnections, {
    log,
    indexes: { volume: ({ spec }) => [spec.volume], node: ({ spec }) => [spec.node] },
    onChange: (connection, previous) => {
      controller.enqueue(connection.spec.volume);
      snapshots.onConnection(connection, previous);
    },
  });
  const nodes = kube.informer(kinds.storageNodes, { log, onChange: () => retryUnplaced() });
  const leases = kube.informer(kinds.leases, {
    log,
    namespace,
    onChange: (lease, _previous, deleted) => {
      if (deleted) liveness.forget(lease.metadata.name);
      else liveness.observe(lease);
    },
  });

  const liveness = createLiveness({
    witness,
    defaultDurationMs: leaseDurationMs,
    clock,
    onFlip: (lease, alive) => {
      log.info(alive ? 'a lease is renewed' : 'a lease is not renewed any more', { lease });
      for (const name of dependents(lease)) controller.enqueue(name);
      if (alive) retryUnplaced();
    },
  });

  /** The volumes for which it matters whether the holder of this lease lives. */
  function dependents(lease: string): readonly string[] {
    const storageNode = lease.slice(storageLeaseName('').length);
    const client = lease.slice(clientLeaseName('').length);
    if (lease === storageLeaseName(storageNode)) {
      return volumes.byIndex('storageNode', storageNode).map(({ metadata }) => metadata.name);
    }
    if (lease === clientLeaseName(client)) {
      const attached = volumes.byIndex('client', client).map(({ metadata }) => metadata.name);
      return [...attached, ...connections.byIndex('node', client).map(({ spec }) => spec.volume)];
    }
    return [];
  }

  function retryUnplaced(): void {
    for (const { metadata } of volumes.byIndex('unplaced', 'yes')) controller.enqueue(metadata.name);
  }

  const snapshots = createSnapshotController({
    kube,
    clock,
    ...(random === undefined ? {} : { random }),
    log,
    concurrency,
    standstillMs: options.standstillMs ?? DEFAULT_STANDSTILL_MS,
    isFresh: (lease) => liveness.isFresh(lease),
    onSource: (volume) => controller.enqueue(volume),
    volumes,
    replicas,
    connections,
  });

  const caches: Caches = {
    snapshot: (name) => snapshots.snapshot(name),
    volume: (name) => volumes.get(name),
    replicasOf: (volume) => replicas.byIndex('volume', volume),
    connectionsOf: (volume) => connections.byIndex('volume', volume),
    storageNodes: () => nodes.list(),
    replicasOn: (storageNode) => replicas.byIndex('storageNode', storageNode),
  };
  const reconcile = createReconciler({
    caches,
    leases: liveness,
    clock,
    settings,
    ports: {
      volumes: kube.resource(kinds.replicatedVolumes),
      replicas: kube.resource(kinds.volumeReplicas),
      connections: kube.resource(kinds.volumeConnections),
      tell: (volume, { type, reason, message }) =>
        recorder.event({ ...volume, apiVersion: API_GROUP_VERSION, kind: 'ReplicatedVolume' }, type, reason, message),
      log,
    },
  });
  const controller = createController({
    name: 'volumes',
    reconcile,
    concurrency,
    clock,
    ...(random === undefined ? {} : { random }),
    log,
  });

  const informers = [leases, nodes, replicas, connections, volumes, ...snapshots.informers];
  for (const informer of informers) informer.start();
  try {
    await Promise.race([Promise.all(informers.map((informer) => informer.synced(syncTimeoutMs))), aborted(signal)]);
    if (!signal.aborted) {
      controller.start();
      snapshots.controller.start();
      options.onView?.({
        volumes: () => volumes.list(),
        storageNodes: () => nodes.list(),
        isAlive: (node) => liveness.isFresh(storageLeaseName(node)),
      });
      log.info('volumes are being looked after', { volumes: volumes.list().length });
      await aborted(signal);
    }
  } finally {
    options.onView?.(undefined);
    await Promise.all([controller.stop(), snapshots.controller.stop()]);
    await Promise.all(informers.map((informer) => informer.stop()));
  }
}

/** It waits for a storage node that fits: a change of any may help. */
function waitsForPlace({ status }: ReplicatedVolume): boolean {
  return (
    status?.conditions?.some(
      ({ status: is, reason }) => is === 'False' && (reason === 'NoPlace' || reason === 'DataOnDisk'),
    ) ?? true
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
