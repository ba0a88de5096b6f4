import {
  formatBytes,
  type RecordStamp,
  type ReplicatedVolume,
  type ReplicatedVolumeStatus,
  type VolumeReplica,
  type VolumeReplicaSpec,
} from '../../lib/api/index.ts';
import type { DiskCopy, DiskVolume, Evidence } from './evidence.ts';

/** What is to be written for one volume, in this order; a run that breaks off is begun anew and comes to the same end. */
export interface VolumeRecovery {
  readonly volume: string;
  /** Of the object on which this was decided: one that has changed since is looked at anew. Undefined: there is none. */
  readonly resourceVersion: string | undefined;
  /** Undefined: the object is there. */
  readonly create:
    { readonly spec: Pick<ReplicatedVolume['spec'], 'capacityBytes' | 'replicas' | 'provisioning'> } | undefined;
  readonly status: Pick<
    ReplicatedVolumeStatus,
    'attachment' | 'inSync' | 'recordGeneration' | 'lineage' | 'replicas' | 'nextReplica'
  > & { readonly outOfSync: Readonly<Record<string, object | null>> };
  /** Objects that hold nothing and have the name of a replica that is taken over. */
  readonly remove: readonly { readonly name: string; readonly uid: string; readonly resourceVersion: string }[];
  /** Replicas that get an object, which takes their logical volume over. The volume's UID is put in when it is known. */
  readonly adopt: readonly { readonly name: string; readonly spec: Omit<VolumeReplicaSpec, 'volumeUid'> }[];
  /** Objects that are raised to the new epoch, with nobody let in. */
  readonly raise: readonly {
    readonly name: string;
    readonly uid: string;
    readonly epoch: number;
    readonly lineage: number;
  }[];
  readonly why: string;
  /** What a person has to accept: by that decision it is lost. */
  readonly lost: readonly string[];
  readonly warnings: readonly string[];
}

export interface Findings {
  readonly evidence: Evidence;
  readonly disks: DiskVolume;
  readonly mine: ReplicatedVolume | undefined;
  /** Of the object that bears the name, its own or not. */
  readonly resourceVersion: string | undefined;
  readonly best: RecordStamp;
  readonly inSync: readonly string[];
  readonly epoch: number;
  readonly now: Date;
  readonly why: string;
  readonly lost: readonly string[];
}

/** The highest epoch, record and lineage that anybody knows of: what comes next is above all of them. */
export function heights(
  { copies }: DiskVolume,
  api: RecordStamp | undefined,
): { readonly epoch: number; readonly generation: number; readonly lineage: number } {
  const stamps = [...copies.flatMap(({ record }) => record ?? []), ...(api === undefined ? [] : [api])];
  const all = [...stamps, ...copies, ...copies.flatMap(({ object }) => object?.spec ?? [])];
  return {
    epoch: Math.max(0, ...all.map(({ epoch }) => epoch)),
    generation: Math.max(0, ...stamps.map(({ generation }) => generation)),
    lineage: Math.max(1, ...all.map(({ lineage }) => lineage)),
  };
}

/** Objects in the way of replicas that are to be taken over under the same name. */
export function inTheWay({ replicas }: Evidence, copies: readonly DiskCopy[]): VolumeReplica[] {
  return copies.flatMap(({ name, object, uids }) =>
    object === undefined
      ? replicas.filter((each) => each.metadata.name === name && each.spec.adopt?.replicaUid !== uids.replicaUid)
      : [],
  );
}

/** Writes nothing: says what is to be written so that the record is `best`, with those in sync and nobody let in. */
export function build(findings: Findings): VolumeRecovery {
  const { evidence, disks, mine, resourceVersion, best, inSync, epoch, now, why, lost } = findings;
  const { copies } = disks;
  const before = mine?.status ?? {};
  const stale = (before.replicas ?? []).filter(({ name }) => !copies.some((copy) => copy.name === name));
  const at = now.toISOString();
  const replicas = [
    ...stale,
    ...copies.map((copy) => ({
      name: copy.name,
      storageNode: copy.node,
      pool: copy.pool,
      role: before.replicas?.find(({ name }) => name === copy.name)?.role ?? ('Member' as const),
    })),
  ].map((entry) => (inSync.includes(entry.name) ? { ...entry, role: 'Member' as const } : entry));
  const others = replicas.filter(({ name }) => !inSync.includes(name)).map(({ name }) => name);
  const left = { epoch, at, reason: 'it was not in sync when the volume was recovered', bootId: null, nqn: null };
  const capacityBytes = Math.max(...copies.map(({ sizeBytes }) => sizeBytes));
  const provisioning = copies.every((copy) => copy.provisioning === 'Thick') ? 'Thick' : 'Thin';
  return {
    volume: disks.name,
    resourceVersion,
    create:
      mine === undefined
        ? { spec: { capacityBytes, replicas: Math.min(8, Math.max(1, copies.length)), provisioning } }
        : undefined,
    status: {
      attachment: { node: '', hostNqn: '', epoch, clean: false },
      inSync: [...inSync].sort(),
      recordGeneration: Math.max(best.generation, before.recordGeneration ?? 0) + 1,
      lineage: best.lineage,
      replicas,
      nextReplica: Math.max(before.nextReplica ?? 0, nextOrdinal(replicas.map(({ name }) => name))),
      outOfSync: {
        ...Object.fromEntries(inSync.map((name) => [name, null])),
        ...Object.fromEntries(others.map((name) => [name, left])),
      },
    },
    remove: inTheWay(evidence, copies).map(({ metadata: { name, uid = '', resourceVersion = '' } }) => ({
      name,
      uid,
      resourceVersion,
    })),
    adopt: copies.flatMap((copy) =>
      copy.object === undefined ? [{ name: copy.name, spec: adoption(copy, disks.name, epoch, best, inSync) }] : [],
    ),
    raise: copies.flatMap(({ name, object, lineage }) =>
      object === undefined
        ? []
        : [
            {
              name,
              uid: object.metadata.uid ?? '',
              epoch,
              lineage: inSync.includes(name) ? best.lineage : Math.max(lineage, object.spec.lineage),
            },
          ],
    ),
    why,
    lost,
    warnings: [
      ...(mine === undefined
        ? [
            `its placement, healing and stall policies are not on the disks: set them on the new object (${formatBytes(capacityBytes)})`,
          ]
        : []),
      ...(evidence.silent.length > 0
        ? [
            `not heard of: storage node ${evidence.silent.join(', ')}; a replica there that knows a later record would be rolled back`,
          ]
        : []),
    ],
  };
}

/** The number after the highest in names such as pg-r4. */
export function nextOrdinal(names: readonly string[]): number {
  return Math.max(0, ...names.map((name) => Number(/-r(\d+)$/.exec(name)?.[1] ?? -1) + 1));
}

function adoption(
  copy: DiskCopy,
  volume: string,
  epoch: number,
  best: RecordStamp,
  inSync: readonly string[],
): Omit<VolumeReplicaSpec, 'volumeUid'> {
  return {
    volume,
    storageNode: copy.node,
    pool: copy.pool,
    sizeBytes: copy.sizeBytes,
    provisioning: copy.provisioning,
    state: 'Active',
    hostNqn: '',
    epoch,
    drain: 0,
    lineage: inSync.includes(copy.name) ? best.lineage : copy.lineage,
    adopt: copy.uids,
  };
}
