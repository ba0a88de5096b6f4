import type { Decision, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import { named } from '../facts.ts';
import { accessActions, fenceState, fenceWait, silentWitnesses, targetEpoch } from './access.ts';

/**
 * Given a volume that nobody has, when a client is to get it, then every replica is opened to that client alone under a
 * higher epoch; when the in-sync replicas that can be asked have confirmed that earlier hosts are gone, then the
 * attachment is granted. Whether the array was stopped in order stays as it was: the new client must know.
 *
 * A client that still has to clean up after an earlier attachment is not let in before: the replicas know it by its name
 * alone, and what is left of the old array would write on.
 */
export const attach: Rule = (facts): Decision => {
  const { session, attachment } = facts;
  if (session.kind !== 'attaching') {
    return nothing;
  }
  const { node, hostNqn } = session;
  if (facts.oldConnections.some(({ spec }) => spec.node === node && spec.volumeUid === facts.uid)) {
    return { notes: [note(node, 'waits until it has cleaned up after its last attachment', false)] };
  }
  const epoch = targetEpoch(facts, hostNqn);
  const actions = accessActions(facts, hostNqn, epoch);
  if (actions.length > 0) {
    return { actions, notes: [note(node, `opens the replicas to ${node}`, false)] };
  }
  const fence = fenceState(facts, epoch);
  if (!fence.done) {
    const { message, blocked } = fenceWait(facts, fence);
    return { notes: [note(node, message, blocked)] };
  }
  const witnesses = silentWitnesses(facts, epoch);
  if (witnesses.length > 0) {
    const message = `waits until ${witnesses.map(named).join(' and ')} has compared its disk with the record`;
    return { notes: [note(node, message, false)] };
  }
  return {
    record: {
      kind: 'grant',
      attachment: { node, hostNqn, epoch, clean: attachment.clean },
      event: { type: 'Normal', reason: 'AttachmentGranted', message: `${node} may write, epoch ${epoch}` },
    },
  };
};

function note(node: string, message: string, blocked: boolean) {
  return { topic: 'attach', reason: 'Attaching', message: `attaching to ${node}: ${message}`, blocked } as const;
}
