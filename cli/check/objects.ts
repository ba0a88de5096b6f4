import {
  findCondition,
  RECOVERING_ANNOTATION,
  type ReplicatedSnapshot,
  type ReplicatedVolume,
  type SnapshotReplica,
  type StorageNode,
  type VolumeConnection,
  type VolumeReplica,
} from '../../lib/api/index.ts';
import { error, warning, type Finding } from './findings.ts';
import { checkSnapshots } from './snapshots.ts';

/** All objects of Holdfast, read at one moment. */
export interface Objects {
  readonly volumes: readonly ReplicatedVolume[];
  readonly replicas: readonly VolumeReplica[];
  readonly connections: readonly VolumeConnection[];
  readonly nodes: readonly StorageNode[];
  readonly snapshots: readonly ReplicatedSnapshot[];
  readonly copies: readonly SnapshotReplica[];
}

/** What the objects say against each other, and what they leave over. Pure. */
export function checkObjects(objects: Objects): Finding[] {
  return [
    ...objects.volumes.flatMap((volume) => checkVolume(volume, objects)),
    ...objects.replicas.flatMap((replica) => checkReplica(replica, objects)),
    ...objects.connections.flatMap((connection) => checkConnection(connection, objects)),
    ...objects.nodes.flatMap(checkNode),
    ...checkSnapshots(objects),
  ];
}

function checkVolume(volume: ReplicatedVolume, { replicas, connections }: Objects): Finding[] {
  const { name, uid, deletionTimestamp, annotations } = volume.metadata;
  const { attachment, inSync = [], replicas: recorded = [], phase, message = '' } = volume.status ?? {};
  const object = `volume ${name}`;
  const findings: Finding[] = [];
  const members = recorded.map((each) => each.name);
  for (const replica of inSync.filter((each) => !members.includes(each))) {
    findings.push(error(object, `${replica} is in sync by the record, which does not name it as a replica`));
  }
  for (const { name: replica, storageNode } of recorded) {
    const found = replicas.find(({ metadata, spec }) => metadata.name === replica && spec.volumeUid === uid);
    if (found === undefined) findings.push(warning(object, `${replica} on ${storageNode} has no object`));
    else if (found.spec.storageNode !== storageNode) {
      findings.push(
        error(object, `${replica} is recorded on ${storageNode}, its object is on ${found.spec.storageNode}`),
      );
    }
  }
  if (attachment !== undefined && inSync.length === 0)
    findings.push(error(object, 'no replica is in sync by the record'));
  if (phase === 'Waiting' || phase === 'Pending') findings.push(error(object, `${phase}: ${message}`));
  else if (phase === 'Degraded' || phase === 'Healing') findings.push(warning(object, `${phase}: ${message}`));
  if (deletionTimestamp !== undefined)
    findings.push(warning(object, `is being deleted since ${deletionTimestamp}: ${message}`));
  if (annotations?.[RECOVERING_ANNOTATION] !== undefined) {
    findings.push(error(object, 'holdfast recover broke off: run it again with --apply'));
  }
  if (
    (attachment?.node ?? '') !== '' &&
    !connections.some(({ spec }) => spec.volume === name && spec.node === attachment?.node)
  ) {
    findings.push(warning(object, `is attached to ${attachment?.node}, which has no connection`));
  }
  return findings;
}

function checkReplica(replica: VolumeReplica, { volumes, nodes }: Objects): Finding[] {
  const { metadata, spec, status } = replica;
  const object = `replica ${metadata.name}`;
  const volume = volumes.find((each) => each.metadata.name === spec.volume && each.metadata.uid === spec.volumeUid);
  const recorded = volume?.status?.replicas?.some(({ name }) => name === metadata.name) ?? false;
  const isOrphan = spec.state === 'Orphan';
  const findings: Finding[] = [];
  if (findCondition(status?.conditions, 'Consistent')?.status === 'False') {
    findings.push(error(object, status?.message ?? 'its disk knows more than the API server'));
  } else if (status?.phase === 'Failed') {
    findings.push(error(object, `Failed: ${status.message ?? 'no reason given'}`));
  }
  if (!isOrphan && volume === undefined) findings.push(error(object, `its volume ${spec.volume} is not there`));
  if (!isOrphan && volume !== undefined && !recorded)
    findings.push(warning(object, 'the record of its volume does not name it'));
  if (isOrphan && recorded) findings.push(error(object, 'it is an orphan, and the record of its volume names it'));
  if (isOrphan && !recorded)
    findings.push(warning(object, `waits to be erased: ${status?.message ?? 'nothing heard yet'}`));
  if (!nodes.some((node) => node.metadata.name === spec.storageNode)) {
    findings.push(warning(object, `its storage node ${spec.storageNode} is not there`));
  }
  const epoch = volume?.status?.attachment?.epoch;
  if (!isOrphan && epoch !== undefined && spec.epoch < epoch) {
    findings.push(warning(object, `its object is of epoch ${spec.epoch}, the attachment of epoch ${epoch}`));
  }
  if (!isOrphan && status?.fencedEpoch !== undefined && status.fencedEpoch > spec.epoch) {
    findings.push(error(object, `epoch ${status.fencedEpoch} was fenced, and its object is of epoch ${spec.epoch}`));
  }
  return findings;
}

function checkConnection(connection: VolumeConnection, { volumes }: Objects): Finding[] {
  const { metadata, spec, status } = connection;
  const object = `connection ${metadata.name}`;
  const volume = volumes.find((each) => each.metadata.name === spec.volume && each.metadata.uid === spec.volumeUid);
  const { attachment } = volume?.status ?? {};
  if (volume === undefined) return [warning(object, `its volume ${spec.volume} is not there`)];
  if (attachment?.node !== spec.node) {
    return [
      warning(
        object,
        `${spec.volume} is attached to ${attachment?.node || 'nobody'}: waits for ${spec.node} to let go`,
      ),
    ];
  }
  if (status?.phase === 'Fenced' || status?.phase === 'Failed' || status?.phase === 'Waiting') {
    return [error(object, `${status.phase}: ${status.message ?? 'no reason given'}`)];
  }
  return [];
}

function checkNode(node: StorageNode): Finding[] {
  const object = `storage node ${node.metadata.name}`;
  const ready = findCondition(node.status?.conditions, 'Ready');
  const pool = findCondition(node.status?.conditions, 'PoolWarning');
  return [
    ...(ready?.status === 'True' ? [] : [error(object, ready?.message ?? 'its agent has said nothing yet')]),
    ...(pool?.status === 'True' ? [warning(object, pool.message)] : []),
    ...(node.status?.unknownReplicas ?? []).map(({ logicalVolume, replica, volume }) =>
      warning(
        object,
        `${logicalVolume} (${replica ?? 'no name'} of ${volume ?? 'no volume'}) has no object: holdfast recover takes it up, or remove it with lvremove`,
      ),
    ),
  ];
}
