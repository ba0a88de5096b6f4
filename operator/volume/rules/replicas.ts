import type { Decision, Note, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts, Replica } from '../facts.ts';
import { named } from '../facts.ts';
import { exclusions, withLeaving } from './heal.ts';
import { placeReplicas } from './place.ts';

/*
 * How many replicas a volume has. More of them (spec.replicas was raised) are placed and filled while it is used. Of
 * superfluous ones the client lets go first (it is told of fewer legs); those that then hold nothing the others don't leave.
 */

/** Members beyond the wanted number that hold nothing the others don't: as many as wanted are in sync without them. */
function spareMembers({ members, world }: Facts, surplus: number): readonly Replica[] {
  const enough = members.filter(({ inSync }) => inSync).length >= world.volume.spec.replicas;
  const behind = members.filter(({ inSync }) => !inSync);
  return enough && surplus > 0 ? behind.slice(Math.max(0, behind.length - surplus)) : [];
}

/**
 * In-sync members whose legs an attached client is not to hold any more, as enough others are in sync: those first whose
 * storage node does not answer or is to be emptied, then the youngest. Always the same ones while nothing changes.
 */
export function dismissed(facts: Facts): readonly Replica[] {
  const { members, session, world, connectedSinceMs } = facts;
  const wanted = world.volume.spec.replicas;
  if (session.kind !== 'attached' || connectedSinceMs === undefined || members.length <= wanted) return [];
  const counting = members.filter(({ inSync }) => inSync);
  const surplus = counting.length - wanted;
  if (surplus <= 0) return [];
  const draining = new Set(
    world
      .candidates()
      .filter((node) => node.draining || node.cordoned)
      .map(({ name }) => name),
  );
  const rank = ({ node, record }: Replica): number => (node.alive ? (draining.has(record.storageNode) ? 1 : 2) : 0);
  return counting
    .map((replica, at) => ({ replica, at }))
    .toSorted((a, b) => rank(a.replica) - rank(b.replica) || b.at - a.at)
    .slice(0, surplus)
    .map(({ replica }) => replica);
}

/**
 * Given a volume with fewer members than `spec.replicas` (which was raised), when nobody uses it or its client has its device,
 * then the missing members are placed; the client fills them. Given more (it was lowered, or the volume was recovered), when
 * enough are in sync, then those that are not leave.
 */
export const adjustReplicas: Rule = (facts): Decision => {
  const missing = facts.world.volume.spec.replicas - facts.members.length;
  if (facts.ending || !facts.initialised || missing === 0) return nothing;
  const surplus = spareMembers(facts, -missing);
  if (surplus.length > 0) {
    return {
      record: {
        kind: 'replace',
        replicas: withLeaving(facts, surplus),
        nextReplica: facts.status.nextReplica ?? 0,
        leaving: surplus.map(({ name }) => name),
        event: {
          type: 'Normal',
          reason: 'ReplicaSpare',
          message: `${surplus.map(named).join(', ')} is not needed any more`,
        },
      },
    };
  }
  return missing < 0 ? { notes: [tooMany(facts)] } : add(facts, missing);
};

/** What a superfluous replica waits for. */
function tooMany(facts: Facts): Note {
  const going = dismissed(facts);
  const count = `${facts.members.length} replicas where ${facts.world.volume.spec.replicas} are wanted`;
  const message =
    going.length > 0
      ? `${count}: ${facts.attachment.node} is to let go of ${going.map(named).join(', ')}`
      : `${count}: one leaves when the volume is attached and enough others are in sync`;
  return { topic: 'replicas', reason: 'TooMany', message };
}

function add(facts: Facts, missing: number): Decision {
  const isUsed = facts.session.kind === 'attached' && facts.connectedSinceMs !== undefined;
  if (facts.session.kind !== 'detached' && !isUsed) {
    const message = `${missing} more replicas (spec.replicas was raised) are added when the volume is attached, or detached`;
    return { notes: [{ topic: 'replicas', reason: 'TooFew', message }] };
  }
  if (facts.world.volume.spec.healing.paused) {
    const message = `${missing} more replicas are not added while healing is paused (spec.healing.paused)`;
    return { notes: [{ topic: 'replicas', reason: 'Paused', message, blocked: true }] };
  }
  const exclude = exclusions(facts, []);
  const placed = placeReplicas(facts, { count: missing, keep: facts.members, exclude, copies: true });
  if (!placed.ok) {
    return {
      notes: [{ topic: 'replicas', reason: 'NoPlace', message: placed.message, blocked: true }],
      lookAgainMs: facts.settings.retryMs,
    };
  }
  const where = placed.records.map(({ name, storageNode }) => `${name} on ${storageNode}`).join(', ');
  return {
    record: {
      kind: 'replace',
      replicas: [...withLeaving(facts, []), ...placed.records],
      nextReplica: placed.nextReplica,
      leaving: [],
      event: { type: 'Normal', reason: 'ReplicasAdded', message: `added ${where}` },
    },
  };
}
