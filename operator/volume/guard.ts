/**
 * The laws of data safety, checked once more on freshly read objects just before each effect. The planner decides from
 * caches, which may be old, and it may be wrong; this file trusts neither and repeats none of its reasoning.
 */
import { OPERATOR_FINALIZER, hostNqn } from '../../lib/api/names.ts';
import { volumeBytes } from '../../lib/api/size.ts';
import { conflictOf, heldBytes } from './facts.ts';
import type { Action, RecordChange } from './actions.ts';
import { sameJson } from './merge-patch.ts';
import { wasAttached } from './needed.ts';
import type { ConnectionSpec, ReplicatedVolume, VolumeConnection, VolumeReplica, VolumeStatus } from './model.ts';

/** Objects as the API server has them at this moment. */
export interface Fresh {
  readonly volume: ReplicatedVolume;
  /** Those VolumeReplicas of the volume that were asked for (`Needed`). */
  readonly replicas: readonly VolumeReplica[];
  /** ... and VolumeConnections. */
  readonly connections: readonly VolumeConnection[];
}

/** Why an effect must not happen; undefined when it may. */
export type Objection = string | undefined;

type Check = readonly [holds: boolean, objection: string];

/** The first check that fails. */
function firstOf(...checks: readonly Check[]): Objection {
  return checks.find(([holds]) => !holds)?.[1];
}

/** Whether a change of the record may be written. */
export function objectToRecord(change: RecordChange, fresh: Fresh): Objection {
  const { volume } = fresh;
  const status: VolumeStatus = volume.status ?? {};
  const inSync = status.inSync ?? [];
  const { attachment } = status;
  // Each change rests on the record, and a disk says that it is an old one. The first placement rests on none, and whatever
  // comes of it is looked at again: the first set in sync, and each orphan.
  const conflicts =
    change.kind === 'place'
      ? []
      : fresh.replicas.filter((replica) => isOwn(replica, volume) && conflictOf(replica) !== undefined);
  if (conflicts.length > 0)
    return `the disk of ${conflicts.map(({ metadata }) => metadata.name).join(', ')} knows more`;
  switch (change.kind) {
    case 'place':
      return firstOf(
        [(status.replicas ?? []).length === 0 && attachment === undefined, 'the volume has been placed already'],
        [volume.metadata.deletionTimestamp === undefined, 'the volume is being deleted'],
      );
    case 'initialise': {
      const isFilled = volume.spec.source !== undefined;
      const first = membersOf(status).filter((name) => !isFilled || find(fresh, name)?.spec.source !== undefined);
      return firstOf(
        [attachment === undefined && inSync.length === 0, 'the in-sync set is written once only'],
        [
          sameSet(change.inSync, first) && change.inSync.length > 0,
          'the first in-sync set is all members of the volume, or all that began with its snapshot',
        ],
        [
          change.inSync.every((name) => isUntouched(find(fresh, name))),
          'a replica is not known to be ready and as it was made',
        ],
      );
    }
    case 'replace': {
      const before = (status.replicas ?? []).map(({ name }) => name);
      const after = change.replicas.map(({ name }) => name);
      const added = after.filter((name) => !before.includes(name));
      return firstOf(
        [before.every((name) => after.includes(name)), 'a replica is added before another is removed'],
        [change.leaving.every((name) => !inSync.includes(name)), 'a replica that is in sync does not leave'],
        [change.nextReplica >= (status.nextReplica ?? 0), 'names of replicas are never used twice'],
        [added.every((name) => find(fresh, name) === undefined), 'a new replica has a name that an object already has'],
        [
          attachment === undefined ||
            change.leaving.length === 0 ||
            change.replicas.some(({ name }) => inSync.includes(name)),
          'no in-sync replica would be left to copy from',
        ],
      );
    }
    case 'grant':
      return firstOf(
        [attachment !== undefined && inSync.length > 0, 'the volume holds no data yet'],
        [attachment?.node === '', `the volume is attached to ${attachment?.node ?? 'nobody knows whom'}`],
        [volume.metadata.deletionTimestamp === undefined, 'the volume is being deleted'],
        [volume.spec.attachTo === change.attachment.node, 'the volume is meant for another node by now'],
        [change.attachment.hostNqn === hostNqn(change.attachment.node), 'the host name is not that of the node'],
        [
          change.attachment.clean === attachment?.clean,
          'whether the array was clean is not for the operator to change',
        ],
        [change.attachment.epoch > (attachment?.epoch ?? 0), 'the attachment epoch only grows'],
        fenced(fresh, change.attachment.epoch, change.attachment.hostNqn),
      );
    case 'released':
      return firstOf(
        [attachment?.clean === true, 'the client has not said that it stopped the array in order'],
        [change.attachment.epoch === attachment?.epoch, 'the epoch changes only with a fence'],
        [
          !fresh.connections.some(({ spec }) => spec.node === attachment?.node && spec.epoch >= attachment.epoch),
          'the client still has its connection',
        ],
      );
    case 'fenced':
      return firstOf(
        [change.attachment.epoch > (attachment?.epoch ?? 0), 'the attachment epoch only grows'],
        [!change.attachment.clean, 'a client that was cut off has not stopped its array in order'],
        fenced(fresh, change.attachment.epoch, ''),
      );
    case 'forceStart': {
      const request = volume.spec.forceStart;
      const chosen = find(fresh, change.replica);
      const cutOff = fencedFrom(fresh, chosen, change.attachment);
      return firstOf(
        [request?.acceptDataLoss === true, 'nobody has accepted the loss of data'],
        [
          request?.replica === change.replica && request.lineage === change.lineage,
          'this is not the forced start that was asked for',
        ],
        [
          request?.recordGeneration === (status.recordGeneration ?? 0),
          'the record has changed since the forced start was asked for',
        ],
        [change.lineage === (status.lineage ?? 1) + 1, 'a lineage follows the one before it'],
        [change.recordGeneration > (status.recordGeneration ?? 0), 'the generation of the record only grows'],
        [inSync.length > 0 && !inSync.includes(change.replica), 'the replica is in sync'],
        [Object.hasOwn(status.outOfSync ?? {}, change.replica), 'the replica has never been in sync'],
        [chosen?.spec.state === 'Active' && chosen.status?.phase === 'Ready', 'the replica is not ready'],
        [volume.metadata.deletionTimestamp === undefined, 'the volume is being deleted'],
        [attachment?.node === '' || cutOff, 'the client that has the volume is not cut off from the replica'],
        [
          change.attachment.node === '' && change.attachment.epoch >= (attachment?.epoch ?? 0),
          'a forced start hands the volume to nobody, and its epoch does not fall',
        ],
      );
    }
    case 'forget':
      return firstOf(
        [change.names.every((name) => !inSync.includes(name)), 'an in-sync replica is never forgotten'],
        [
          change.names.every((name) => isOrphan(find(fresh, name))),
          'a replica is forgotten once it is marked as an orphan',
        ],
        [
          (status.replicas ?? []).every(
            ({ name }) => change.names.includes(name) || change.replicas.some((kept) => kept.name === name),
          ),
          'the change would forget other replicas, too',
        ],
      );
  }
}

/** Whether the replica has proved that no host of an earlier attachment can reach it, and no replica is open to one. */
function fencedFrom(fresh: Fresh, replica: VolumeReplica | undefined, { epoch }: { readonly epoch: number }): boolean {
  const own = fresh.replicas.filter((each) => isOwn(each, fresh.volume) && each.spec.state === 'Active');
  const isClosed = own.every(({ spec }) => spec.epoch === epoch && spec.hostNqn === '');
  const isLater = epoch > (fresh.volume.status?.attachment?.epoch ?? 0);
  return isLater && isClosed && replica?.status?.fencedEpoch === epoch;
}

function isOwn(replica: VolumeReplica, volume: ReplicatedVolume): boolean {
  return replica.spec.volumeUid === volume.metadata.uid;
}

/** Law 3: at least one in-sync replica has confirmed, and no replica is still open under an earlier epoch. */
function fenced(fresh: Fresh, epoch: number, host: string): Check {
  const inSync = fresh.volume.status?.inSync ?? [];
  const own = fresh.replicas.filter(
    (replica) => replica.spec.volumeUid === fresh.volume.metadata.uid && replica.spec.state === 'Active',
  );
  const open = own.filter(({ spec }) => spec.epoch !== epoch || spec.hostNqn !== host);
  const confirmed = own.filter(
    ({ metadata, spec, status }) =>
      inSync.includes(metadata.name) && spec.epoch === epoch && status?.fencedEpoch === epoch,
  );
  return [
    open.length === 0 && confirmed.length > 0,
    open.length > 0
      ? `${open.map(({ metadata }) => metadata.name).join(', ')} is not closed to earlier hosts`
      : `no in-sync replica has confirmed that hosts before epoch ${epoch} are gone`,
  ];
}

/** Whether an effect outside the status may happen. */
export function objectToAction(action: Action, fresh: Fresh): Objection {
  const { volume } = fresh;
  const status: VolumeStatus = volume.status ?? {};
  const inSync = status.inSync ?? [];
  const ending = volume.metadata.deletionTimestamp !== undefined && (status.attachment?.node ?? '') === '';
  switch (action.kind) {
    case 'addFinalizer':
      return firstOf([volume.metadata.deletionTimestamp === undefined, 'the volume is being deleted']);
    case 'createReplica':
      return firstOf(
        [!ending, 'the volume is being deleted'],
        [membersOf(status).includes(action.name), 'the record does not name the replica'],
        [
          !inSync.includes(action.name) && !Object.hasOwn(status.outOfSync ?? {}, action.name),
          'a replica that has held data is not made anew under its name',
        ],
      );
    case 'setAccess':
      return objectToAccess(action, fresh);
    case 'setDrain': {
      const replica = fresh.replicas.find(({ metadata }) => metadata.uid === action.uid);
      const connection = fresh.connections.find(
        ({ spec }) => spec.node === status.attachment?.node && spec.epoch === status.attachment?.epoch,
      );
      const asked = connection?.status?.legs?.find((leg) => leg.replica === action.name)?.drain ?? 0;
      return firstOf(
        [replica !== undefined && isOwn(replica, volume), 'the replica is gone'],
        [action.drain > (replica?.spec.drain ?? 0), 'the drain of a replica only grows'],
        [action.drain <= asked, 'the client that has the volume has not asked for it'],
      );
    }
    case 'setSize': {
      const replica = fresh.replicas.find(({ metadata }) => metadata.uid === action.uid);
      return firstOf(
        [replica !== undefined && isOwn(replica, volume), 'the replica is gone'],
        [action.sizeBytes > (replica?.spec.sizeBytes ?? 0), 'a replica never gets smaller'],
        [action.sizeBytes <= volumeBytes(volume), 'the volume is not to be that large'],
      );
    }
    case 'setLineage':
      return firstOf(
        [inSync.includes(action.name), 'only what is in sync is of the lineage of the volume'],
        [(status.lineage ?? 1) === action.lineage, 'the lineage is not that of the volume'],
      );
    case 'orphanReplica':
    case 'deleteReplica':
      return objectToRemoval(action, fresh);
    case 'createConnection':
      return firstOf(
        [status.attachment?.node === action.spec.node, 'the volume is not attached to this node'],
        [status.attachment?.epoch === action.spec.epoch, 'the epoch is not that of the attachment'],
        hasRoom(fresh, action.spec.sizeBytes, 0),
        legsFenced(action.spec.legs, action.spec.epoch, fresh),
      );
    case 'updateConnection': {
      const connection = fresh.connections.find(({ metadata }) => metadata.uid === action.uid);
      return firstOf(
        [connection !== undefined, 'the connection is gone'],
        [connection?.spec.node === status.attachment?.node, 'the volume is not attached to this node'],
        [status.attachment?.epoch === action.spec.epoch, 'the epoch is not that of the attachment'],
        hasRoom(fresh, action.spec.sizeBytes, connection?.spec.sizeBytes ?? 0),
        staysRedundant(fresh, connection?.spec.legs ?? [], action.spec.legs),
        legsFenced(action.spec.legs, action.spec.epoch, fresh, connection?.spec),
      );
    }
    case 'deleteConnection': {
      const spec = fresh.connections.find(({ metadata }) => metadata.uid === action.uid)?.spec;
      const current = spec?.node === status.attachment?.node && spec?.epoch === status.attachment?.epoch;
      const fencing = fresh.replicas.some((replica) => replica.spec.epoch > (status.attachment?.epoch ?? 0));
      return firstOf([!current || fencing || volume.spec.attachTo !== spec?.node, 'the volume is meant for this node']);
    }
    case 'releaseConnection': {
      const spec = fresh.connections.find(({ metadata }) => metadata.uid === action.uid)?.spec;
      const fencedOff = (status.attachment?.epoch ?? -1) > (spec?.epoch ?? Number.POSITIVE_INFINITY);
      return firstOf([fencedOff || spec?.volumeUid !== volume.metadata.uid, 'the client is not fenced']);
    }
    case 'removeFinalizer':
      return firstOf(
        [ending, 'the volume is not being deleted, or attached'],
        [!wasAttached(volume) || fresh.connections.length === 0, 'a client still has a connection'],
        [volume.metadata.finalizers?.includes(OPERATOR_FINALIZER) ?? false, 'the finalizer is gone already'],
      );
  }
}

function objectToAccess(action: Extract<Action, { kind: 'setAccess' }>, { volume, replicas }: Fresh): Objection {
  const attachment = volume.status?.attachment;
  const replica = replicas.find(({ metadata }) => metadata.uid === action.uid);
  const unattached = attachment?.node === '';
  const rightHost =
    action.hostNqn === ''
      ? !unattached && action.epoch > (attachment?.epoch ?? 0)
      : unattached
        ? action.hostNqn === hostNqn(volume.spec.attachTo) && volume.metadata.deletionTimestamp === undefined
        : action.hostNqn === attachment?.hostNqn && action.epoch === attachment.epoch;
  return firstOf(
    [attachment !== undefined, 'the volume holds no data yet'],
    [replica !== undefined, 'the replica is gone'],
    [action.epoch > (replica?.spec.epoch ?? -1), 'the epoch of a replica only grows'],
    [rightHost, 'the host is not the one that the volume is meant for'],
  );
}

/** Law 5 and 7: what is erased is not in sync, not a member, and not the next best copy of a volume that lacks one. */
function objectToRemoval(
  action: Extract<Action, { kind: 'orphanReplica' | 'deleteReplica' }>,
  fresh: Fresh,
): Objection {
  const status: VolumeStatus = fresh.volume.status ?? {};
  const replica = fresh.replicas.find(({ metadata }) => metadata.uid === action.uid);
  if (action.kind === 'deleteReplica' && replica?.spec.state !== 'Orphan') {
    return 'a replica is marked as an orphan before it is deleted';
  }
  if (replica !== undefined && replica.spec.volumeUid !== fresh.volume.metadata.uid) {
    return undefined;
  }
  const inSync = status.inSync ?? [];
  if (fresh.replicas.some((each) => isOwn(each, fresh.volume) && conflictOf(each) !== undefined)) {
    return 'a disk knows more of the volume than its record: nothing is erased';
  }
  const isSpare = membersOf(status).every((name) => inSync.includes(name));
  return firstOf(
    [!inSync.includes(action.name), 'an in-sync replica is never removed'],
    [!membersOf(status).includes(action.name), 'a member of the volume is never removed'],
    [
      isSpare || status.attachment === undefined || !Object.hasOwn(status.outOfSync ?? {}, action.name),
      'the volume has fewer in-sync replicas than it wants: the old copy is kept',
    ],
  );
}

/** An array does not get smaller than `presentBytes`, nor larger than what each in-sync replica has proved to have room for. */
function hasRoom({ volume, replicas }: Fresh, sizeBytes: number, presentBytes: number): Check {
  const inSync = volume.status?.inSync ?? [];
  const small = replicas.filter(
    (replica) =>
      isOwn(replica, volume) &&
      replica.spec.state === 'Active' &&
      inSync.includes(replica.metadata.name) &&
      heldBytes(replica) < sizeBytes,
  );
  return [
    sizeBytes === presentBytes || (sizeBytes > presentBytes && small.length === 0),
    small.length > 0
      ? `${small.map(({ metadata }) => metadata.name).join(', ')} has no room for ${sizeBytes} bytes yet`
      : 'an array never gets smaller',
  ];
}

/** Law 5: a client lets go of an in-sync replica that is there only while as many others are in sync as are wanted. */
function staysRedundant(
  { volume, replicas }: Fresh,
  before: ConnectionSpec['legs'],
  after: ConnectionSpec['legs'],
): Check {
  const { inSync = [] } = volume.status ?? {};
  const members = membersOf(volume.status ?? {});
  const isThere = (name: string): boolean =>
    replicas.some(({ metadata, spec }) => metadata.name === name && spec.state === 'Active');
  const dropped = before
    .map(({ replica }) => replica)
    .filter((name) => !after.some((leg) => leg.replica === name))
    .filter((name) => members.includes(name) && inSync.includes(name) && isThere(name));
  return [
    dropped.length === 0 || inSync.length - dropped.length >= volume.spec.replicas,
    `without ${dropped.join(', ')} fewer replicas are in sync than are wanted`,
  ];
}

/** A leg that the connection lists already, under the same epoch, has been checked when it came in. */
function legsFenced(
  legs: ConnectionSpec['legs'],
  epoch: number,
  fresh: Fresh,
  present?: Pick<ConnectionSpec, 'legs' | 'epoch'>,
): Check {
  const members = membersOf(fresh.volume.status ?? {});
  const known = present?.epoch === epoch ? present.legs : [];
  const loose = legs.filter((leg) => {
    const object = find(fresh, leg.replica);
    const confirmed = object?.spec.epoch === epoch && (object.status?.fencedEpoch ?? -1) >= epoch;
    const isKnown = known.some((other) => sameJson(other, leg));
    if ((leg.drained ?? 0) > (object?.status?.drained ?? 0) && !isKnown) return true;
    return !members.includes(leg.replica) || object?.metadata.uid !== leg.uid || !(confirmed || isKnown);
  });
  return [
    loose.length === 0,
    `${loose.map(({ replica }) => replica).join(', ')} has not confirmed that hosts before epoch ${epoch} are gone, or its drain`,
  ];
}

function find(fresh: Fresh, name: string): VolumeReplica | undefined {
  return fresh.replicas.find(({ metadata }) => metadata.name === name);
}

function membersOf(status: VolumeStatus): readonly string[] {
  return (status.replicas ?? []).filter(({ role }) => role === 'Member').map(({ name }) => name);
}

function isUntouched(replica: VolumeReplica | undefined): boolean {
  return (
    replica?.spec.state === 'Active' &&
    replica.metadata.deletionTimestamp === undefined &&
    replica.spec.epoch === 0 &&
    replica.spec.hostNqn === '' &&
    replica.status?.phase === 'Ready'
  );
}

function isOrphan(replica: VolumeReplica | undefined): boolean {
  return replica === undefined || (replica.spec.state === 'Orphan' && replica.metadata.deletionTimestamp !== undefined);
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((x) => b.includes(x));
}
