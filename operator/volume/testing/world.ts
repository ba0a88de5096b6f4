/** Builds worlds for the tests of single rules. */
import { DEFAULT_STALL_POLICY } from '../../../lib/api/policy.ts';
import { hostNqn } from '../../../lib/api/names.ts';
import type { CandidateNode } from '../../placement/request.ts';
import type { Facts } from '../facts.ts';
import { factsOf } from '../facts.ts';
import type {
  Attachment,
  ConnectionLeg,
  LegStatus,
  ReplicaRecord,
  ReplicatedVolume,
  VolumeConnection,
  VolumeReplica,
  VolumeStatus,
} from '../model.ts';
import type { Liveness, Settings, World } from '../world.ts';
import { defaultSettings } from '../world.ts';

export const nowMs = Date.parse('2026-01-01T12:00:00Z');

/** The time that long ago. */
export function ago(ms: number): string {
  return new Date(nowMs - ms).toISOString();
}

export interface ReplicaSketch {
  /** Default s1, s2, ... */
  readonly node?: string;
  readonly role?: ReplicaRecord['role'];
  readonly sinceMs?: number;
  /** False: no object. */
  readonly object?: boolean;
  readonly spec?: Partial<VolumeReplica['spec']>;
  readonly status?: Partial<NonNullable<VolumeReplica['status']>>;
  readonly deleted?: boolean;
  /** What the client says about its leg. */
  readonly leg?: LegStatus['state'];
}

export interface WorldSketch {
  readonly spec?: Partial<Omit<ReplicatedVolume['spec'], 'healing'>> & {
    healing?: Partial<ReplicatedVolume['spec']['healing']>;
  };
  readonly metadata?: Partial<ReplicatedVolume['metadata']>;
  readonly status?: Partial<VolumeStatus>;
  /** r0, r1, ...: the record and the objects. Default: two in-sync members. */
  readonly replicas?: readonly ReplicaSketch[];
  readonly inSync?: readonly string[];
  readonly attachment?: Partial<Attachment> | null;
  /** The client's connection; default: there is one when the volume is attached. */
  readonly connection?: Partial<VolumeConnection> | null;
  readonly moreConnections?: readonly VolumeConnection[];
  readonly moreReplicas?: readonly VolumeReplica[];
  /** Storage nodes and clients whose lease is stale, and since when. */
  readonly dead?: Readonly<Record<string, number>>;
  /** Default: s1 to s4 in zones a to d. */
  readonly candidates?: readonly CandidateNode[];
  readonly settings?: Partial<Settings>;
  /** How long the Attached condition has been True; default an hour. */
  readonly connectedForMs?: number;
}

/** A volume named v with two replicas r0 on s1 and r1 on s2, detached, unless the sketch says otherwise. */
export function world(sketch: WorldSketch = {}): World {
  const sketches = sketch.replicas ?? [{}, {}];
  const attachment: Attachment | undefined =
    sketch.attachment === null
      ? undefined
      : {
          node: '',
          epoch: 0,
          clean: true,
          ...sketch.attachment,
          hostNqn: (sketch.attachment?.node ?? '') === '' ? '' : hostNqn(sketch.attachment?.node ?? ''),
        };
  const attachedTo = attachment?.node ?? '';
  const epoch = attachment?.epoch ?? 0;
  const { healing, ...spec } = sketch.spec ?? {};
  const names = sketches.map((_, i) => `v-r${i}`);
  const volume: ReplicatedVolume = {
    metadata: {
      name: 'v',
      uid: 'uid-v',
      resourceVersion: '1',
      generation: 1,
      finalizers: ['holdfast.dev/operator'],
      ...sketch.metadata,
    },
    spec: {
      capacityBytes: 2 ** 30,
      replicas: 2,
      placement: { constraints: [{ distinct: { label: 'zone' } }], goals: [] },
      provisioning: 'Thin',
      attachTo: attachedTo,
      ...spec,
      healing: { replicaTimeout: '10m', legTimeout: '3s', ...DEFAULT_STALL_POLICY, paused: false, ...healing },
    },
    status: {
      ...(attachment === undefined ? {} : { attachment, inSync: [...(sketch.inSync ?? names)] }),
      ...(sketches.length === 0 ? {} : { nextReplica: sketches.length }),
      replicas: sketches.map((replica, i) => ({
        name: `v-r${i}`,
        storageNode: replica.node ?? `s${i + 1}`,
        pool: 'main',
        role: replica.role ?? 'Member',
        since: ago(replica.sinceMs ?? 86_400_000),
      })),
      conditions: [
        {
          type: 'Attached',
          status: attachedTo === '' ? 'False' : 'True',
          reason: 'x',
          message: '',
          lastTransitionTime: ago(sketch.connectedForMs ?? 3_600_000),
        },
      ],
      ...sketch.status,
    },
  };
  const objects = sketches.flatMap((replica, i) =>
    replica.object === false ? [] : [replicaObject(replica, i, epoch, attachedTo)],
  );
  const legs = objects.filter((_, i) => sketches[i]?.role !== 'Leaving').map(legOf);
  const connection: VolumeConnection | undefined =
    sketch.connection === null || attachedTo === ''
      ? undefined
      : {
          ...connectionObject(attachedTo, epoch, legs),
          status: {
            phase: 'Connected',
            epoch,
            devicePath: '/dev/holdfast/v',
            legs: sketches.map(({ leg = 'InSync' }, i) => ({ replica: `v-r${i}`, state: leg })),
          },
          ...sketch.connection,
        };
  const dead = sketch.dead ?? {};
  const live = (node: string): Liveness => {
    const lastSeenMs = dead[node];
    return lastSeenMs === undefined ? { alive: true, lastSeenMs: nowMs } : { alive: false, lastSeenMs };
  };
  const candidates =
    sketch.candidates ?? ['a', 'b', 'c', 'd'].map((zone, i) => candidate(`s${i + 1}`, zone, live(`s${i + 1}`).alive));
  const nodes = new Set([...sketches.map((replica, i) => replica.node ?? `s${i + 1}`), 's1', 's2', 's3', 's4']);
  return {
    volume,
    replicas: [...objects, ...(sketch.moreReplicas ?? [])],
    connections: [...(connection === undefined ? [] : [connection]), ...(sketch.moreConnections ?? [])],
    candidates: () => candidates,
    storageAgents: new Map([...nodes].map((node) => [node, live(node)])),
    clients: new Map(['c1', 'c2'].map((node) => [node, live(node)])),
    settings: { ...defaultSettings, ...sketch.settings },
  };
}

export function facts(sketch: WorldSketch = {}): Facts {
  return factsOf(world(sketch), nowMs);
}

export function candidate(name: string, zone: string, alive = true): CandidateNode {
  const pools = [{ name: 'main', capacityBytes: 2 ** 34, usedBytes: 0, provisionedBytes: 0 }];
  return { name, labels: { zone }, cordoned: false, draining: false, alive, pools, replicaCount: 0 };
}

function replicaObject(sketch: ReplicaSketch, i: number, epoch: number, client: string): VolumeReplica {
  const spec: VolumeReplica['spec'] = {
    volume: 'v',
    volumeUid: 'uid-v',
    storageNode: sketch.node ?? `s${i + 1}`,
    pool: 'main',
    sizeBytes: 2 ** 30,
    provisioning: 'Thin',
    state: 'Active',
    hostNqn: client === '' ? '' : hostNqn(client),
    epoch,
    drain: 0,
    lineage: 1,
    ...sketch.spec,
  };
  return {
    metadata: {
      name: `v-r${i}`,
      uid: `uid-r${i}`,
      finalizers: ['holdfast.dev/storage-agent'],
      ...(sketch.deleted === true ? { deletionTimestamp: ago(0) } : {}),
    },
    spec,
    status: {
      phase: 'Ready',
      nqn: `nqn:r${i}`,
      address: `10.0.0.${i + 1}`,
      port: 4420,
      fencedEpoch: spec.epoch,
      ...sketch.status,
    },
  };
}

export function legOf({ metadata, status }: VolumeReplica): ConnectionLeg {
  const { nqn = '', address = '', port = 0 } = status ?? {};
  return { replica: metadata.name, uid: metadata.uid ?? '', nqn, address, port };
}

export function connectionObject(
  node: string,
  epoch: number,
  legs: ConnectionLeg[] = [],
  deleted = false,
): VolumeConnection {
  return {
    metadata: {
      name: `v.${node}`,
      uid: `uid-v.${node}`,
      finalizers: ['holdfast.dev/client-agent'],
      ...(deleted ? { deletionTimestamp: ago(0) } : {}),
    },
    spec: {
      volume: 'v',
      volumeUid: 'uid-v',
      node,
      epoch,
      sizeBytes: 2 ** 30,
      legTimeout: '3s',
      ...DEFAULT_STALL_POLICY,
      raidDisks: 2,
      legs,
    },
  };
}
