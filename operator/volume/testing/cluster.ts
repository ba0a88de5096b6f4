/** A small cluster in memory: an API server, a clock, storage agents and client agents as functions, and one writer. */
import { DEFAULT_STALL_POLICY } from '../../../lib/api/policy.ts';
import type { PlannedEvent } from '../actions.ts';
import type { ReplicatedVolume, StorageNode, VolumeConnection, VolumeReplica } from '../model.ts';
import type { Caches } from '../observe.ts';
import { createReconciler } from '../reconcile.ts';
import { LawBroken, checkLaws } from './laws.ts';
import type { FakeApi, Write } from './store.ts';
import { createFakeApi } from './store.ts';

export const GIB = 1024 ** 3;
const leaseMs = 10_000;
const startMs = Date.parse('2026-01-01T00:00:00Z');

export class Crash extends Error {}

/** The array that a client runs. */
interface RunningArray {
  readonly volume: string;
  readonly node: string;
  readonly epoch: number;
  /** Legs that get every write. */
  legs: Set<string>;
}

export interface Cluster {
  readonly api: FakeApi;
  readonly events: PlannedEvent[];
  now(): number;
  addNode(name: string, labels: Record<string, string>): void;
  createVolume(name: string, spec?: Partial<ReplicatedVolume['spec']>): Promise<void>;
  volume(name: string): ReplicatedVolume;
  edit(name: string, spec: Partial<ReplicatedVolume['spec']>): Promise<void>;
  deleteVolume(name: string): Promise<void>;
  power(machine: string, on: boolean): void;
  /** Runs everything until nothing changes any more, without letting time pass. */
  settle(): Promise<void>;
  /** Lets time pass, stopping at every moment for which something asked. */
  advance(ms: number): Promise<void>;
  /** From now on no more is expected of the volume than what this replica holds: a person has accepted the loss. */
  acceptLoss(volume: string, replica: string): void;
  /** One write by the volume's client; false when it has to wait. */
  write(volume: string): boolean;
  /** From now on the operator dies right after its n-th write, every n writes. */
  crashEvery(writes: number): void;
  /** How many times the operator died. */
  crashes(): number;
  /** The operator sees objects as they were before its last round. */
  lag(on: boolean): void;
}

export function createCluster(): Cluster {
  let nowMs = startMs;
  let operatorWrites = 0;
  let byOperator = false;
  let crashAfter = Number.POSITIVE_INFINITY;
  let crashes = 0;
  let lagging = false;
  let dueMs = Number.POSITIVE_INFINITY;
  const off = new Map<string, number>();
  const events: PlannedEvent[] = [];
  const arrays = new Map<string, RunningArray>();
  /** What is on each replica's disk: the number of the last write it holds. */
  const disks = new Map<string, number>();
  const acknowledged = new Map<string, number>();
  /** What the targets really admit: by replica, the epoch that the storage agent has set up. */
  const exported = new Map<string, number>();

  const onWrite = (write: Write): void => {
    checkLaws(write, api);
    if (!byOperator) return;
    operatorWrites += 1;
    if (operatorWrites % crashAfter === 0) {
      crashes += 1;
      throw new Crash();
    }
  };
  const api = createFakeApi(() => nowMs, onWrite);
  const isOn = (machine: string): boolean => !off.has(machine);
  const lastSeen = (lease: string): number => off.get(lease.replace(/^(storage|client)-/, '')) ?? nowMs;
  const leases = {
    isFresh: (lease: string) => nowMs - lastSeen(lease) < leaseMs,
    lastSeenMs: lastSeen,
  };

  interface Snapshot {
    readonly volumes: readonly ReplicatedVolume[];
    readonly replicas: readonly VolumeReplica[];
    readonly connections: readonly VolumeConnection[];
  }
  const takeSnapshot = (): Snapshot =>
    structuredClone({
      volumes: [...api.volumes.rows.values()],
      replicas: [...api.replicas.rows.values()],
      connections: [...api.connections.rows.values()],
    });
  let snapshot = takeSnapshot();
  const caches: Caches = {
    snapshot: () => undefined,
    volume: (name) => snapshot.volumes.find(({ metadata }) => metadata.name === name),
    replicasOf: (volume) => snapshot.replicas.filter(({ spec }) => spec.volume === volume),
    connectionsOf: (volume) => snapshot.connections.filter(({ spec }) => spec.volume === volume),
    storageNodes: () => [...api.nodes.values()],
    replicasOn: (node) => snapshot.replicas.filter(({ spec }) => spec.storageNode === node),
  };
  const newReconciler = () =>
    createReconciler({
      caches,
      leases,
      ports: {
        volumes: api.volumes.store,
        replicas: api.replicas.store,
        connections: api.connections.store,
        tell: (_volume, event) => events.push(event),
        log: { debug: () => undefined, info: () => undefined, warn: () => undefined },
      },
      clock: { now: () => nowMs, monotonicMs: () => nowMs, setTimeout: () => () => undefined },
    });
  let reconcile = newReconciler();
  let round = 0;

  async function operate(): Promise<void> {
    round += 1;
    const fresh = takeSnapshot();
    // Each informer is on its own: in a lagging world the kinds are behind in turn.
    snapshot = lagging
      ? {
          volumes: round % 2 === 0 ? snapshot.volumes : fresh.volumes,
          replicas: round % 3 === 0 ? fresh.replicas : snapshot.replicas,
          connections: round % 5 < 2 ? fresh.connections : snapshot.connections,
        }
      : fresh;
    const names = new Set([...fresh.volumes.map((v) => v.metadata.name), ...fresh.replicas.map((r) => r.spec.volume)]);
    dueMs = Number.POSITIVE_INFINITY;
    for (const name of names) {
      byOperator = true;
      try {
        const result = await reconcile(name);
        if (result?.requeueAfterMs !== undefined) dueMs = Math.min(dueMs, nowMs + result.requeueAfterMs);
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
        reconcile = newReconciler();
      } finally {
        byOperator = false;
      }
    }
  }

  async function runStorageAgent(replica: VolumeReplica): Promise<void> {
    const { name, uid = '', deletionTimestamp, finalizers = [] } = replica.metadata;
    const { spec } = replica;
    if (!isOn(spec.storageNode)) return;
    if (spec.state === 'Orphan') {
      exported.delete(name);
      const volume = api.volumes.rows.get(spec.volume);
      const named =
        volume?.metadata.uid === spec.volumeUid &&
        volume.status?.replicas?.some((entry) => entry.name === name) === true;
      if (deletionTimestamp !== undefined && !named) {
        disks.delete(uid);
        await api.replicas.store.patch(name, { metadata: { finalizers: finalizers.slice(1) } });
      }
      return;
    }
    if (!disks.has(uid)) disks.set(uid, 0);
    exported.set(name, spec.epoch);
    await api.replicas.store.patch(
      name,
      {
        status: {
          phase: 'Ready',
          nqn: `nqn.2026-01.dev.holdfast:replica:${uid}`,
          address: '127.0.0.1',
          port: 4420,
          fencedEpoch: spec.epoch,
        },
      },
      { subresource: 'status' },
    );
  }

  /** The client can reach the leg: its machine runs and the target admits this epoch. */
  function reaches(node: string, replica: string, epoch: number): boolean {
    const object = api.replicas.rows.get(replica);
    return object !== undefined && isOn(node) && isOn(object.spec.storageNode) && exported.get(replica) === epoch;
  }

  function diskOf(replica: string): string {
    return api.replicas.rows.get(replica)?.metadata.uid ?? `gone ${replica}`;
  }

  async function runClientAgent(connection: VolumeConnection): Promise<void> {
    const { name, deletionTimestamp, finalizers = [] } = connection.metadata;
    const { volume: volumeName, node, epoch, legs } = connection.spec;
    const volume = api.volumes.rows.get(volumeName);
    const attachment = volume?.status?.attachment;
    if (!isOn(node)) return;
    const key = `${volumeName} ${node}`;
    if (deletionTimestamp !== undefined || attachment?.node !== node || attachment.epoch !== epoch) {
      const running = arrays.get(key);
      if (attachment?.node === node && attachment.epoch === epoch && running !== undefined) {
        // Stopping in order means that every leg of the record has everything: one that can't be reached goes first.
        const good = [...running.legs].filter((leg) => reaches(node, leg, epoch));
        if (good.length === 0) return;
        await drop(
          volume,
          [...running.legs].filter((leg) => !good.includes(leg)),
          good,
        );
        await patchStatus(api.volumes.rows.get(volumeName), { attachment: { clean: true } });
      }
      arrays.delete(key);
      if (deletionTimestamp !== undefined && finalizers.length > 0) {
        await api.connections.store.patch(name, { metadata: { finalizers: [] } });
      }
      return;
    }
    const record = volume?.status?.inSync ?? [];
    const listed = legs.map(({ replica }) => replica);
    const reachable = listed.filter((leg) => reaches(node, leg, epoch));
    const good = record.filter((leg) => reachable.includes(leg));
    if (good.length === 0) {
      await connectionStatus(name, { phase: 'Waiting', epoch, message: 'no in-sync leg can be reached' });
      return;
    }
    const lost = record.filter((leg) => !good.includes(leg));
    if (!arrays.has(key)) {
      const wanted = acknowledged.get(volumeName) ?? 0;
      const held = good.map((leg) => disks.get(diskOf(leg)) ?? -1);
      if (held.some((value) => value < wanted)) {
        throw new LawBroken(`${good.join()} hold ${held.join()} and lack acknowledged writes up to ${wanted}`);
      }
      if (attachment.clean && new Set(held).size > 1) {
        throw new LawBroken(`${good.join()} are said to be clean and differ: ${held.join()}`);
      }
      for (const leg of good) disks.set(diskOf(leg), held[0] ?? 0);
    }
    // Record before acknowledge: the array goes on with fewer legs only after the record says so.
    await drop(volume, lost, good);
    if (attachment.clean) await patchStatus(api.volumes.rows.get(volumeName), { attachment: { clean: false } });
    const array = arrays.get(key) ?? { volume: volumeName, node, epoch, legs: new Set<string>() };
    array.legs = new Set(good);
    arrays.set(key, array);
    const before = connection.status?.legs ?? [];
    const syncing = reachable.filter((leg) => !good.includes(leg));
    const joined = syncing.filter((leg) => before.some(({ replica, state }) => replica === leg && state === 'Syncing'));
    for (const leg of joined) {
      disks.set(diskOf(leg), disks.get(diskOf(good[0] ?? '')) ?? 0);
      const now = api.volumes.rows.get(volumeName);
      const inSync = [...(now?.status?.inSync ?? []), leg];
      await patchStatus(now, { inSync, outOfSync: { [leg]: null } });
      array.legs.add(leg);
    }
    const states = listed.map((replica) => ({
      replica,
      state: array.legs.has(replica) ? 'InSync' : syncing.includes(replica) ? 'Syncing' : 'Unreachable',
    }));
    await connectionStatus(name, {
      phase: 'Connected',
      epoch,
      devicePath: `/dev/holdfast/${volumeName}`,
      legs: states,
    });
  }

  async function drop(
    volume: ReplicatedVolume | undefined,
    lost: readonly string[],
    inSync: readonly string[],
  ): Promise<void> {
    if (lost.length === 0) return;
    const epoch = volume?.status?.attachment?.epoch ?? 0;
    const entry = { epoch, at: new Date(nowMs).toISOString(), reason: 'no answer' };
    await patchStatus(volume, { inSync, outOfSync: Object.fromEntries(lost.map((leg) => [leg, entry])) });
  }

  async function patchStatus(volume: ReplicatedVolume | undefined, status: object): Promise<void> {
    const { name = '', resourceVersion } = volume?.metadata ?? {};
    await api.volumes.store.patch(name, { metadata: { resourceVersion }, status }, { subresource: 'status' });
  }

  async function connectionStatus(name: string, status: object): Promise<void> {
    await api.connections.store.patch(name, { status }, { subresource: 'status' });
  }

  async function oneRound(): Promise<void> {
    await operate();
    for (const replica of structuredClone([...api.replicas.rows.values()])) await runStorageAgent(replica);
    for (const connection of structuredClone([...api.connections.rows.values()])) await runClientAgent(connection);
  }

  async function settle(): Promise<void> {
    let quiet = 0;
    for (let i = 0; i < 400; i += 1) {
      const before = api.writes();
      await oneRound();
      quiet = api.writes() === before ? quiet + 1 : 0;
      if (quiet > 30 || (quiet > 1 && !lagging && dueMs > nowMs)) return;
    }
    throw new Error('the cluster does not come to rest');
  }

  return {
    api,
    events,
    now: () => nowMs,
    addNode: (name, labels) => api.nodes.set(name, storageNode(name, labels)),
    createVolume: async (name, spec = {}) => {
      await api.volumes.store.create({ metadata: { name }, spec: { ...volumeSpec, ...spec } });
    },
    volume: (name) => {
      const volume = api.volumes.rows.get(name);
      if (volume === undefined) throw new Error(`there is no volume ${name}`);
      return volume;
    },
    edit: async (name, spec) => void (await api.volumes.store.patch(name, { spec })),
    deleteVolume: async (name) => await api.volumes.store.delete(name),
    power: (machine, on) => {
      if (!on) {
        off.set(machine, nowMs);
        for (const key of [...arrays.keys()].filter((each) => each.endsWith(` ${machine}`))) arrays.delete(key);
      } else off.delete(machine);
    },
    settle,
    advance: async (ms) => {
      const endMs = nowMs + ms;
      await settle();
      while (nowMs < endMs) {
        const expiries = [...off.values()].map((seen) => seen + leaseMs).filter((each) => each > nowMs);
        nowMs = Math.min(endMs, dueMs > nowMs ? dueMs : nowMs + 25, ...expiries);
        await settle();
      }
    },
    acceptLoss: (name, replica) => void acknowledged.set(name, disks.get(diskOf(replica)) ?? 0),
    write: (name) => {
      const array = [...arrays.values()].find((each) => each.volume === name);
      if (array === undefined) return false;
      const next = (acknowledged.get(name) ?? 0) + 1;
      for (const leg of array.legs) if (reaches(array.node, leg, array.epoch)) disks.set(diskOf(leg), next);
      if (![...array.legs].every((leg) => reaches(array.node, leg, array.epoch))) return false;
      acknowledged.set(name, next);
      return true;
    },
    crashEvery: (writes) => {
      crashAfter = writes;
    },
    crashes: () => crashes,
    lag: (on) => {
      lagging = on;
    },
  };
}

const volumeSpec: ReplicatedVolume['spec'] = {
  capacityBytes: GIB,
  replicas: 2,
  placement: { constraints: [{ distinct: { label: 'zone' } }], goals: [] },
  healing: { replicaTimeout: '60s', legTimeout: '3s', ...DEFAULT_STALL_POLICY, paused: false },
  provisioning: 'Thin',
  attachTo: '',
};

/** A storage node that can be used. */
export function storageNode(name: string, labels: Record<string, string>): StorageNode {
  return {
    metadata: { name, uid: `node-${name}`, labels },
    spec: { addresses: [{ ip: '127.0.0.1', port: 4420 }], pools: [{ name: 'main' }], cordoned: false, draining: false },
    status: {
      pools: [{ name: 'main', capacityBytes: 10 * GIB, usedBytes: 0, provisionedBytes: 0 }],
      conditions: [
        { type: 'Ready', status: 'True', reason: 'Ready', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' },
      ],
    },
  };
}
