/** A whole world: an API server, machines with their kernels, and Holdfast's programs, each the real one over simulated ports. */
import type { AgentPorts } from '../../csi-driver/node/agent/ports.ts';
import { startAgent as startStorageAgent } from '../../storage-agent/agent.ts';
import { startClientAgent } from '../../csi-driver/node/agent/agent.ts';
import { kinds } from '../../lib/kube/client.ts';
import { runWithLeaderElection, startHeartbeat } from '../../lib/kube/lease.ts';
import type { Kube } from '../../lib/kube/kube.ts';
import type { Logger } from '../../lib/log.ts';
import { runVolumeController } from '../../operator/volume/controller.ts';
import type { ReplicatedVolume } from '../../operator/volume/model.ts';
import type { Operation } from '../history/history.ts';
import type { Admin } from './admin.ts';
import { startAdmin } from './admin.ts';
import type { ApiServer, Change } from './api.ts';
import { createApiServer } from './api.ts';
import type { ControllerDriver, NodeDriver } from './csi.ts';
import { startControllerDriver, startNodeDriver } from './csi.ts';
import { createClientKernel } from './kernel/client.ts';
import { createStorageKernel } from './kernel/storage.ts';
import type { ClientKernel, StorageKernel } from './kernel/types.ts';
import type { ApiHealth } from './kube.ts';
import { kubeFor } from './kube.ts';
import type { Laws } from './laws.ts';
import { createLaws } from './laws.ts';
import type { Mutation, Role } from './mutants/mutation.ts';
import type { Network } from './network.ts';
import { createNetwork } from './network.ts';
import type { Service } from './programs.ts';
import { createService } from './programs.ts';
import type { Dice } from './random.ts';
import { createDice } from './random.ts';
import type { Shape } from './schedule.ts';
import { agentOf, clientNames, CONTROL, CONTROLLER, OPERATOR, operatorNames, storageNames } from './schedule.ts';
import type { ProgramHandle, Scheduler } from './scheduler.ts';
import { createScheduler } from './scheduler.ts';
import { judgeSnapshot } from './snapshots.ts';
import type { User } from './user.ts';
import { startUser } from './user.ts';

export const VOLUME = 'pg';
const NAMESPACE = 'holdfast-system';
const WITNESS = 'holdfast-operator';
/** The simulated bitmaps have 48 chunks of 64 KiB at most. */
const MIB = 2 ** 20;
const CAPACITY_BYTES = 3 * MIB;
const BLOCK_BYTES = 4096;
const POOL_BYTES = 2 ** 30;
/** Two in one chunk of the bitmap, the others in chunks of their own: enough that some are not written for a while. */
const BLOCKS = [1, 2, 17, 40, 100, 180, 260, 340, 420, 500, 600, 700] as const;

export interface World {
  readonly scheduler: Scheduler;
  readonly api: ApiServer;
  readonly network: Network;
  readonly health: ApiHealth;
  readonly laws: Laws;
  readonly user: User;
  readonly admin: Admin;
  readonly storage: ReadonlyMap<string, StorageKernel>;
  readonly clients: ReadonlyMap<string, ClientKernel>;
  readonly services: ReadonlyMap<string, Service>;
  readonly history: readonly Operation[];
  volume(): ReplicatedVolume | undefined;
  /** Somebody wants the volume as large as it may get. */
  expand(): void;
  /** Somebody wants a snapshot of the volume. */
  snapshot(): void;
  /** Somebody changes the volume's spec. */
  change(spec: object): void;
  /** Sets a machine's wall clock. */
  setClock(machine: string, byMs: number): void;
  powerOff(machine: string): void;
  powerOn(machine: string): void;
}

/** Where the world tells what happens in it. */
export type Trace = (atMs: number, who: string, what: string) => void;

export interface WorldOptions {
  readonly trace?: Trace | undefined;
  /** A bug given to the programs, for a test of the simulation itself. */
  readonly mutation?: Mutation;
  /** Disks will return errors, so that a user may see one. */
  readonly diskErrors?: boolean;
  /** Default: from the seed. */
  readonly dice?: Dice;
  /** Blocks that are written, one after the other, instead of at random from many. The volume is no larger than it must be. */
  readonly blocksInTurn?: readonly number[];
}

export function createWorld(seed: number, shape: Shape, options: WorldOptions = {}): World {
  const { trace, mutation = {} } = options;
  const dice = options.dice ?? createDice(seed, 2);
  const blocks = options.blocksInTurn ?? BLOCKS;
  const smallest = Math.ceil(((Math.max(...blocks) + 1) * BLOCK_BYTES) / MIB) * MIB;
  const capacityBytes = options.blocksInTurn === undefined ? CAPACITY_BYTES : smallest;
  const scheduler = createScheduler(dice);
  const network = createNetwork(dice);
  const api = createApiServer(() => scheduler.now());
  const health: ApiHealth = { down: false, slowness: 1, watchLagMs: 0, lostAnswers: 0 };
  const history: Operation[] = [];
  /** By client, when its agent last had an answer to a change of a record. */
  const recordedMs = new Map<string, number>();
  const onAnswer = (program: string, label: string): void => {
    if (label.startsWith(`${program} patch ReplicatedVolume`)) recordedMs.set(program, scheduler.now());
  };
  const kubeWorld = { scheduler, api, network, health, onAnswer };
  const onArrayStart = (): void => laws.onArrayStart();
  const onFormat = (): void => laws.onFormat();
  const kernelWorld = { ...scheduler, fraction: () => dice.fraction(), network, onArrayStart, onFormat };

  const storage = new Map<string, StorageKernel>();
  for (const [index, machine] of storageNames(shape.storageNodes).entries()) {
    const ip = `10.0.0.${index + 1}`;
    const pool = { name: 'main', devices: ['/dev/vdb'], sizeBytes: POOL_BYTES };
    const kernel = createStorageKernel({
      machine,
      world: kernelWorld,
      pool,
      volatileCache: shape.volatileCache,
    });
    storage.set(machine, kernel);
    network.register(ip, kernel);
    api.nodes.create({
      metadata: { name: machine, labels: { zone: machine } },
      spec: {
        addresses: [{ ip, port: 4420 }],
        pools: [{ name: 'main', devices: ['/dev/vdb'] }],
        cordoned: false,
        draining: false,
      },
    });
  }
  const clients = new Map(
    clientNames(shape.clients).map((machine) => [machine, createClientKernel({ machine, world: kernelWorld })]),
  );

  const laws = createLaws({
    api,
    storage,
    nowMs: () => scheduler.now(),
    blocks,
    history,
    unrecordableMs: (client) => scheduler.now() - (recordedMs.get(agentOf(client)) ?? 0),
  });
  const isPlain = (): boolean =>
    !shape.volatileCache &&
    !laws.wasRestored() &&
    (shape.onControlPlaneLoss ?? 'Wait') === 'Wait' &&
    [...api.volumes.rows.values()].every(({ status }) => (status?.lineage ?? 1) === 1);
  api.onCommit = (change) => {
    laws.onCommit(change);
    const wrong = judgeSnapshot(change, { api, storage, blocks, history, isPlain });
    if (wrong !== undefined) laws.broken('a snapshot is of one instant', wrong);
    if (trace !== undefined) tellChange(change, (what) => trace(scheduler.now(), 'record', what));
  };

  const logOf = (program: string): Logger => {
    const say = (message: string, fields?: object): void =>
      trace?.(scheduler.now(), program, fields === undefined ? message : `${message} ${JSON.stringify(fields)}`);
    return { debug: () => undefined, info: say, warn: say, error: say };
  };
  const recorder = { event: () => undefined };

  const kubeOf = (handle: ProgramHandle, place: string, role: Role): Kube => {
    const kube = kubeFor(kubeWorld, handle, place);
    return mutation.kube?.(kube, role, { scheduler, program: handle }) ?? kube;
  };
  const killed = new Set<string>();
  const portsOf = (kernel: ClientKernel, handle: ProgramHandle): AgentPorts => {
    const ports = kernel.ports(handle);
    const kill = (pid: number): void => {
      killed.add(`${kernel.machine} ${pid}`);
      ports.users.kill(pid);
    };
    const watched = { ...ports, users: { ...ports.users, kill } };
    return mutation.clientPorts?.(watched) ?? watched;
  };
  const services = new Map<string, ReturnType<typeof createService>>();
  const add = (name: string, place: string, start: Parameters<typeof createService>[3]): void => {
    services.set(name, createService(scheduler, name, place, start));
  };
  for (const [machine, kernel] of storage) {
    add(agentOf(machine), machine, (handle) => {
      startStorageAgent({
        kube: kubeOf(handle, machine, 'storage-agent'),
        node: machine,
        namespace: NAMESPACE,
        leaseDurationMs: shape.leaseMs,
        version: 'sim',
        host: mutation.storageHost?.(kernel.host(handle)) ?? kernel.host(handle),
        log: logOf(handle.name),
        clock: scheduler.clockOf(handle),
        random: () => dice.fraction(),
      });
    });
  }
  const nodes = new Map<string, NodeDriver>();
  for (const [machine, kernel] of clients) {
    add(agentOf(machine), machine, (handle) => {
      const kube = kubeOf(handle, machine, 'client-agent');
      const driver = { scheduler, handle, kube, namespace: NAMESPACE, volume: VOLUME };
      nodes.set(machine, startNodeDriver({ ...driver, kernel, mode: shape.mode }));
      void startClientAgent({
        kube,
        node: machine,
        namespace: NAMESPACE,
        leaseDurationMs: shape.leaseMs,
        host: portsOf(kernel, handle),
        recorder,
        log: logOf(handle.name),
      });
    });
  }
  let controller: ControllerDriver | undefined;
  add(CONTROLLER, CONTROL, (handle) => {
    const kube = kubeFor(kubeWorld, handle, CONTROL);
    controller = startControllerDriver({ scheduler, handle, kube, namespace: NAMESPACE, volume: VOLUME });
  });
  for (const name of operatorNames(shape.operators)) {
    const place = name.replace(OPERATOR, CONTROL);
    let terms = 0;
    add(name, place, (handle) => {
      const kube = kubeOf(handle, place, 'operator');
      const clock = scheduler.clockOf(handle);
      const log = logOf(handle.name);
      const leases = kube.resource(kinds.leases, NAMESPACE);
      const random = (): number => dice.fraction();
      const work = (signal: AbortSignal): Promise<void> =>
        runVolumeController(
          {
            kube,
            namespace: NAMESPACE,
            witness: WITNESS,
            leaseDurationMs: shape.leaseMs,
            recorder,
            clock,
            random,
            settings: { creationPatienceMs: 5000, rejoinPatienceMs: 5000, retryMs: 5000 },
            log,
            concurrency: 2,
          },
          signal,
        );
      const renewMs = shape.leaseMs / 10;
      if (shape.operators === 1) {
        startHeartbeat({ leases, name: WITNESS, holder: name, durationMs: 3 * renewMs, log, clock });
        void work(new AbortController().signal);
        return;
      }
      const identity = `${name} run ${(terms += 1)}`;
      const times = { leaseDurationMs: 6 * renewMs, renewDeadlineMs: 4.5 * renewMs, retryPeriodMs: renewMs };
      runWithLeaderElection({ leases, name: WITNESS, identity, ...times, onStarted: work, log, clock, random });
    });
  }
  const machineOf = new Map([...services.values()].map((service) => [service.name, service.place]));
  scheduler.onTurn = (program, label) => {
    const service = services.get(program.name);
    const machine = machineOf.get(program.name) ?? '';
    if (storage.has(machine)) laws.onStorageEffect(machine, label);
    service?.onTurn(program);
  };

  api.volumes.create({
    metadata: { name: VOLUME },
    spec: {
      capacityBytes: shape.startBytes ?? capacityBytes,
      replicas: shape.replicas,
      placement: { constraints: [{ distinct: { label: 'zone' } }], goals: [] },
      healing: {
        replicaTimeout: shape.replicaTimeout,
        legTimeout: shape.legTimeout,
        onControlPlaneLoss: shape.onControlPlaneLoss ?? 'Wait',
        onSlowLeg: shape.onSlowLeg ?? 'Report',
        paused: false,
      },
      provisioning: 'Thin',
      attachTo: '',
    },
  });
  const user = startUser({
    scheduler,
    api,
    laws,
    clients,
    controller: () => controller,
    node: (client) => nodes.get(client),
    mode: shape.mode,
    volume: VOLUME,
    blocks,
    inTurn: options.blocksInTurn !== undefined,
    history,
    thinkMs: shape.thinkMs,
    flushOneIn: shape.flushOneIn ?? 0,
    wasKilled: (client, pid) => killed.has(`${client} ${pid}`),
    mayFail: options.diskErrors ?? false,
    say: (what) => trace?.(scheduler.now(), 'kubernetes', what),
  });

  const admin = startAdmin({
    scheduler,
    kubeOf: (handle) => kubeFor(kubeWorld, handle, CONTROL),
    namespace: NAMESPACE,
    volume: VOLUME,
    say: (what) => trace?.(scheduler.now(), 'admin', what),
    choose: (replicas) => dice.pick(replicas),
    onDecision: () => laws.onDecision(),
  });

  let taken = 0;
  const clocks = new Map<string, number>();
  const setClock = (name: string, byMs: number): void => {
    clocks.set(name, (clocks.get(name) ?? 0) + byMs);
    for (const each of services.values()) if (each.place === name) scheduler.setWall(each.name, clocks.get(name) ?? 0);
  };
  for (const [name, offMs] of Object.entries(shape.clocksOffMs ?? {})) setClock(name, offMs);

  const machine = (name: string): StorageKernel | ClientKernel => {
    const found = storage.get(name) ?? clients.get(name);
    if (found === undefined) throw new Error(`there is no machine ${name}`);
    return found;
  };
  return {
    scheduler,
    api,
    network,
    health,
    laws,
    user,
    admin,
    storage,
    clients,
    services,
    history,
    volume: () => api.volumes.rows.get(VOLUME),
    expand: () => void api.volumes.patch(VOLUME, { spec: { capacityBytes } }),
    snapshot: () => {
      const snapshots = api.table(kinds.replicatedSnapshots);
      snapshots.create({ metadata: { name: `snap-${(taken += 1)}` }, spec: { volume: VOLUME } });
    },
    setClock,
    change: (spec) => void api.volumes.patch(VOLUME, { spec }),
    powerOff: (name) => {
      if (!machine(name).on) return;
      services.get(agentOf(name))?.suspend();
      network.setOn(name, false);
      machine(name).powerOff();
      laws.onPowerLoss(name);
    },
    powerOn: (name) => {
      if (machine(name).on) return;
      machine(name).powerOn();
      network.setOn(name, true);
      services.get(agentOf(name))?.resume();
    },
  };
}

/** What people want to read of a change of the record. */
function tellChange({ kind, name, before, after }: Change, say: (what: string) => void): void {
  if (kind === 'ReplicatedVolume') {
    const pick = (volume: ReplicatedVolume | undefined): string => {
      const { attachment, inSync, outOfSync, replicas } = volume?.status ?? {};
      const out = Object.entries(outOfSync ?? {}).map(([replica, { epoch }]) => `${replica}@${epoch}`);
      const members = (replicas ?? []).map((each) => `${each.name}${each.role === 'Member' ? '' : '(leaving)'}`);
      return `attachTo=${volume?.spec.attachTo} attachment=${attachment?.node}@${attachment?.epoch} clean=${attachment?.clean} inSync=[${inSync?.join()}] outOfSync=[${out.join()}] replicas=[${members.join()}]`;
    };
    const text = pick(after as ReplicatedVolume | undefined);
    if (text !== pick(before as ReplicatedVolume | undefined)) say(after === undefined ? `${name} is gone` : text);
    return;
  }
  if (kind === 'VolumeReplica') {
    const pick = (object: Change['after']): string => {
      const { spec, status, metadata } = (object ?? {}) as Partial<
        import('../../operator/volume/model.ts').VolumeReplica
      >;
      return `${spec?.state} host=${spec?.hostNqn?.split(':').at(-1)} epoch=${spec?.epoch} phase=${status?.phase} fenced=${status?.fencedEpoch} deleting=${metadata?.deletionTimestamp !== undefined}`;
    };
    if (pick(before) !== pick(after)) say(`${name}: ${after === undefined ? 'gone' : pick(after)}`);
  }
  if (kind === 'VolumeConnection' && (before === undefined || after === undefined)) {
    say(`${name}: ${after === undefined ? 'gone' : 'made'}`);
  }
}
