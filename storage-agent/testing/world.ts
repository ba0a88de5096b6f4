import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import {
  STORAGE_AGENT_FINALIZER,
  type ReplicatedVolume,
  type StorageNode,
  type StorageNodeStatus,
  type VolumeReplica,
  type VolumeReplicaStatus,
} from '../../lib/api/index.ts';
import type { ExecResult } from '../../lib/host/exec.ts';
import { createNvmet } from '../../lib/host/nvmet.ts';
import { silentLog } from '../../lib/log.ts';
import type { Ports, StorageApi } from '../ports.ts';
import { createReplicaLoop, type ReplicaLoop } from '../replica/reconcile.ts';
import { cacheVolumes } from '../volumes.ts';
import { Killer } from './crash.ts';
import { FakeStorage } from './fake-lvm.ts';
import { FakeTarget } from './fake-nvmet.ts';

export const REPLICA_UID = '11111111-2222-4333-8444-555555555555';
export const VOLUME_UID = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee';
export const HOST_A = 'nqn.2026-01.dev.holdfast:client:a';
export const HOST_B = 'nqn.2026-01.dev.holdfast:client:b';

export function storageNode(): StorageNode {
  return {
    metadata: { name: 's1', uid: 'sn-1', generation: 1 },
    spec: {
      addresses: [{ ip: '10.0.0.1', port: 4420 }],
      pools: [{ name: 'main', devices: ['/dev/vdb'] }],
      cordoned: false,
      draining: false,
    },
  };
}

export function volumeReplica(spec: Partial<VolumeReplica['spec']> = {}): VolumeReplica {
  return {
    metadata: { name: 'v-r0', uid: REPLICA_UID, finalizers: [STORAGE_AGENT_FINALIZER] },
    spec: {
      volume: 'v',
      volumeUid: VOLUME_UID,
      storageNode: 's1',
      pool: 'main',
      sizeBytes: 64 * 1024 * 1024,
      provisioning: 'Thin',
      state: 'Active',
      hostNqn: '',
      epoch: 0,
      drain: 0,
      lineage: 1,
      ...spec,
    },
  };
}

export function replicatedVolume(status: ReplicatedVolume['status']): ReplicatedVolume {
  return {
    metadata: { name: 'v', uid: VOLUME_UID },
    spec: {
      capacityBytes: 64 * 1024 * 1024,
      replicas: 2,
      placement: { constraints: [], goals: [] },
      healing: { replicaTimeout: '10m', legTimeout: '3s', ...DEFAULT_STALL_POLICY, paused: false },
      provisioning: 'Thin',
      attachTo: '',
    },
    ...(status === undefined ? {} : { status }),
  };
}

/** modprobe and mount have nothing to do in this world. */
function noCommands(): Promise<ExecResult> {
  return Promise.resolve({ code: 0, stdout: '', stderr: '' });
}

/** One storage node with its kernel, its disks and the API server, all in memory, and an agent that can be killed. */
export class FakeNode {
  readonly killer = new Killer();
  target: FakeTarget;
  storage: FakeStorage;
  bootId = '0b000001-0000-4000-8000-000000000000';
  nowMs = 1_000_000;
  node: StorageNode | undefined = storageNode();
  replica: VolumeReplica | undefined;
  volume: ReplicatedVolume | undefined;
  /** Called with each status before it is accepted, to check what must hold. */
  onStatus: (status: VolumeReplicaStatus) => void = () => undefined;
  nodeStatus: StorageNodeStatus | undefined;
  /** Controllers on their way out are gone after this many looks. */
  drainAfterSleeps = 3;
  /** What was asked of the API server and told it, in order. */
  readonly requests: string[] = [];
  private sleeps = 0;
  private readonly debugfs: boolean;

  constructor(options: { readonly debugfs?: boolean } = {}) {
    this.debugfs = options.debugfs ?? true;
    this.target = new FakeTarget(this.killer, { debugfs: this.debugfs });
    this.storage = new FakeStorage(this.killer, this.target);
    this.storage.disks.set('/dev/vdb', { state: 'empty', sizeBytes: 1024 ** 3 });
  }

  /** A pool as a former run has left it. */
  withPool(): this {
    this.storage.labels.set('/dev/vdb', { group: 'hf-main', inUse: true });
    this.storage.disks.set('/dev/vdb', { state: 'occupied', found: ['LVM2_member'] });
    this.storage.vgs.set('hf-main', { tags: ['holdfast', 'hf.pool=main'], totalExtents: 256 });
    const pool = { group: 'hf-main', name: 'holdfast-pool', sizeBytes: 240 * 4 * 1024 * 1024, pool: '' };
    const shape = { tags: ['holdfast'], layout: ['thin', 'pool'], devNo: '253:1000', mappedBytes: 0 };
    this.storage.lvs.set('hf-main/holdfast-pool', { ...pool, ...shape });
    return this;
  }

  /** The machine loses power and comes back: kernel state is gone, the disks stay. */
  reboot(): void {
    const { lvs, vgs, disks, labels, starts } = this.storage;
    this.target = new FakeTarget(this.killer, { debugfs: this.debugfs });
    this.storage = new FakeStorage(this.killer, this.target);
    for (const [key, value] of lvs) this.storage.lvs.set(key, value);
    for (const [key, value] of vgs) this.storage.vgs.set(key, value);
    for (const [key, value] of disks) this.storage.disks.set(key, value);
    for (const [key, value] of starts) this.storage.starts.set(key, value);
    for (const [key, value] of labels) this.storage.labels.set(key, value);
    this.storage.reboot();
    this.storage.lvs.get('hf-main/holdfast-pool')!.devNo = '253:2000';
    this.bootId = '0b000002-0000-4000-8000-000000000000';
  }

  /** Ports of an agent that starts now. */
  ports(): Ports {
    return {
      api: this.api(),
      lvm: this.storage,
      disks: this.storage,
      nvmet: createNvmet({ fs: this.target, exec: noCommands }),
      bootId: this.bootId,
      now: () => this.nowMs,
      sleep: (ms) => {
        this.nowMs += ms;
        if (++this.sleeps >= this.drainAfterSleeps) this.target.drain();
        return Promise.resolve();
      },
      log: silentLog,
    };
  }

  private api(): StorageApi {
    const replica = (): VolumeReplica | undefined => structuredClone(this.replica);
    return {
      cachedNode: () => this.node,
      cachedReplica: replica,
      cachedReplicas: () => [replica()].filter((each) => each !== undefined),
      readReplica: () => {
        this.requests.push('read replica');
        return Promise.resolve(replica());
      },
      readVolume: () => {
        this.requests.push('read volume');
        return Promise.resolve(structuredClone(this.volume));
      },
      writeReplicaStatus: (_, status) =>
        this.killer.effect('write status', () => {
          this.requests.push('write status');
          this.onStatus(status);
          if (this.replica !== undefined) this.replica.status = structuredClone(status);
        }),
      writeNodeStatus: (status) =>
        this.killer.effect('write node status', () => {
          this.nodeStatus = structuredClone(status);
        }),
      releaseReplica: (_, uid) =>
        this.killer.effect('release', () => {
          this.requests.push('release');
          if (this.replica?.metadata.uid === uid) this.replica = undefined;
        }),
    };
  }

  /** The loop of a freshly started agent. */
  start(): ReplicaLoop {
    const real = this.ports();
    const { lvm, volumes } = cacheVolumes(real.lvm, () => real.now());
    return createReplicaLoop({ ...real, lvm }, volumes);
  }

  /** One run of a freshly started agent's loop over the replica. @throws Killed when it is killed. */
  async run(): Promise<{ requeueAfterMs?: number }> {
    this.nowMs += 60_000;
    return await this.start().reconcile('v-r0');
  }

  /**
   * For each effect that `run` has from this world, and both before and after it: kills the agent there, starts it
   * again, and gives the world to `check` once it has settled. `make` builds a fresh world each time.
   */
  static async killEverywhere(make: () => Promise<FakeNode>, check: (node: FakeNode) => void): Promise<number> {
    const whole = await make();
    whole.killer.arm(Number.POSITIVE_INFINITY, 'before');
    await whole.run();
    check(whole);
    const count = whole.killer.effects.length;
    for (let index = 0; index < count; index++) {
      for (const when of ['before', 'after'] as const) {
        const node = await make();
        node.killer.arm(index, when);
        await node.run().then(
          () => {
            throw new Error(`effect ${index} of ${count} never happened`);
          },
          (error: unknown) => {
            // A dead program's own error handling may have changed the error.
            if (!node.killer.isDead) throw error;
          },
        );
        node.killer.disarm();
        await node.run();
        check(node);
      }
    }
    return count;
  }
}
