import type {
  KubeObject,
  ReplicatedSnapshot,
  ReplicatedVolume,
  SnapshotReplica,
  VolumeConnection,
  VolumeReplica,
} from '../../../lib/api/index.ts';
import { createFakeClock } from '../../../lib/fake-clock.ts';
import { silentLog } from '../../../lib/log.ts';
import { rulesOf } from '../../../test/sim/rules.ts';
import type { Store } from '../../volume/ports.ts';
import { createTable, type Table } from '../../volume/testing/table.ts';
import { createSnapshotReconciler, keyOf } from '../reconcile.ts';
import { sourceSnapshotOf } from '../source.ts';

export const EPOCH = 7;

/** The operator's snapshot loop over tables that hold the CRDs' rules, and the agents as a test plays them. */
export function createStage() {
  const clock = createFakeClock();
  let version = 0;
  let uids = 0;
  const dead = new Set<string>();
  const table = <T extends KubeObject>(kind: string): Table<T> => {
    const check = rulesOf(kind);
    return createTable<T>({
      kind,
      ...(check === undefined ? {} : { check }),
      nowMs: () => clock.now(),
      nextVersion: () => String((version += 1)),
      nextUid: () => `uid-${(uids += 1)}`,
      onCommit: () => undefined,
    });
  };
  const storeOf = <T extends KubeObject>(rows: Table<T>): Store<T> => ({
    get: async (name) => structuredClone(rows.rows.get(name)),
    list: async (options) => ({ items: structuredClone(rows.list(options?.fieldSelector)) }),
    create: async (object) => structuredClone(rows.create(structuredClone(object))),
    patch: async (name, patch, options) =>
      structuredClone(rows.patch(name, structuredClone(patch), options?.subresource)),
    delete: async (name, preconditions) => rows.delete(name, preconditions),
  });
  const volumes = table<ReplicatedVolume>('ReplicatedVolume');
  const replicas = table<VolumeReplica>('VolumeReplica');
  const connections = table<VolumeConnection>('VolumeConnection');
  const snapshots = table<ReplicatedSnapshot>('ReplicatedSnapshot');
  const copies = table<SnapshotReplica>('SnapshotReplica');
  const reconcile = createSnapshotReconciler({
    clock,
    standstillMs: 4000,
    isStorageAlive: (node) => !dead.has(node),
    isClientAlive: (node) => !dead.has(node),
    caches: {
      snapshot: (name) => snapshots.rows.get(name),
      group: (name) => [...snapshots.rows.values()].filter(({ spec }) => spec.group?.name === name),
      snapshotsOf: (name) => [...snapshots.rows.values()].filter(({ spec }) => spec.volume === name),
      copiesOf: (name) => [...copies.rows.values()].filter(({ spec }) => spec.snapshot === name),
      volume: (name) => volumes.rows.get(name),
      madeFrom: (name) =>
        [...volumes.rows.values()].filter(
          (volume) => (volume.status?.inSync ?? []).length === 0 && sourceSnapshotOf(volume) === name,
        ),
      replicasOf: (volume) => replicas.list(`spec.volume=${volume}`),
      connectionsOf: (volume) => connections.list(`spec.volume=${volume}`),
    },
    ports: {
      snapshots: storeOf(snapshots),
      copies: storeOf(copies),
      connections: storeOf(connections),
      volumes: storeOf(volumes),
      log: silentLog,
    },
  });

  /** A volume with a replica on each node, which `client` has, or nobody. */
  function volume(name: string, nodes: readonly string[], { client = '', clean = true } = {}): void {
    volumes.create({
      metadata: { name },
      spec: { capacityBytes: 1 << 26, replicas: nodes.length, provisioning: 'Thin', attachTo: client },
      status: {
        attachment: { node: client, hostNqn: client, epoch: EPOCH, clean },
        inSync: nodes.map((_, at) => `${name}-r${at}`),
      },
    } as unknown as ReplicatedVolume);
    const volumeUid = volumes.rows.get(name)?.metadata.uid ?? '';
    for (const [at, storageNode] of nodes.entries()) {
      replicas.create({
        metadata: { name: `${name}-r${at}` },
        spec: {
          volume: name,
          volumeUid,
          storageNode,
          pool: 'main',
          sizeBytes: 1 << 26,
          state: 'Active',
          provisioning: 'Thin',
        },
      } as unknown as VolumeReplica);
    }
    if (client !== '') {
      connections.create({
        metadata: { name: `${name}.${client}` },
        spec: { volume: name, volumeUid, node: client, epoch: EPOCH },
        status: { phase: 'Connected', epoch: EPOCH },
      } as unknown as VolumeConnection);
    }
  }

  function snapshot(name: string, spec: ReplicatedSnapshot['spec']): void {
    snapshots.create({ metadata: { name }, spec });
  }

  /** The operator looks at everything until it has nothing more to do. */
  async function operate(): Promise<void> {
    for (let round = 0; round < 10; round += 1) {
      const before = version;
      const named = [...copies.rows.values()].map(({ spec }) => spec.snapshot);
      const made = [...volumes.rows.values()].map(sourceSnapshotOf).filter((name) => name !== undefined);
      const strays = [...named, ...made].filter((name) => !snapshots.rows.has(name)).map((name) => `s/${name}`);
      for (const key of new Set([...[...snapshots.rows.values()].map(keyOf), ...strays])) await reconcile(key);
      if (version === before) return;
    }
    throw new Error('the operator does not come to rest');
  }

  /** A storage agent: prepares, and takes. */
  function storageAgent(node: string): void {
    for (const copy of [...copies.rows.values()].filter(({ spec }) => spec.storageNode === node)) {
      const { name, deletionTimestamp } = copy.metadata;
      if (deletionTimestamp !== undefined) copies.patch(name, { metadata: { finalizers: [] } });
      else if (copy.spec.take === '') copies.patch(name, { status: { phase: 'Prepared' } }, 'status');
      else copies.patch(name, { status: { phase: 'Taken', take: copy.spec.take } }, 'status');
    }
  }

  /** A client agent's answer to what was asked of it. */
  function answer(connection: string, state: string, more: object = {}): void {
    const request = connections.rows.get(connection)?.spec.suspend?.request;
    if (request === undefined) throw new Error(`${connection} was asked for nothing`);
    const held = connections.rows.get(connection)?.status?.suspension;
    const known = held?.request === request ? held : {};
    connections.patch(
      connection,
      { status: { suspension: { ...known, request, token: '', state, ...more } } },
      'status',
    );
  }

  return {
    clock,
    dead,
    volumes,
    replicas,
    connections,
    snapshots,
    copies,
    volume,
    snapshot,
    operate,
    storageAgent,
    answer,
  };
}
