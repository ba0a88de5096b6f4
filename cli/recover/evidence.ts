import {
  stampOf,
  type RecordStamp,
  type ReplicatedVolume,
  type StorageNode,
  type VolumeReplica,
} from '../../lib/api/index.ts';

/** Everything that `recover` decides on, read at one moment. */
export interface Evidence {
  readonly volumes: readonly ReplicatedVolume[];
  readonly replicas: readonly VolumeReplica[];
  readonly nodes: readonly StorageNode[];
  /** Storage nodes whose agents have not been heard of lately: what is on their disks is not known now. */
  readonly silent: readonly string[];
}

/** One replica on a disk. */
export interface DiskCopy {
  /** Its name in the volume. */
  readonly name: string;
  readonly node: string;
  readonly pool: string;
  readonly sizeBytes: number;
  readonly provisioning: 'Thin' | 'Thick';
  readonly lineage: number;
  readonly epoch: number;
  /** The host that had it under that epoch; undefined: none, or not known. */
  readonly host: string | undefined;
  readonly record: RecordStamp | undefined;
  /** Its header has been read, and there is none: no client has ever started the volume from it. */
  readonly blank: boolean;
  /** It was made from a copy of a snapshot, and never was empty. */
  readonly beganWithCopy: boolean;
  /** The object that it has; undefined for one that is to be taken over. */
  readonly object: VolumeReplica | undefined;
  /** UIDs by which its logical volume is known. */
  readonly uids: { readonly replicaUid: string; readonly volumeUid: string };
}

/** The copies of one volume, by the UID that the disks know it by. */
export interface DiskVolume {
  readonly name: string;
  readonly uid: string;
  readonly copies: readonly DiskCopy[];
}

type Disk = NonNullable<NonNullable<VolumeReplica['status']>['disk']>;

/** Sorts what the storage nodes have told by volume. */
export function diskVolumes({ replicas, nodes }: Evidence): DiskVolume[] {
  const found = new Map<string, { name: string; copies: DiskCopy[] }>();
  const add = (uid: string, name: string, copy: DiskCopy): void => {
    const entry = found.get(uid) ?? { name, copies: [] };
    entry.copies.push(copy);
    found.set(uid, entry);
  };
  for (const object of replicas) {
    const { metadata, spec, status } = object;
    if (spec.state === 'Orphan') continue;
    // Without a word from its agent nothing is known of its disk, unless it was made to take one over.
    const disk = status?.disk ?? (spec.adopt === undefined ? undefined : { lineage: spec.lineage, epoch: spec.epoch });
    if (disk === undefined) continue;
    const { lineage, epoch, host, record, blank = false }: Disk = disk;
    const { storageNode: node, pool, sizeBytes, provisioning } = spec;
    const uids = { replicaUid: metadata.uid ?? '', volumeUid: spec.volumeUid };
    const place = { name: metadata.name, node, pool, sizeBytes, provisioning };
    const beganWithCopy = spec.source !== undefined;
    add(spec.volumeUid, spec.volume, { ...place, lineage, epoch, host, record, blank, beganWithCopy, object, uids });
  }
  for (const node of nodes) {
    for (const each of node.status?.unknownReplicas ?? []) {
      const {
        volume,
        replica,
        pool,
        sizeBytes,
        volumeUid,
        replicaUid,
        lineage,
        epoch,
        host,
        record,
        blank = false,
        beganWithCopy = false,
      } = each;
      // What says too little of itself can't be told apart from other things: it stays as it is.
      if (each.erased === true || !volume || !replica || !pool || sizeBytes === undefined) continue;
      const taken = replicas.find(({ spec }) => spec.adopt?.replicaUid === replicaUid);
      if (taken !== undefined) continue;
      // A volume that was recovered in part has a new UID already.
      const former = replicas.find(({ spec }) => spec.adopt?.volumeUid === volumeUid)?.spec.volumeUid;
      const place = { name: replica, node: node.metadata.name, pool, sizeBytes };
      const provisioning = each.provisioning ?? 'Thin';
      const uids = { replicaUid, volumeUid };
      const known = { lineage, epoch, host, record, blank, beganWithCopy };
      add(former ?? volumeUid, volume, { ...place, provisioning, ...known, object: undefined, uids });
    }
  }
  return [...found]
    .map(([uid, { name, copies }]) => ({ name, uid, copies }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The record that was written last, of those given. */
export function latest(stamps: readonly RecordStamp[]): RecordStamp | undefined {
  return stamps.toSorted((a, b) => b.lineage - a.lineage || b.generation - a.generation || b.epoch - a.epoch)[0];
}

/** The record that the API server has of a volume, if it has one. */
export function recordOfApi(volume: ReplicatedVolume | undefined): RecordStamp | undefined {
  return volume?.status?.attachment === undefined ? undefined : stampOf(volume.status);
}
