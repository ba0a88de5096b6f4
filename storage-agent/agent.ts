import { storageLeaseName, type SnapshotReplica, type StorageNode, type VolumeReplica } from '../lib/api/index.ts';
import { sleep, systemClock, type Clock } from '../lib/clock.ts';
import { createBlockDevices } from '../lib/host/blockdev.ts';
import { createLvm } from '../lib/host/lvm.ts';
import { createSpawner } from '../lib/host/spawner.ts';
import { hasUdev } from '../lib/host/udev.ts';
import { createConfigFs, createNvmet } from '../lib/host/nvmet.ts';
import { readAttribute } from '../lib/host/sysfs.ts';
import { kinds, type Lease } from '../lib/kube/client.ts';
import { createController } from '../lib/kube/controller.ts';
import type { Kube } from '../lib/kube/kube.ts';
import { startHeartbeat } from '../lib/kube/lease.ts';
import { describeError, type Logger } from '../lib/log.ts';
import { createCopyApi, createStorageApi } from './api.ts';
import { createCopyLoop } from './copy/reconcile.ts';
import { createNodeLoop } from './pool/reconcile.ts';
import type { Ports } from './ports.ts';
import { createReplicaLoop } from './replica/reconcile.ts';
import { cacheVolumes } from './volumes.ts';

export interface AgentOptions {
  readonly kube: Kube;
  /** Name of this node's StorageNode. */
  readonly node: string;
  readonly namespace: string;
  readonly leaseDurationMs: number;
  readonly version: string;
  readonly host: Host;
  readonly log: Logger;
  readonly clock?: Clock;
  /** From 0 to 1, for jitter. */
  readonly random?: () => number;
}

export interface Agent {
  /** Whether the API server has told what there is to do. */
  readonly ready: () => boolean;
  /** Ends the loops after the effect that each is in. Exports and volumes stay as they are. */
  stop(): Promise<void>;
}

const NODE_KEY = 'node';
/** Replicas worked on at the same time; more would only queue up in LVM's lock. */
const CONCURRENCY = 3;

/** Everything that the agent has of its machine. */
export type Host = Omit<Ports, 'api' | 'log'>;

/** The machine that this process runs on. */
export function thisHost(): Host {
  const bootId = readAttribute('/proc/sys/kernel/random/boot_id');
  if (bootId === undefined) throw new Error('/proc/sys/kernel/random/boot_id is missing: is /proc mounted?');
  // A fail-over waits for the commands of its storage nodes.
  const exec = createSpawner();
  const disks = createBlockDevices(exec);
  return {
    disks,
    lvm: createLvm({ exec, devices: () => disks.scannable(), udev: hasUdev }),
    nvmet: createNvmet({ fs: createConfigFs(exec), exec }),
    bootId,
    now: () => systemClock.now(),
    sleep: (ms) => sleep(systemClock, ms),
  };
}

/** Starts the storage-agent of this machine. It runs until it is stopped; an API server that is away is waited for. */
export function startAgent(options: AgentOptions): Agent {
  const { kube, node, host, log, clock = systemClock, random = Math.random } = options;
  const replicas = kube.informer<VolumeReplica>(kinds.volumeReplicas, {
    fieldSelector: `spec.storageNode=${node}`,
    log,
    onChange: ({ metadata }, previous, deleted) => {
      // Our own status writes come back as changes; the generation moves with the spec and with the deletion.
      const isNews = deleted || metadata.generation !== previous?.metadata.generation;
      if (isNews) replicaController.enqueue(metadata.name);
    },
  });
  const nodes = kube.informer<StorageNode>(kinds.storageNodes, {
    fieldSelector: `metadata.name=${node}`,
    log,
    onChange: (object, previous) => {
      if (object.metadata.generation === previous?.metadata.generation) return;
      nodeController.enqueue(NODE_KEY);
      enqueueAll();
    },
  });
  const copies = kube.informer<SnapshotReplica>(kinds.snapshotReplicas, {
    fieldSelector: `spec.storageNode=${node}`,
    log,
    onChange: ({ metadata }, previous, deleted) => {
      const isNews = deleted || metadata.generation !== previous?.metadata.generation;
      if (isNews) copyController.enqueue(metadata.name);
    },
  });
  const enqueueAll = (): void => {
    for (const { metadata } of replicas.list()) replicaController.enqueue(metadata.name);
    for (const { metadata } of copies.list()) copyController.enqueue(metadata.name);
  };
  const { lvm, volumes } = cacheVolumes(host.lvm, () => host.now());
  const ports: Ports = { ...host, lvm, api: createStorageApi(kube, node, { nodes, replicas }), log };
  const replicaLoop = createReplicaLoop(ports, volumes);
  const nodeLoop = createNodeLoop(ports, volumes, { agentVersion: options.version, onPoolsChanged: enqueueAll });
  const replicaController = createController({
    name: 'replicas',
    reconcile: (name) => replicaLoop.reconcile(name),
    concurrency: CONCURRENCY,
    backoff: { baseMs: 250, maxMs: 15_000 },
    clock,
    random,
    log,
  });
  const copyLoop = createCopyLoop({ ...host, lvm, api: createCopyApi(kube, node, { nodes, copies }), log }, volumes);
  // Of its own: while a snapshot is taken, a client's writes wait for it.
  const copyController = createController({
    name: 'copies',
    reconcile: (name) => copyLoop.reconcile(name),
    concurrency: CONCURRENCY,
    backoff: { baseMs: 100, maxMs: 15_000 },
    clock,
    random,
    log,
  });
  const nodeController = createController({ name: 'node', reconcile: () => nodeLoop.reconcile(), clock, random, log });
  const heartbeat = startHeartbeat({
    leases: kube.resource<Lease>(kinds.leases, options.namespace),
    name: storageLeaseName(node),
    holder: node,
    durationMs: options.leaseDurationMs,
    clock,
    log,
  });
  nodes.start();
  replicas.start();
  copies.start();

  let ready = false;
  // Not awaited: without the API server the agent waits, and everything that is exported stays exported.
  const started = Promise.all([nodes.synced(), replicas.synced(), copies.synced()]).then(() => {
    if (nodes.get(node) === undefined) log.warn('there is no StorageNode of this name yet; waiting for it', { node });
    nodeController.enqueue(NODE_KEY);
    nodeController.start();
    replicaController.start();
    copyController.start();
    ready = true;
  });
  started.catch((error: unknown) => log.info('stopped before it began', { error: describeError(error) }));
  return {
    ready: () => ready,
    stop: async () => {
      await Promise.all([nodeController.stop(), replicaController.stop(), copyController.stop()]);
      await Promise.all([nodes.stop(), replicas.stop(), copies.stop()]);
      await heartbeat.stop();
    },
  };
}
