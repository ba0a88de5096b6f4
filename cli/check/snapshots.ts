import { copyVolumeName, type ReplicatedSnapshot, type SnapshotReplica } from '../../lib/api/index.ts';
import { copyUidOf } from '../../storage-agent/copy/identity.ts';
import { error, warning, type Finding } from './findings.ts';
import type { NodeFacts } from './node.ts';
import type { Objects } from './objects.ts';

/** What the objects of snapshots say against each other, and what they leave over. Pure. */
export function checkSnapshots({ snapshots, copies, nodes }: Objects): Finding[] {
  return [
    ...snapshots.flatMap((snapshot) => checkSnapshot(snapshot, copies)),
    ...copies.flatMap((copy) => checkCopy(copy, snapshots, new Set(nodes.map(({ metadata }) => metadata.name)))),
  ];
}

function checkSnapshot({ metadata, spec, status }: ReplicatedSnapshot, copies: readonly SnapshotReplica[]): Finding[] {
  const object = `snapshot ${metadata.name}`;
  const { phase, message = '', copies: counted = [] } = status ?? {};
  if (metadata.deletionTimestamp !== undefined) {
    return [warning(object, `is being deleted since ${metadata.deletionTimestamp}: ${message}`)];
  }
  if (phase === 'Failed') return [warning(object, `can't be taken: ${message}`)];
  if (phase !== 'Ready') return [warning(object, `of ${spec.volume} is not taken yet: ${message}`)];
  const lost = counted.filter(({ uid }) => {
    const found = copies.find((copy) => copy.metadata.uid === uid);
    return found === undefined || found.status?.phase === 'Failed';
  });
  const names = lost.map(({ replica, storageNode }) => `that of ${replica} on ${storageNode}`).join(', ');
  if (lost.length === 0) return [];
  return lost.length === counted.length
    ? [error(object, `all of its copies are lost: ${names}`)]
    : [warning(object, `copies are lost: ${names}`)];
}

function checkCopy(
  { metadata, spec, status }: SnapshotReplica,
  snapshots: readonly ReplicatedSnapshot[],
  nodes: ReadonlySet<string>,
): Finding[] {
  const object = `snapshot copy ${metadata.name}`;
  const snapshot = snapshots.find((each) => each.metadata.uid === spec.snapshotUid);
  const { phase, copies = [] } = snapshot?.status ?? {};
  const isCounted = copies.some(({ uid }) => uid === metadata.uid);
  const isOver = snapshot === undefined || (phase === 'Ready' && !isCounted);
  const said = status?.message ?? 'nothing heard yet';
  return [
    ...(nodes.has(spec.storageNode) ? [] : [warning(object, `its storage node ${spec.storageNode} is not there`)]),
    ...(isOver ? [warning(object, `waits to be erased: ${said}`)] : []),
    ...(isCounted && status?.phase === 'Failed' ? [error(object, said)] : []),
  ];
}

/** The copies that a storage node has against those that the objects name, both ways. Pure. */
export function checkCopiesHere({ node, logicalVolumes }: NodeFacts, { copies }: Objects): Finding[] {
  if (logicalVolumes === undefined) return [];
  const here = copies.filter(({ spec }) => spec.storageNode === node);
  const uids = new Set(here.map(({ metadata }) => metadata.uid));
  return [
    ...logicalVolumes.flatMap((volume) => {
      const uid = copyUidOf(volume);
      return uid === undefined || uids.has(uid)
        ? []
        : [warning(`node ${node}`, `the logical volume ${volume.group}/${volume.name} has no SnapshotReplica`)];
    }),
    ...here.flatMap(({ metadata, status }) => {
      const name = copyVolumeName(metadata.uid ?? '');
      const isThere = logicalVolumes.some((volume) => volume.name === name);
      return status?.phase === 'Taken' && !isThere
        ? [error(`snapshot copy ${metadata.name}`, `its logical volume ${name} is not on ${node}`)]
        : [];
    }),
  ];
}
