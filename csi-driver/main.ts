import { kinds, connect, resource, type KubeConnection, type Lease } from '../lib/kube/client.ts';
import { createEventRecorder } from '../lib/kube/events.ts';
import { createInformer, type Informer } from '../lib/kube/informer.ts';
import { kubeOver } from '../lib/kube/kube.ts';
import type { ReplicatedSnapshot, ReplicatedVolume, VolumeConnection } from '../lib/api/index.ts';
import { commonOptions, parseOrExit, type OptionSpecs, type OptionValues } from '../lib/cli.ts';
import { systemClock } from '../lib/clock.ts';
import { createSpawner } from '../lib/host/spawner.ts';
import { createFilesystems } from '../lib/host/mkfs.ts';
import { createMounts } from '../lib/host/mount.ts';
import { reserveThreads } from '../lib/host/threads.ts';
import { serveHealthIfAsked } from '../lib/health.ts';
import { createLogger, describeError, type Logger } from '../lib/log.ts';
import { stopOnSignal } from '../lib/shutdown.ts';
import { createChanges, type Changes } from './changes.ts';
import { watchCandidates } from './controller/candidates.ts';
import { groupControllerService } from './controller/group-snapshot.ts';
import { controllerService } from './controller/service.ts';
import { snapshotKey } from './controller/snapshot.ts';
import { ControllerService, GroupControllerService, IdentityService, NodeService } from './generated/csi.ts';
import { parseEndpoint } from './grpc/endpoint.ts';
import { serve, type Service } from './grpc/server.ts';
import { identityService } from './identity/service.ts';
import { startClientAgent } from './node/agent/agent.ts';
import { thisHost } from './node/agent/host.ts';
import { createAttachedDevices } from './node/device.ts';
import { createFormatRecord } from './node/format-record.ts';
import { hostPaths } from './node/paths.ts';
import { registration } from './node/registration.ts';
import { nodeService } from './node/service.ts';
import { nodeTopology, parseTopologyKeys } from './node/topology.ts';

const version = '0.1.0';

const options = {
  mode: {
    type: 'choice',
    choices: ['controller', 'node'],
    required: true,
    description: 'controller: creates and attaches volumes; node: formats and mounts them, and is the client agent',
  },
  endpoint: {
    type: 'string',
    placeholder: 'unix:///PATH',
    env: 'CSI_ENDPOINT',
    default: 'unix:///run/holdfast/csi.sock',
    description: 'the UNIX socket to serve CSI on',
  },
  'registration-endpoint': {
    type: 'string',
    placeholder: 'unix:///PATH',
    description:
      'with --mode node: the UNIX socket, in the folder plugins_registry of the kubelet, on which it finds the driver',
  },
  node: { type: 'string', env: 'NODE_NAME', description: "this node's name; required with --mode node" },
  'max-volumes': {
    type: 'integer',
    default: 128,
    maximum: 500,
    description: 'volumes that this node takes; 0: no limit',
  },
  'topology-keys': {
    type: 'string',
    placeholder: 'KEY,KEY',
    default: 'topology.kubernetes.io/region,topology.kubernetes.io/zone',
    description: "with --mode node: the labels of the node's object that tell where it is",
  },
  ...commonOptions,
} as const satisfies OptionSpecs;

type Values = OptionValues<typeof options>;

/** How long a call without a deadline of its own may take. */
const DEFAULT_CALL_TIMEOUT_MS = 120_000;
const STOP_GRACE_MS = 10_000;

/** What a mode brings: its CSI service, whether it can work, and how it ends. */
interface Running {
  readonly services: readonly Service[];
  readonly ready: () => boolean;
  stop(): Promise<void>;
}

async function main(values: Values): Promise<void> {
  if (values.mode === 'node') reserveThreads(process.env);
  const log = createLogger({
    program: `csi-${values.mode}`,
    level: values['log-level'],
    format: values['log-format'],
  });
  const connection = connect({
    kubeconfigPath: values.kubeconfig,
    userAgent: `holdfast-csi-${values.mode}/${version}`,
  });
  const changes = createChanges();
  const running =
    values.mode === 'controller'
      ? startController(connection, changes, values, log)
      : await startNode(connection, changes, values, log);
  const server = await serve({
    endpoint: values.endpoint,
    services: [
      { definition: IdentityService, handlers: identityService({ version, ready: running.ready }) },
      ...running.services,
    ],
    log,
    defaultTimeoutMs: DEFAULT_CALL_TIMEOUT_MS,
  });

  // Only now: kubelet calls the CSI socket as soon as it knows of it.
  const registrar = await startRegistration(values, log);
  const health = await serveHealthIfAsked(values.health, () => running.ready() && registrar.registered());
  stopOnSignal(log, async () => {
    try {
      await registrar.stop();
      await server.stop(STOP_GRACE_MS);
      await running.stop();
    } finally {
      connection.close();
      await health?.close();
    }
  });
}

/** Where no kubelet is told of the driver, nothing is waited for. */
async function startRegistration(
  values: Values,
  log: Logger,
): Promise<{ readonly registered: () => boolean; stop(): Promise<void> }> {
  const endpoint = values['registration-endpoint'];
  if (endpoint === undefined) return { registered: () => true, stop: () => Promise.resolve() };
  const { service, registered } = registration(parseEndpoint(values.endpoint), log);
  const server = await serve({ endpoint, services: [service], log, defaultTimeoutMs: DEFAULT_CALL_TIMEOUT_MS });
  return { registered, stop: () => server.stop(STOP_GRACE_MS) };
}

function startController(connection: KubeConnection, changes: Changes, values: Values, log: Logger): Running {
  const volumes = createInformer<ReplicatedVolume>(connection, kinds.replicatedVolumes, {
    log,
    onChange: ({ metadata }) => changes.notify(metadata.name),
  });
  const connections = watchConnections(connection, changes, log);
  const placement = watchCandidates(connection, {
    namespace: values.namespace,
    leaseDurationMs: values['lease-duration'],
    log,
  });
  const snapshots = createInformer<ReplicatedSnapshot>(connection, kinds.replicatedSnapshots, {
    log,
    onChange: ({ metadata }) => changes.notify(snapshotKey(metadata.name)),
  });
  const deps = {
    snapshots: resource(connection, kinds.replicatedSnapshots),
    cachedSnapshots: () => snapshots.list(),
    volumes: resource(connection, kinds.replicatedVolumes),
    cachedVolumes: () => volumes.list(),
    cachedVolume: (name: string) => volumes.get(name),
    connections: resource(connection, kinds.volumeConnections),
    leases: resource<Lease>(connection, kinds.leases, values.namespace),
    nodes: resource(connection, kinds.nodes),
    claims: (namespace: string) => resource(connection, kinds.claims, namespace),
    candidates: placement.candidates,
    changes,
  };
  const informers = [volumes, connections, snapshots, ...placement.informers];
  for (const informer of informers) informer.start();
  return {
    services: [
      { definition: ControllerService, handlers: controllerService(deps) },
      { definition: GroupControllerService, handlers: groupControllerService(deps) },
    ],
    ready: whenSynced(informers),
    stop: async () => void (await Promise.all(informers.map((informer) => informer.stop()))),
  };
}

async function startNode(connection: KubeConnection, changes: Changes, values: Values, log: Logger): Promise<Running> {
  const { node = '' } = values;
  const exec = createSpawner();
  const topologyKeys = parseTopologyKeys(values['topology-keys']);
  const volumes = resource(connection, kinds.replicatedVolumes);
  const connections = watchConnections(connection, changes, log, node);
  const handlers = nodeService({
    node,
    maxVolumes: values['max-volumes'],
    connections: () => connections.list(),
    topology: nodeTopology({ node, nodes: resource(connection, kinds.nodes), keys: topologyKeys }),
    devices: createAttachedDevices({
      node,
      connections: resource(connection, kinds.volumeConnections),
      changes,
      paths: hostPaths,
    }),
    mounts: createMounts(exec),
    filesystems: createFilesystems(exec),
    formatRecord: createFormatRecord({ node, volumes, clock: systemClock }),
    paths: hostPaths,
    exec,
  });
  const agent = await startClientAgent({
    node,
    kube: kubeOver(connection),
    host: thisHost(exec),
    recorder: createEventRecorder(connection, 'client-agent'),
    namespace: values.namespace,
    leaseDurationMs: values['lease-duration'],
    maxVolumes: values['max-volumes'],
    log,
  });
  connections.start();
  return {
    services: [{ definition: NodeService, handlers }],
    ready: whenSynced([connections]),
    // The agent goes last: it keeps the write gate for as long as this program can.
    stop: async () => {
      await connections.stop();
      await agent.stop();
    },
  };
}

function watchConnections(
  connection: KubeConnection,
  changes: Changes,
  log: Logger,
  node?: string,
): Informer<VolumeConnection> {
  return createInformer<VolumeConnection>(connection, kinds.volumeConnections, {
    ...(node === undefined ? {} : { fieldSelector: `spec.node=${node}` }),
    log,
    onChange: ({ spec }) => changes.notify(spec.volume),
  });
}

function whenSynced(informers: readonly { synced(): Promise<void> }[]): () => boolean {
  let synced = false;
  Promise.all(informers.map((informer) => informer.synced())).then(
    () => (synced = true),
    () => undefined,
  );
  return () => synced;
}

const values = parseOrExit({ name: 'csi-driver', summary: "Holdfast's CSI driver", options });
if (values.mode === 'node' && values.node === undefined) {
  process.stderr.write('csi-driver: HF004: --node (or the variable NODE_NAME) is required with --mode node\n');
  process.exit(2);
}
try {
  await main(values);
} catch (error) {
  process.stderr.write(`csi-driver: ${describeError(error)}\n`);
  process.exit(1);
}
