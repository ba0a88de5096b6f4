import type { RecordChange } from '../actions.ts';
import type { Decision, Note, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts, Replica } from '../facts.ts';
import { activeObject, isDoomed, named } from '../facts.ts';
import type { ReplicaRecord } from '../model.ts';
import { accessActions, hasConfirmed, targetEpoch } from './access.ts';

/**
 * Given a person's decision to go on from a replica that is not in sync, when no in-sync replica can be reached and no
 * client has the volume, then a new lineage begins: that replica alone is in sync, and all others come back by a full
 * copy only. A client that can't be asked is cut off from that replica first.
 */
export const forceStart: Rule = (facts): Decision => {
  const request = facts.world.volume.spec.forceStart;
  if (request === undefined || request.lineage <= facts.lineage || facts.deleting || !facts.initialised) return nothing;
  const replica = facts.recorded.find(({ name }) => name === request.replica);
  const refusal = refuse(facts, request, replica);
  if (replica === undefined || refusal !== undefined) {
    return { notes: [note('ForceStartRefused', `HF201: force-start from ${request.replica} is refused: ${refusal}`)] };
  }
  const attachment = attachmentAfter(facts, replica);
  if (attachment === undefined) {
    const message = `force-start waits until ${named(replica)} has fenced earlier hosts`;
    return { notes: [{ ...note('ForceStarting', message), blocked: false }] };
  }
  return { record: begin(facts, replica, request.lineage, attachment) };
};

/** Why it can't be done now, or undefined. */
function refuse(
  facts: Facts,
  request: { readonly lineage: number; readonly recordGeneration: number },
  replica: Replica | undefined,
): string | undefined {
  const { session, status } = facts;
  const { recordGeneration = 0 } = status;
  if (request.lineage !== facts.lineage + 1) {
    return `it asks for lineage ${request.lineage}, and the next one is ${facts.lineage + 1}`;
  }
  // Whoever asked was told what would be lost then; more may have been written since.
  if (request.recordGeneration !== recordGeneration) {
    return `it was asked for when the record was number ${request.recordGeneration}, and that has changed to ${recordGeneration}: ask again if it is still wanted`;
  }
  if (replica === undefined) {
    return `the replicas of the volume are ${facts.recorded.map(({ name }) => name).join(', ')}`;
  }
  if (replica.inSync) return 'it is in sync, so nothing has to be forced';
  if (!replica.hasHistory) return 'it never was in sync: what it holds is no state of the volume';
  if (!replica.node.alive) return `its storage node ${replica.record.storageNode} does not answer`;
  const phase = activeObject(replica)?.status?.phase;
  if (isDoomed(replica) || phase === undefined) return 'it was deleted';
  if (phase !== 'Ready') return `it is ${phase}: ${replica.object?.status?.message ?? 'no reason given'}`;
  if (session.kind === 'attached' || session.kind === 'releasing') {
    return `${session.node} has the volume; detach it first (power ${session.node} off if it does not let go)`;
  }
  const reachable = facts.recorded.filter(
    (each) => each.inSync && each.node.alive && (activeObject(each)?.status?.phase ?? 'Failed') !== 'Failed',
  );
  if (reachable.length > 0) {
    return `${reachable.map(named).join(' and ')} can be reached and has every acknowledged write`;
  }
  return (status.inSync ?? []).length === 0 ? 'the record names no replica' : undefined;
}

/** Nobody has the volume: by the record, or because the replica has proved that the former client is gone from it. */
function attachmentAfter(facts: Facts, replica: Replica): RecordAttachment | undefined {
  const { session, attachment } = facts;
  if (session.kind !== 'fencing') return { ...attachment, clean: false };
  const epoch = targetEpoch(facts, '');
  const object = activeObject(replica);
  const isClosed = accessActions(facts, '', epoch).length === 0;
  if (object === undefined || !isClosed || !hasConfirmed(object, epoch)) return undefined;
  return { node: '', hostNqn: '', epoch, clean: false };
}

type RecordAttachment = Facts['attachment'];

function begin(facts: Facts, replica: Replica, lineage: number, attachment: RecordAttachment): RecordChange {
  const { status } = facts;
  const left = status.inSync ?? [];
  const reason = `left behind by the forced start of lineage ${lineage} from ${replica.name}`;
  const at = new Date(facts.nowMs).toISOString();
  // No bitmap knows what the others lack now, whatever it knew before.
  const before = Object.keys(status.outOfSync ?? {}).map((name) => [name, { bootId: null, nqn: null }] as const);
  const after = left.map((name) => [name, { epoch: attachment.epoch, at, reason }] as const);
  return {
    kind: 'forceStart',
    replica: replica.name,
    lineage,
    recordGeneration: (status.recordGeneration ?? 0) + 1,
    replicas: recordsAfter(facts, replica),
    attachment,
    outOfSync: { ...Object.fromEntries([...before, ...after]), [replica.name]: null },
    event: {
      type: 'Warning',
      reason: 'ForceStarted',
      message: `lineage ${lineage} begins from ${named(replica)} by force; what only ${left.join(', ')} held is lost`,
    },
  };
}

/** The one that is chosen is a member again, and what was being made in its place and never held anything leaves. */
function recordsAfter(facts: Facts, chosen: Replica): readonly ReplicaRecord[] {
  const others = facts.members.filter(({ name }) => name !== chosen.name);
  const surplus = Math.max(0, others.length + 1 - facts.world.volume.spec.replicas);
  const unborn = others.filter(({ hasHistory }) => !hasHistory);
  const leaving = unborn.slice(Math.max(0, unborn.length - surplus)).map(({ name }) => name);
  return (facts.status.replicas ?? []).map((record) => ({
    ...record,
    role: record.name === chosen.name ? 'Member' : leaving.includes(record.name) ? 'Leaving' : record.role,
  }));
}

function note(reason: string, message: string): Note {
  return { topic: 'force', reason, message, blocked: true };
}

/** Given a replica that is in sync, then its object says of which lineage its data is, and its disk is told so. */
export const setLineages: Rule = (facts): Decision => ({
  actions: facts.ending
    ? []
    : facts.recorded.flatMap((replica) => {
        const object = activeObject(replica);
        if (!replica.inSync || object === undefined || object.spec.lineage >= facts.lineage) return [];
        const { uid = '' } = object.metadata;
        return [{ kind: 'setLineage', name: replica.name, uid, lineage: facts.lineage } as const];
      }),
});
