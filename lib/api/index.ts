/** The API of Holdfast: its kinds, names, and the small value types they are made of. `validate.ts` stands apart, as it brings ajv. */
export type { StorageNode, StorageNodeSpec, StorageNodeStatus } from './generated/storage-node.ts';
export type { ReplicatedVolume, ReplicatedVolumeSpec, ReplicatedVolumeStatus } from './generated/replicated-volume.ts';
export type { VolumeReplica, VolumeReplicaSpec, VolumeReplicaStatus } from './generated/volume-replica.ts';
export type { VolumeConnection, VolumeConnectionSpec, VolumeConnectionStatus } from './generated/volume-connection.ts';
export type {
  ReplicatedSnapshot,
  ReplicatedSnapshotSpec,
  ReplicatedSnapshotStatus,
} from './generated/replicated-snapshot.ts';
export type { SnapshotReplica, SnapshotReplicaSpec, SnapshotReplicaStatus } from './generated/snapshot-replica.ts';
export type { Condition, ConditionStatus, DeepPartial, KubeObject, ObjectMeta, OwnerReference } from './meta.ts';
export * from './names.ts';
export { describeStamp, stampOf, standingOf } from './record-stamp.ts';
export type { RecordStamp, Standing } from './record-stamp.ts';
export { DATA_PRESENT, findCondition, isTrue, setCondition } from './conditions.ts';
export type { ObservedCondition } from './conditions.ts';
export { formatDuration, parseDurationMs } from './duration.ts';
export { formatBytes, parseSizeBytes, volumeBytes } from './size.ts';
export { errorCodes, HoldfastError } from './errors.ts';
export type { ErrorCode, HoldfastErrorDetails } from './errors.ts';
