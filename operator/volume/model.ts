/** Short names for the parts of the API's types that the volume planner speaks about. Types only. */
import type { Condition, ReplicatedVolume, VolumeConnection, VolumeReplica } from '../../lib/api/index.ts';

export type { Condition, ReplicatedVolume, StorageNode, VolumeConnection, VolumeReplica } from '../../lib/api/index.ts';

export type VolumeStatus = NonNullable<ReplicatedVolume['status']>;
export type ReplicaRecord = NonNullable<VolumeStatus['replicas']>[number];
export type Attachment = NonNullable<VolumeStatus['attachment']>;
export type Phase = NonNullable<VolumeStatus['phase']>;
export type ReplicaSpec = VolumeReplica['spec'];
export type ConnectionSpec = VolumeConnection['spec'];
export type ConnectionLeg = ConnectionSpec['legs'][number];
export type LegStatus = NonNullable<NonNullable<VolumeConnection['status']>['legs']>[number];

/** The condition types that the operator keeps on a ReplicatedVolume. */
export const conditionTypes = ['Placed', 'Ready', 'Redundant', 'Attached', 'Healing', 'Consistent'] as const;
export type ConditionType = (typeof conditionTypes)[number];

/** A condition without the fields that depend on when it changed. */
export interface ConditionState {
  readonly type: ConditionType;
  readonly status: Condition['status'];
  readonly reason: string;
  readonly message: string;
}
