import { RECOVERING_ANNOTATION } from '../../lib/api/names.ts';
import type { SnapshotReplica, VolumeReplica } from '../../lib/api/index.ts';
import { conflictOf, isConnected } from '../volume/facts.ts';
import type { Member, SnapshotSet, Untouched } from './world.ts';

/** How the content of a volume can be had now. */
export type Subject =
  /** It never will. */
  | { readonly kind: 'gone'; readonly why: string }
  | { readonly kind: 'waits'; readonly why: string }
  /** A client has it: its writes are to be held meanwhile. */
  | { readonly kind: 'attached'; readonly node: string }
  /** Nobody has it, so its in-sync replicas stay as they are: equal, or (after a crash) each a content of its own. */
  | { readonly kind: 'detached'; readonly untouched: Omit<Untouched, 'replicas'> };

export function subjectOf({ snapshot, volume, replicas, connection }: Member, set: SnapshotSet): Subject {
  const wanted = snapshot.status?.volumeUid ?? snapshot.spec.volumeUid;
  const { volume: name } = snapshot.spec;
  if (volume === undefined) return { kind: 'gone', why: `there is no volume ${name}` };
  const { uid = '', annotations, deletionTimestamp } = volume.metadata;
  if (wanted !== undefined && uid !== wanted) return { kind: 'gone', why: `volume ${name} is another one by now` };
  const { attachment, lineage = 1 } = volume.status ?? {};
  if (deletionTimestamp !== undefined && (attachment?.node ?? '') === '') {
    return { kind: 'gone', why: `volume ${name} is being deleted` };
  }
  if (attachment === undefined) return { kind: 'waits', why: `volume ${name} is still being made` };
  if (annotations?.[RECOVERING_ANNOTATION] !== undefined) {
    return { kind: 'waits', why: `volume ${name} is being recovered` };
  }
  const contradicted = replicas.find((replica) => replica.spec.volumeUid === uid && conflictOf(replica) !== undefined);
  if (contradicted !== undefined) {
    return { kind: 'waits', why: `the disk of ${contradicted.metadata.name} knows more than the record of ${name}` };
  }
  const { node, epoch, clean } = attachment;
  if (node !== '') {
    if (!set.isClientAlive(node)) return { kind: 'waits', why: `${node}, which has volume ${name}, is not heard of` };
    return isConnected(connection) && connection?.metadata.deletionTimestamp === undefined
      ? { kind: 'attached', node }
      : { kind: 'waits', why: `${node} is not connected to all that it needs of volume ${name}` };
  }
  if (volume.spec.attachTo !== '') return { kind: 'waits', why: `volume ${name} is about to be attached` };
  return { kind: 'detached', untouched: { volume: name, volumeUid: uid, epoch, lineage, clean } };
}

/** The replicas of which copies are wanted: in sync, on nodes that answer. Of replicas that may differ, one. */
export function sourcesOf({ volume, replicas }: Member, subject: Subject, set: SnapshotSet): readonly VolumeReplica[] {
  const inSync = volume?.status?.inSync ?? [];
  const found = replicas
    .filter(
      ({ metadata, spec }) =>
        spec.volumeUid === volume?.metadata.uid &&
        spec.state === 'Active' &&
        inSync.includes(metadata.name) &&
        set.isStorageAlive(spec.storageNode),
    )
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  return subject.kind === 'detached' && !subject.untouched.clean ? found.slice(0, 1) : found;
}

/** What marks the copies of a volume that nobody has. */
export function detachedToken({ epoch, lineage }: Omit<Untouched, 'replicas'>): string {
  return `detached-${epoch}-${lineage}`;
}

/** The copies of one try that are still wanted. */
export function copiesOf({ copies }: Member, attempt: number): readonly SnapshotReplica[] {
  return copies.filter(({ metadata, spec }) => spec.attempt === attempt && metadata.deletionTimestamp === undefined);
}
