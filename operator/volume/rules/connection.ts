import { followedOf } from '../actions.ts';
import type { Decision, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts } from '../facts.ts';
import { activeObject } from '../facts.ts';
import { sameJson } from '../merge-patch.ts';
import type { ConnectionLeg, ConnectionSpec, VolumeConnection } from '../model.ts';
import { accessActions } from './access.ts';
import { offeredBytes } from './expand.ts';
import { dismissed } from './replicas.ts';

/**
 * Given an attached volume, then every replica admits its client under its epoch, and the client's connection lists the
 * legs that it may use: members that have fenced earlier hosts. A replica that leaves the volume leaves the list.
 */
export const connect: Rule = (facts): Decision => {
  const { session, attachment, connection } = facts;
  if (session.kind !== 'attached') {
    return nothing;
  }
  const access = accessActions(facts, attachment.hostNqn, attachment.epoch);
  const legs = legsOf(facts);
  if (connection !== undefined) {
    return { actions: [...access, ...followLegs(facts, connection, legs)] };
  }
  const old = facts.oldConnections.find(({ spec }) => spec.node === session.node);
  if (old !== undefined) {
    const message = `attaching to ${session.node}: waits until it has cleaned up after its last attachment`;
    return { actions: access, notes: [{ topic: 'attach', reason: 'Attaching', message }] };
  }
  if (!legs.some(({ replica }) => facts.status.inSync?.includes(replica) ?? false)) {
    const message = `attaching to ${session.node}: waits until an in-sync replica is exported`;
    return { actions: access, notes: [{ topic: 'attach', reason: 'Attaching', message, blocked: true }] };
  }
  return {
    actions: [
      ...access,
      {
        kind: 'createConnection',
        name: `${facts.name}.${session.node}`,
        spec: {
          volume: facts.name,
          volumeUid: facts.uid,
          node: session.node,
          epoch: attachment.epoch,
          sizeBytes: offeredBytes(facts),
          ...timing(facts),
          raidDisks: facts.members.length,
          legs: [...legs],
        },
      },
    ],
    notes: [{ topic: 'attach', reason: 'Attaching', message: `attaching to ${session.node}: it connects the legs` }],
  };
};

/**
 * The members whose export admits this attachment's client and no other. A leg that is listed stays listed while its
 * member belongs to the volume: an agent that restarts, or whose node reboots, may say nothing about it for a moment.
 */
export function legsOf(facts: Facts): readonly ConnectionLeg[] {
  const listed = facts.connection?.spec.legs ?? [];
  const unwanted = dismissed(facts);
  return facts.members.flatMap((replica): readonly ConnectionLeg[] => {
    if (unwanted.includes(replica)) return [];
    const object = activeObject(replica);
    const uid = object?.metadata.uid ?? '';
    const { nqn, address, port, fencedEpoch = -1, drained } = object?.status ?? {};
    const open = object?.spec.epoch === facts.attachment.epoch && fencedEpoch >= facts.attachment.epoch;
    if (open && nqn !== undefined && address !== undefined && port !== undefined) {
      const leg = { replica: replica.name, uid, nqn, address, port };
      return [drained === undefined ? leg : { ...leg, drained }];
    }
    return object === undefined ? [] : listed.filter((leg) => leg.replica === replica.name && leg.uid === uid);
  });
}

function names(legs: readonly ConnectionLeg[]): readonly string[] {
  return legs.map(({ replica }) => replica);
}

/** What keeps a connection up to date with the volume: also while it is let go, as its client's I/O may wait for a leg. */
export function followLegs(
  facts: Facts,
  { metadata, spec: present }: Pick<VolumeConnection, 'metadata' | 'spec'>,
  legs: readonly ConnectionLeg[] = legsOf(facts),
) {
  const { name, uid = '' } = metadata;
  const sizeBytes = Math.max(present.sizeBytes, offeredBytes(facts));
  const raidDisks = facts.members.length;
  const wanted = { sizeBytes, raidDisks, legs: [...legs], ...timing(facts), epoch: facts.attachment.epoch };
  if (sameJson(wanted, followedOf(present))) return [];
  const added = names(legs).filter((leg) => !names(present.legs).includes(leg));
  const removed = names(present.legs).filter((leg) => !names(legs).includes(leg));
  const parts = [
    ...(added.length > 0 ? [`${present.node} is to connect ${added.join(', ')}`] : []),
    ...(removed.length > 0 ? [`${present.node} is to drop ${removed.join(', ')}`] : []),
  ];
  if (sizeBytes > present.sizeBytes) parts.push(`${present.node} is to grow its array to ${sizeBytes} bytes`);
  const why = parts.length === 0 ? `${present.node} is told of changed legs` : parts.join('; ');
  return [{ kind: 'updateConnection', name, uid, spec: wanted, why } as const];
}

/** What the volume says about waiting for legs. */
function timing(facts: Facts): Pick<ConnectionSpec, 'legTimeout' | 'onControlPlaneLoss' | 'onSlowLeg'> {
  const { legTimeout, onControlPlaneLoss, onSlowLeg } = facts.world.volume.spec.healing;
  return { legTimeout, onControlPlaneLoss, onSlowLeg };
}
