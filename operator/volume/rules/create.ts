import { volumeBytes } from '../../../lib/api/size.ts';
import type { Action } from '../actions.ts';
import type { Decision, Note, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts, Replica } from '../facts.ts';
import { activeObject, isDoomed, named } from '../facts.ts';
import { withLeaving } from './heal.ts';
import { reasons } from './sentences.ts';
import { placeBeginning } from './source.ts';

/**
 * Given a recorded member without an object, when it has never held data, then its object is made, with the access of
 * the present attachment. A member that has held data is never made anew under its name: an empty replica must not be
 * taken for a full one.
 */
export const createReplicas: Rule = (facts): Decision => {
  if (facts.ending) {
    return nothing;
  }
  const missing = facts.members.filter(
    ({ object, nameTaken, hasHistory }) => object === undefined && !nameTaken && !hasHistory,
  );
  return { actions: missing.map((replica) => createReplica(facts, replica)) };
};

function createReplica(facts: Facts, replica: Replica): Action {
  const { spec } = facts.world.volume;
  const { storageNode, pool, copyUid } = replica.record;
  return {
    kind: 'createReplica',
    name: replica.name,
    spec: {
      volume: facts.name,
      volumeUid: facts.uid,
      storageNode,
      pool,
      sizeBytes: volumeBytes(facts.world.volume),
      provisioning: spec.provisioning,
      state: 'Active',
      hostNqn: facts.attachment.hostNqn,
      epoch: facts.attachment.epoch,
      drain: 0,
      // What is copied to it is the volume's data of now.
      lineage: facts.status.lineage ?? 1,
      ...(copyUid === undefined ? {} : { source: { copyUid } }),
    },
  };
}

/**
 * Given a volume that has never held data, when the storage node of a new replica dies or the replica can't be made, and
 * a short while passes, then the replica is placed elsewhere. Nothing is lost, so nothing has to be waited for.
 */
export const replaceUnborn: Rule = (facts): Decision => {
  if (facts.ending || facts.initialised) {
    return nothing;
  }
  const troubled = facts.members.flatMap((replica) => troubleOf(facts, replica) ?? []);
  const due = troubled.filter(({ untilMs }) => untilMs <= facts.nowMs);
  const later = troubled.filter(({ untilMs }) => untilMs > facts.nowMs).map(({ untilMs }) => untilMs - facts.nowMs);
  const look = later.length === 0 ? {} : { lookAgainMs: Math.min(...later) };
  if (due.length === 0) {
    return look;
  }
  const failed = due.map(({ replica }) => replica);
  const keep = facts.members.filter((replica) => !failed.includes(replica));
  const why = due.map(({ replica, why: reason }) => `${named(replica)} ${reason}`).join(', ');
  const placed = placeBeginning(facts, {
    count: failed.length,
    keep,
    exclude: failed.map(({ record }) => ({ node: record.storageNode, reason: 'failed to make a replica' })),
  });
  if (!placed.ok) {
    const message = `${why}; no other place: ${placed.message}`;
    return {
      notes: [{ topic: 'place', reason: 'NoPlace', message, blocked: true }],
      lookAgainMs: Math.min(facts.settings.retryMs, ...later),
    };
  }
  const where = placed.records.map(({ name, storageNode }) => `${name} on ${storageNode}`).join(', ');
  return {
    record: {
      kind: 'replace',
      replicas: [...withLeaving(facts, failed), ...placed.records],
      nextReplica: placed.nextReplica,
      leaving: failed.map(({ name }) => name),
      event: { type: 'Warning', reason: 'PlacedElsewhere', message: `${why}; made instead: ${where}` },
    },
  };
};

/** Why a replica is not going to be made where it is, and how long it is given; undefined when all is well. */
function troubleOf(
  facts: Facts,
  replica: Replica,
): { readonly replica: Replica; readonly why: string; readonly untilMs: number } | undefined {
  const sinceMs = Date.parse(replica.record.since ?? '') || 0;
  const { creationPatienceMs } = facts.settings;
  if (isDoomed(replica)) {
    const why = replica.nameTaken ? 'can not have its name, which an earlier volume still uses' : 'was deleted';
    return { replica, why, untilMs: facts.nowMs };
  }
  const status = activeObject(replica)?.status;
  if (status?.phase === 'Failed') {
    return { replica, why: `failed: ${status.message ?? 'no reason given'}`, untilMs: sinceMs + creationPatienceMs };
  }
  if (status?.phase !== 'Ready' && !replica.node.alive) {
    const goneMs = Math.max(sinceMs, replica.node.lastSeenMs ?? 0);
    return { replica, why: 'has no live storage agent', untilMs: goneMs + creationPatienceMs };
  }
  return undefined;
}

/** A replica that is made within this time is not worth a line about its being made. */
const BIRTH_MS = 10_000;

/**
 * Given a volume that has never held data, when every replica is ready, then all of them are in sync (of a volume that begins
 * with a snapshot those that were made from its copies), and the attachment record begins at epoch 0. It happens once.
 */
export const initialise: Rule = (facts): Decision => {
  if (facts.ending || facts.initialised || facts.members.length === 0) {
    return nothing;
  }
  const waiting = facts.members.filter((replica) => !isBorn(replica));
  if (waiting.length > 0) {
    const youngMs = Math.max(...waiting.map((replica) => BIRTH_MS - ageMs(facts, replica)));
    const isWell = waiting.every(({ node, object }) => node.alive && object?.status?.phase !== 'Failed');
    return isWell && youngMs > 0 ? { lookAgainMs: youngMs } : { notes: waiting.map(waitNote) };
  }
  // What was made from a copy has the data; the others get it from those once the volume is attached.
  const isFilled = facts.world.volume.spec.source !== undefined;
  const inSync = facts.members
    .filter(({ record }) => !isFilled || record.copyUid !== undefined)
    .map(({ name }) => name);
  if (inSync.length === 0) {
    return {
      notes: [{ topic: 'create', reason: 'NoSource', message: 'no replica has the data of its source', blocked: true }],
    };
  }
  const where = facts.members.map((replica) => `${named(replica)}${reasons(replica.record.why)}`).join(', ');
  const message = isFilled
    ? `${inSync.join(', ')} began with the snapshot, without copying: ${where}`
    : `all ${inSync.length} replicas are ready: ${where}`;
  return { record: { kind: 'initialise', inSync, event: { type: 'Normal', reason: 'Created', message } } };
};

/** Its logical volume exists, is exported, and nobody has ever been let in. */
export function isBorn(replica: Pick<Replica, 'object'>): boolean {
  const { object } = replica;
  return (
    object !== undefined &&
    object.spec.state === 'Active' &&
    object.metadata.deletionTimestamp === undefined &&
    object.status?.phase === 'Ready' &&
    object.spec.epoch === 0 &&
    object.spec.hostNqn === ''
  );
}

function ageMs({ nowMs }: Facts, { record }: Replica): number {
  return nowMs - (Date.parse(record.since ?? '') || 0);
}

function waitNote(replica: Replica): Note {
  const status = replica.object?.status;
  const detail = status?.message === undefined || status.message === '' ? '' : `: ${status.message}`;
  const what = !replica.node.alive
    ? 'its storage agent does not answer'
    : status?.phase === 'Failed'
      ? `it failed${detail}`
      : `it is being made${detail}`;
  return { topic: 'create', reason: 'Creating', message: `waits for ${named(replica)}: ${what}` };
}
