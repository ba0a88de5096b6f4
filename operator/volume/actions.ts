/** What a plan may do. Plain data that can be printed and replayed. */
import type { Attachment, ConnectionSpec, ReplicaRecord, ReplicaSpec, ReplicatedVolume } from './model.ts';

export interface PlannedEvent {
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, stable. */
  readonly reason: string;
  readonly message: string;
}

/** The part of a connection that follows the volume while it is attached. */
export type FollowedSpec = Pick<
  ConnectionSpec,
  'sizeBytes' | 'raidDisks' | 'legs' | 'legTimeout' | 'onControlPlaneLoss' | 'onSlowLeg' | 'epoch'
>;

export function followedOf({
  sizeBytes,
  raidDisks,
  legs,
  legTimeout,
  onControlPlaneLoss,
  onSlowLeg,
  epoch,
}: ConnectionSpec): FollowedSpec {
  return { sizeBytes, raidDisks, legs, legTimeout, onControlPlaneLoss, onSlowLeg, epoch };
}

/** An effect outside the volume's own status. Each may be repeated without harm. */
export type Action =
  | { readonly kind: 'addFinalizer' }
  | { readonly kind: 'removeFinalizer' }
  | { readonly kind: 'createReplica'; readonly name: string; readonly spec: ReplicaSpec }
  /** Who may connect to the replica, and under which epoch: to raise the epoch is to fence the host before. */
  | {
      readonly kind: 'setAccess';
      readonly name: string;
      readonly uid: string;
      readonly hostNqn: string;
      readonly epoch: number;
    }
  /** The client asks that all I/O on the replica that came before be proved to have ended. */
  | { readonly kind: 'setDrain'; readonly name: string; readonly uid: string; readonly drain: number }
  /** The replica is to have room for so much of the volume. */
  | { readonly kind: 'setSize'; readonly name: string; readonly uid: string; readonly sizeBytes: number }
  /** The replica's data is of this lineage, by the record. */
  | { readonly kind: 'setLineage'; readonly name: string; readonly uid: string; readonly lineage: number }
  | { readonly kind: 'orphanReplica'; readonly name: string; readonly uid: string; readonly why: string }
  | { readonly kind: 'deleteReplica'; readonly name: string; readonly uid: string }
  | { readonly kind: 'createConnection'; readonly name: string; readonly spec: ConnectionSpec }
  | {
      readonly kind: 'updateConnection';
      readonly name: string;
      readonly uid: string;
      readonly spec: FollowedSpec;
      readonly why: string;
    }
  | { readonly kind: 'deleteConnection'; readonly name: string; readonly uid: string; readonly why: string }
  /** Takes the client agent's finalizer off a connection whose client has been fenced. */
  | { readonly kind: 'releaseConnection'; readonly name: string; readonly uid: string; readonly epoch: number };

/** A change of the volume's record. The record is written first, and what follows from it is planned anew. */
export type RecordChange =
  /** The first members of the volume. */
  | {
      readonly kind: 'place';
      readonly replicas: readonly ReplicaRecord[];
      readonly nextReplica: number;
      /** Only what people have to know: where it is placed is told once it is made. */
      readonly event: PlannedEvent | undefined;
    }
  /** All replicas exist and are empty: each is in sync, and nobody is attached. */
  | { readonly kind: 'initialise'; readonly inSync: readonly string[]; readonly event: PlannedEvent }
  /** Failed members leave and new ones come, in one write. */
  | {
      readonly kind: 'replace';
      readonly replicas: readonly ReplicaRecord[];
      readonly nextReplica: number;
      readonly leaving: readonly string[];
      readonly event: PlannedEvent;
    }
  | { readonly kind: 'grant'; readonly attachment: Attachment; readonly event: PlannedEvent }
  /** The client has stopped its array in order and let go. */
  | { readonly kind: 'released'; readonly attachment: Attachment; readonly event: PlannedEvent }
  /** The client is cut off from every leg that counts. */
  | { readonly kind: 'fenced'; readonly attachment: Attachment; readonly event: PlannedEvent }
  /** A person's decision: the volume goes on from a replica that lacks writes, and what the others hold is lost. */
  | {
      readonly kind: 'forceStart';
      readonly replica: string;
      readonly lineage: number;
      readonly recordGeneration: number;
      readonly replicas: readonly ReplicaRecord[];
      readonly attachment: Attachment;
      /** By replica, what the record says of it from now on; null for the one that is started from. */
      readonly outOfSync: Readonly<Record<string, object | null>>;
      readonly event: PlannedEvent;
    }
  /** Replicas that are marked as orphans are no longer named. */
  | {
      readonly kind: 'forget';
      readonly replicas: readonly ReplicaRecord[];
      readonly names: readonly string[];
      readonly event: PlannedEvent;
    };

/** The part of the status patch that a change of the record makes (RFC 7386: null removes a key). */
export function recordPatch(change: RecordChange, outOfSync: Readonly<Record<string, unknown>>): object {
  switch (change.kind) {
    case 'place':
    case 'replace':
      return { replicas: change.replicas, nextReplica: change.nextReplica };
    case 'initialise':
      return {
        inSync: change.inSync,
        recordGeneration: 1,
        lineage: 1,
        attachment: { node: '', hostNqn: '', epoch: 0, clean: true },
      };
    case 'grant':
    case 'released':
    case 'fenced':
      return { attachment: change.attachment };
    case 'forceStart': {
      const { replica, lineage, recordGeneration, replicas, attachment } = change;
      return { inSync: [replica], lineage, recordGeneration, replicas, attachment, outOfSync: change.outOfSync };
    }
    case 'forget': {
      // Only the keys of the forgotten replicas: the rest of outOfSync belongs to the client agent.
      const stale = change.names.filter((name) => Object.hasOwn(outOfSync, name));
      const removal = stale.length === 0 ? {} : { outOfSync: Object.fromEntries(stale.map((name) => [name, null])) };
      return { replicas: change.replicas, ...removal };
    }
  }
}

/** The event that tells of an effect, if it is worth one: what only completes another decision is not. */
export function actionEvent(action: Action, volume: ReplicatedVolume): PlannedEvent | undefined {
  switch (action.kind) {
    case 'createReplica':
      // The first ones are told of in one event, when all are ready.
      if ((volume.status?.inSync ?? []).length === 0) return undefined;
      return {
        type: 'Normal',
        reason: 'ReplicaCreated',
        message: `made ${action.name} on ${action.spec.storageNode} (pool ${action.spec.pool})`,
      };
    case 'setAccess':
      return {
        type: 'Normal',
        reason: 'AccessChanged',
        message:
          action.hostNqn === ''
            ? `closing ${action.name} to every host, epoch ${action.epoch}`
            : `opening ${action.name} to ${action.hostNqn} alone, epoch ${action.epoch}`,
      };
    case 'setDrain':
      return {
        type: 'Normal',
        reason: 'Draining',
        message: `${action.name} is to prove that its I/O from before drain ${action.drain} has ended`,
      };
    case 'setSize':
      return { type: 'Normal', reason: 'Expanding', message: `${action.name} is to grow to ${action.sizeBytes} bytes` };
    case 'setLineage':
      return {
        type: 'Normal',
        reason: 'LineageChanged',
        message: `the data of ${action.name} is of lineage ${action.lineage}`,
      };
    case 'orphanReplica':
      return {
        type: 'Normal',
        reason: 'ReplicaOrphaned',
        message: `${action.name} is to be erased: ${action.why}`,
      };
    case 'createConnection':
      return {
        type: 'Normal',
        reason: 'Connecting',
        message: `${action.spec.node} connects ${action.spec.legs.map((leg) => leg.replica).join(', ')}`,
      };
    case 'updateConnection':
      return { type: 'Normal', reason: 'LegsChanged', message: action.why };
    case 'deleteConnection':
      return { type: 'Normal', reason: 'Releasing', message: action.why };
    case 'releaseConnection':
      return {
        type: 'Normal',
        reason: 'ConnectionRemoved',
        message: `${action.name} is given up: its client is fenced since epoch ${action.epoch}`,
      };
    case 'addFinalizer':
    case 'removeFinalizer':
    case 'deleteReplica':
      return undefined;
  }
}
