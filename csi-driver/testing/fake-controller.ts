import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import type { ReplicatedSnapshot, ReplicatedVolume, VolumeConnection } from '../../lib/api/index.ts';
import type { KubeObject } from '../../lib/api/meta.ts';
import type { KubeNode, Lease } from '../../lib/kube/client.ts';
import type { CandidateNode } from '../../operator/placement/request.ts';
import { createChanges, type Changes } from '../changes.ts';
import type { ControllerDeps } from '../controller/deps.ts';
import { snapshotKey } from '../controller/snapshot.ts';
import { VolumeCapability, VolumeCapability_AccessMode_Mode as Mode } from '../generated/csi.ts';
import type { CallContext } from '../grpc/handlers.ts';
import { fakeResource, type FakeResource } from './fake-resource.ts';

/** The controller service's surroundings, and a pretended operator that answers what a test tells it to. */
export interface FakeCluster extends ControllerDeps {
  readonly volumes: FakeResource<ReplicatedVolume>;
  readonly snapshots: FakeResource<ReplicatedSnapshot>;
  readonly connections: FakeResource<VolumeConnection>;
  readonly leases: FakeResource<Lease>;
  readonly nodes: FakeResource<KubeNode>;
  /** The claims of every namespace. */
  readonly allClaims: FakeResource<KubeObject>;
  candidates: () => readonly CandidateNode[];
  readonly changes: Changes;
  /** Changes a volume's status as the operator would. */
  setStatus(name: string, status: NonNullable<ReplicatedVolume['status']>): void;
}

/** @param react told of every volume that was written or removed: the place for a pretended operator */
export function fakeCluster(react: (volume: ReplicatedVolume) => void = () => undefined): FakeCluster {
  const changes = createChanges();
  const volumes = fakeResource<ReplicatedVolume>((volume) => {
    changes.notify(volume.metadata.name);
    react(volume);
  }, withDefaults);
  const connections = fakeResource<VolumeConnection>(({ spec }) => changes.notify(spec.volume));
  const leases = fakeResource<Lease>();
  const allClaims = fakeResource<KubeObject>();
  const snapshots = fakeResource<ReplicatedSnapshot>(({ metadata: { name } }) => {
    changes.notify(snapshotKey(name));
    queueMicrotask(() => takeSnapshot(name));
  });

  /** The operator: a snapshot is taken at once, those of a group as soon as all are there. */
  function takeSnapshot(name: string): void {
    const snapshot = snapshots.peek(name);
    const { volume, group } = snapshot?.spec ?? { volume: '' };
    if (snapshot === undefined || snapshot.status !== undefined) return;
    const all =
      group === undefined ? [snapshot] : snapshots.all().filter(({ spec }) => spec.group?.name === group.name);
    if (group !== undefined && all.length < group.volumes.length) return;
    for (const each of all) {
      const sizeBytes = volumes.peek(each.spec.volume)?.spec.capacityBytes;
      if (sizeBytes === undefined) throw new Error(`no volume ${volume}`);
      snapshots.put({ ...each, status: { phase: 'Ready', sizeBytes, takenAt: new Date().toISOString() } });
    }
  }

  return {
    snapshots,
    cachedSnapshots: () => snapshots.all(),
    volumes,
    cachedVolumes: () => volumes.all(),
    cachedVolume: (name) => volumes.peek(name),
    connections,
    leases,
    nodes: fakeResource<KubeNode>(),
    allClaims,
    claims: () => allClaims,
    candidates: () => storageNodes,
    changes,
    setStatus(name, status) {
      const volume = volumes.peek(name);
      if (volume === undefined) throw new Error(`no volume ${name}`);
      volumes.put({ ...volume, status: { ...volume.status, ...status } });
    },
  };
}

/** Three storage nodes with 100 GiB each. */
const storageNodes: readonly CandidateNode[] = ['a', 'b', 'c'].map((zone) => ({
  name: `storage-${zone}`,
  labels: { zone, 'kubernetes.io/hostname': `storage-${zone}` },
  cordoned: false,
  draining: false,
  alive: true,
  pools: [{ name: 'pool', capacityBytes: 100 * 2 ** 30, usedBytes: 0, provisionedBytes: 0 }],
  replicaCount: 0,
}));

/** What the CRD's defaults would add. */
function withDefaults(volume: ReplicatedVolume): ReplicatedVolume {
  const { spec } = volume;
  const defaults: ReplicatedVolume['spec']['healing'] = {
    replicaTimeout: '10m',
    legTimeout: '3s',
    ...DEFAULT_STALL_POLICY,
    paused: false,
  };
  return {
    ...volume,
    spec: {
      ...spec,
      replicas: spec.replicas ?? 2,
      placement: spec.placement ?? { constraints: [], goals: [] },
      healing: Object.assign(defaults, spec.healing),
      provisioning: spec.provisioning ?? 'Thin',
      attachTo: spec.attachTo ?? '',
    },
  };
}

/** A call that may wait for `ms`. */
export function callContext(ms = 2000): CallContext & { cancel(): void } {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    deadlineMs: Date.now() + ms,
    cancel: () => controller.abort(new Error('the caller has gone')),
  };
}

/** A capability to mount the volume on one node. */
export function mountCapability(fsType = 'ext4', mode: Mode = Mode.SINGLE_NODE_WRITER): VolumeCapability {
  return VolumeCapability.fromPartial({
    accessType: { $case: 'mount', value: { fsType } },
    accessMode: { mode },
  });
}

/** A capability to use the volume as a raw device. */
export function blockCapability(mode: Mode = Mode.SINGLE_NODE_WRITER): VolumeCapability {
  return VolumeCapability.fromPartial({ accessType: { $case: 'block', value: {} }, accessMode: { mode } });
}
