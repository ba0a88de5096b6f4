import {
  describeStamp,
  formatBytes,
  RECOVERING_ANNOTATION,
  standingOf,
  type RecordStamp,
  type ReplicatedVolume,
  type ReplicatedVolumeStatus,
  type VolumeReplicaSpec,
} from '../../lib/api/index.ts';
import { diskVolumes, latest, recordOfApi, type DiskCopy, type DiskVolume, type Evidence } from './evidence.ts';

/** What is to be written for one volume, in this order; a run that breaks off is begun anew and comes to the same end. */
export interface VolumeRecovery {
  readonly volume: string;
  /** Undefined: the object is there. */
  readonly create:
    { readonly spec: Pick<ReplicatedVolume['spec'], 'capacityBytes' | 'replicas' | 'provisioning'> } | undefined;
  readonly status: Pick<
    ReplicatedVolumeStatus,
    'attachment' | 'inSync' | 'recordGeneration' | 'lineage' | 'replicas' | 'nextReplica'
  > & { readonly outOfSync: Readonly<Record<string, object | null>> };
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
  readonly warnings: readonly string[];
}

export type Outcome =
  | { readonly kind: 'recover'; readonly recovery: VolumeRecovery }
  | { readonly kind: 'refused'; readonly volume: string; readonly why: string };

export interface RecoverOptions {
  /** Only this volume. */
  readonly volume?: string | undefined;
  /** Replicas that a person knows to be lost for good. */
  readonly without: readonly string[];
  readonly now: Date;
}

/**
 * What has to be written so that the API server knows of each volume what the disks know. Pure. A volume on which they
 * agree is left alone.
 */
export function planRecovery(evidence: Evidence, options: RecoverOptions): Outcome[] {
  return diskVolumes(evidence)
    .filter(({ name }) => options.volume === undefined || name === options.volume)
    .flatMap((disks) => recoverVolume(evidence, disks, options) ?? []);
}

function recoverVolume(evidence: Evidence, disks: DiskVolume, options: RecoverOptions): Outcome | undefined {
  const refused = (why: string): Outcome => ({ kind: 'refused', volume: disks.name, why });
  const object = evidence.volumes.find(({ metadata }) => metadata.name === disks.name);
  // A volume that an earlier run has begun to build has a UID that the disks don't know yet.
  const isBegun = object?.metadata.annotations?.[RECOVERING_ANNOTATION] !== undefined;
  const mine = object?.metadata.uid === disks.uid || isBegun ? object : undefined;
  const api = recordOfApi(mine);
  const records = disks.copies.flatMap(({ record }) => record ?? []);
  const best = latest([...records, ...(api === undefined ? [] : [api])]) ?? untouched(disks);
  const epochs = [...disks.copies.map(({ epoch }) => epoch), ...records.map(({ epoch }) => epoch)];
  const maxEpoch = Math.max(...epochs, api?.epoch ?? 0, ...disks.copies.map((copy) => copy.object?.spec.epoch ?? 0));
  const unknown = disks.copies.filter((copy) => copy.object === undefined);
  const isBehind =
    api === undefined ||
    records.some((record) => ['ahead', 'diverged'].includes(standingOf(record, api))) ||
    disks.copies.some(
      ({ object: each, epoch, lineage }) => each && (epoch > each.spec.epoch || lineage > each.spec.lineage),
    );
  // Copies that the last record does not count on are no reason to touch a volume.
  if (!isBehind && !unknown.some(({ name }) => best?.inSync.includes(name) === true)) return undefined;
  if (mine === undefined && object !== undefined && recordOfApi(object) !== undefined) {
    return refused(
      `another volume of this name is in use (UID ${object.metadata.uid}); the disks belong to ${disks.uid}`,
    );
  }
  if (mine === undefined && disks.copies.some((copy) => copy.object !== undefined)) {
    return refused(
      'it has VolumeReplica objects but no ReplicatedVolume; they are being erased, restore the ReplicatedVolume',
    );
  }
  if (best === undefined) {
    return refused(
      'it was in use, and no disk that can be seen carries its record; bring the other storage nodes back',
    );
  }
  const doubled = disks.copies.filter((a) => disks.copies.some((b) => a !== b && a.name === b.name));
  if (doubled.length > 0) {
    return refused(
      `two replicas have the same name: ${doubled.map(({ name, node }) => `${name} on ${node}`).join(', ')}`,
    );
  }
  // Made anew by an API server that had forgotten the first: it can't take over what is on the disk under its own name.
  const taken = disks.copies.filter(
    ({ name, object: own, uids }) =>
      own === undefined &&
      evidence.replicas.some(
        ({ metadata, spec }) => metadata.name === name && spec.adopt?.replicaUid !== uids.replicaUid,
      ),
  );
  if (taken.length > 0) {
    const names = taken.map(({ name }) => name).join(', ');
    return refused(
      `there is a VolumeReplica ${names} that holds nothing, in the place of the one on the disk. Remove the object and try again: kubectl delete volumereplica ${names} --wait=false, then kubectl patch volumereplica ${names} --type merge -p '{"metadata":{"finalizers":null}}'`,
    );
  }
  const rivals = [...records, ...(api === undefined ? [] : [api])].filter(
    (stamp) => standingOf(stamp, best) === 'diverged' || standingOf(best, stamp) === 'diverged',
  );
  if (rivals[0] !== undefined) {
    return refused(`two histories contradict each other: ${describeStamp(best)}, and ${describeStamp(rivals[0])}`);
  }
  const unseen = best.inSync.filter((name) => !disks.copies.some((copy) => copy.name === name));
  const unexplained = unseen.filter((name) => !options.without.includes(name));
  if (unexplained.length > 0) {
    const names = unexplained.join(', ');
    return refused(
      `the last record that was found is ${describeStamp(best)}, and ${names} is on no disk that can be seen: it may hold later writes. Bring its storage node back, or say that it is lost for good: --without ${names}`,
    );
  }
  const inSync = best.inSync.filter((name) => !unseen.includes(name));
  if (inSync.length === 0) return refused('no replica of the last in-sync set is left');
  const recovery = build({ evidence, disks, mine, best, inSync, epoch: maxEpoch + 1, now: options.now });
  return { kind: 'recover', recovery };
}

/** A volume that was never handed out: its replicas are empty, and so alike. */
function untouched({ copies }: DiskVolume): RecordStamp | undefined {
  if (copies.some(({ epoch, lineage }) => epoch > 0 || lineage > 1)) return undefined;
  return { lineage: 1, epoch: 0, generation: 1, inSync: copies.map(({ name }) => name) };
}

interface Findings {
  readonly evidence: Evidence;
  readonly disks: DiskVolume;
  readonly mine: ReplicatedVolume | undefined;
  readonly best: RecordStamp;
  readonly inSync: readonly string[];
  readonly epoch: number;
  readonly now: Date;
}

function build({ evidence, disks, mine, best, inSync, epoch, now }: Findings): VolumeRecovery {
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
  const ordinals = replicas.map(({ name }) => Number(/-r(\d+)$/.exec(name)?.[1] ?? -1));
  const capacityBytes = Math.max(...copies.map(({ sizeBytes }) => sizeBytes));
  const provisioning = copies.every((copy) => copy.provisioning === 'Thick') ? 'Thick' : 'Thin';
  return {
    volume: disks.name,
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
      nextReplica: Math.max(before.nextReplica ?? 0, ...ordinals.map((ordinal) => ordinal + 1)),
      outOfSync: {
        ...Object.fromEntries(inSync.map((name) => [name, null])),
        ...Object.fromEntries(others.map((name) => [name, left])),
      },
    },
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
    why: `the disks know ${describeStamp(best)}`,
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
