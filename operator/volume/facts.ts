import { DATA_PRESENT, findCondition } from '../../lib/api/conditions.ts';
import { parseDurationMs } from '../../lib/api/duration.ts';
import { hostNqn } from '../../lib/api/names.ts';
import type { Attachment, LegStatus, ReplicaRecord, VolumeConnection, VolumeReplica, VolumeStatus } from './model.ts';
import type { Liveness, Settings, World } from './world.ts';

/** One entry of the volume's record, with what is known about it. */
export interface Replica {
  readonly name: string;
  readonly record: ReplicaRecord;
  /** Its object, if it exists and belongs to this very volume. */
  readonly object: VolumeReplica | undefined;
  /** An object of this name exists and belongs to an earlier volume: the name can't be used. */
  readonly nameTaken: boolean;
  readonly inSync: boolean;
  /** It has held data once: only what has never held any may be made anew under the same name. */
  readonly hasHistory: boolean;
  /** The storage agent of its node. */
  readonly node: Liveness;
  /** What its disk knows and the API server does not, in words of its storage agent; undefined when they agree. */
  readonly conflict: string | undefined;
  /** Its storage agent looked, and its logical volume is gone: it does not come back. */
  readonly isGone: boolean;
  /** What the attached client says about its leg. */
  readonly leg: LegStatus | undefined;
}

/**
 * Where the volume stands between two clients.
 * detached: nobody has it and nobody wants it. attaching: nobody has it and `node` is to get it. attached: `node` has it
 * and is to keep it. releasing: `node` is alive and lets go in order. released: it has let go. fencing: `node` can't be
 * asked; it is cut off at the targets.
 */
export type Session =
  | { readonly kind: 'detached' }
  | { readonly kind: 'attaching'; readonly node: string; readonly hostNqn: string }
  | { readonly kind: 'attached'; readonly node: string }
  | { readonly kind: 'releasing'; readonly node: string; readonly connection: VolumeConnection }
  | { readonly kind: 'released'; readonly node: string }
  | { readonly kind: 'fencing'; readonly node: string; readonly why: string };

/** The world of one volume, sorted for the rules. */
export interface Facts {
  readonly world: World;
  readonly nowMs: number;
  readonly settings: Settings;
  readonly name: string;
  readonly uid: string;
  readonly status: VolumeStatus;
  readonly deleting: boolean;
  /** It is being deleted and nobody has it: it is taken apart. */
  readonly ending: boolean;
  /** The in-sync set has been written: the volume can hold data. */
  readonly initialised: boolean;
  readonly attachment: Attachment;
  /** The history that the volume's data belongs to. */
  readonly lineage: number;
  readonly members: readonly Replica[];
  readonly leaving: readonly Replica[];
  /** Members, then leaving ones. */
  readonly recorded: readonly Replica[];
  /** Objects that belong to this volume and are not in its record. */
  readonly strangers: readonly VolumeReplica[];
  readonly session: Session;
  /** The connection of the present attachment. */
  readonly connection: VolumeConnection | undefined;
  /** Since when the client has had its device without a break; undefined when it has none. */
  readonly connectedSinceMs: number | undefined;
  /** Connections of earlier attachments. */
  readonly oldConnections: readonly VolumeConnection[];
  readonly replicaTimeoutMs: number;
}

const never: Liveness = { alive: false };

/** Sorts a world. Pure. */
export function factsOf(world: World, nowMs: number): Facts {
  const { volume } = world;
  const status: VolumeStatus = volume.status ?? {};
  const uid = volume.metadata.uid ?? '';
  const attachment: Attachment = status.attachment ?? { node: '', hostNqn: '', epoch: 0, clean: true };
  const own = world.replicas.filter((replica) => replica.spec.volumeUid === uid);
  const names = new Set((status.replicas ?? []).map(({ name }) => name));
  const connections = world.connections.filter(
    ({ spec }) => spec.node === attachment.node && spec.volumeUid === uid && spec.epoch >= attachment.epoch,
  );
  const connection = attachment.node === '' ? undefined : connections[0];
  const recorded = (status.replicas ?? []).map((record) => replicaOf(record, world, own, connection));
  const members = recorded.filter(({ record }) => record.role === 'Member');
  const leaving = recorded.filter(({ record }) => record.role === 'Leaving');
  const deleting = volume.metadata.deletionTimestamp !== undefined;
  const initialised = status.attachment !== undefined;
  const ending = deleting && attachment.node === '';
  // A volume that is being deleted is not handed out any more, and not taken away from the client that has it either.
  const wanted = ending || !initialised ? '' : volume.spec.attachTo;
  return {
    world,
    nowMs,
    settings: world.settings,
    name: volume.metadata.name,
    uid,
    status,
    deleting,
    ending,
    initialised,
    attachment,
    lineage: status.lineage ?? 1,
    members,
    leaving,
    recorded: [...members, ...leaving],
    strangers: own.filter((replica) => !names.has(replica.metadata.name)),
    session: sessionOf(world, attachment, wanted, own, connection),
    connection,
    connectedSinceMs: isConnected(connection) ? attachedSince(status) : undefined,
    oldConnections: world.connections.filter((candidate) => candidate !== connection),
    replicaTimeoutMs: durationMs(volume.spec.healing.replicaTimeout),
  };
}

/** The longest time that a timer of the runtime can wait: 24 days. */
const longestMs = 2 ** 31 - 1;

/** The API server admits well-formed durations only; what is too long for a timer means "practically never". */
function durationMs(text: string): number {
  try {
    return parseDurationMs(text);
  } catch {
    return longestMs;
  }
}

function replicaOf(
  record: ReplicaRecord,
  world: World,
  own: readonly VolumeReplica[],
  connection: VolumeConnection | undefined,
): Replica {
  const { name } = record;
  const status = world.volume.status ?? {};
  const object = own.find((candidate) => candidate.metadata.name === name);
  const inSync = status.inSync?.includes(name) ?? false;
  return {
    name,
    record,
    object,
    nameTaken: object === undefined && world.replicas.some((candidate) => candidate.metadata.name === name),
    inSync,
    hasHistory: inSync || Object.hasOwn(status.outOfSync ?? {}, name),
    node: world.storageAgents.get(record.storageNode) ?? never,
    conflict: object && conflictOf(object),
    isGone: findCondition(object?.status?.conditions, DATA_PRESENT)?.status === 'False',
    leg: connection?.status?.legs?.find(({ replica }) => replica === name),
  };
}

function sessionOf(
  world: World,
  attachment: Attachment,
  wanted: string,
  own: readonly VolumeReplica[],
  connection: VolumeConnection | undefined,
): Session {
  const { node, epoch, clean } = attachment;
  if (node === '') {
    return wanted === '' ? { kind: 'detached' } : { kind: 'attaching', node: wanted, hostNqn: hostNqn(wanted) };
  }
  // A fence that has begun is carried to its end, also when the client is back: it has lost legs already.
  if (own.some(({ spec }) => spec.epoch > epoch)) {
    return { kind: 'fencing', node, why: `${node} is being cut off` };
  }
  const letGo = connection?.metadata.deletionTimestamp !== undefined;
  if (wanted === node && !letGo) {
    return { kind: 'attached', node };
  }
  if (connection === undefined) {
    return clean
      ? { kind: 'released', node }
      : { kind: 'fencing', node, why: `${node} left without stopping its array in order` };
  }
  return (world.clients.get(node) ?? never).alive
    ? { kind: 'releasing', node, connection }
    : { kind: 'fencing', node, why: `${node} does not renew its lease` };
}

/** What a replica's disk knows and the API server does not; undefined when they agree, or nobody has looked. */
export function conflictOf(object: VolumeReplica): string | undefined {
  const found = object.status?.conditions?.find(({ type }) => type === 'Consistent');
  return found?.status === 'False' ? found.message : undefined;
}

/** The client has its device, under the present epoch. */
export function isConnected(connection: VolumeConnection | undefined): boolean {
  return connection?.status?.phase === 'Connected' && connection.status.epoch === connection.spec.epoch;
}

function attachedSince(status: VolumeStatus): number | undefined {
  const condition = status.conditions?.find(({ type }) => type === 'Attached');
  return condition?.status === 'True' ? Date.parse(condition.lastTransitionTime) : undefined;
}

/** The object takes part: it exists, is not an orphan, and is the volume's own. */
export function activeObject(replica: Replica): VolumeReplica | undefined {
  return replica.object?.spec.state === 'Active' ? replica.object : undefined;
}

/** The capacity that a replica is known to have room for. One whose agent says nothing about that has never grown. */
export function heldBytes({ spec, status }: VolumeReplica): number {
  return status?.sizeBytes ?? spec.sizeBytes;
}

/** A member that someone deleted, or whose object is gone with its data: it can't be kept for ever. */
export function isDoomed(replica: Replica): boolean {
  const { object, hasHistory } = replica;
  return object === undefined
    ? hasHistory || replica.nameTaken
    : object.metadata.deletionTimestamp !== undefined || object.spec.state === 'Orphan';
}

/** "pg-r1 on s2". */
export function named(replica: Replica): string {
  return `${replica.name} on ${replica.record.storageNode}`;
}

/** A time for people: UTC, whole seconds. Absolute, so that a message doesn't have to be written again every second. */
export function atTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
}
