import type { Action } from '../actions.ts';
import type { Decision, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts } from '../facts.ts';
import { accessActions, fenceState, fenceWait, targetEpoch } from './access.ts';
import { followLegs } from './connection.ts';

/**
 * Given a client that is alive, when the volume is no longer meant for it, then its connection is deleted and the client
 * is waited for: it unmounts, stops the array, says that it was clean, and lets the connection go. Meanwhile it is told of
 * legs that come back under other names, as what it has to finish may wait for them.
 */
export const release: Rule = (facts): Decision => {
  const { session } = facts;
  if (session.kind !== 'releasing') {
    return nothing;
  }
  const { node, connection } = session;
  const told = connection.status?.message;
  const message = `detaching: waits until ${node} has stopped the array and let go${told ? ` (it says: ${told})` : ''}`;
  return {
    actions: [...deleteConnection(connection, `${node} is to let go of the volume`), ...followLegs(facts, connection)],
    notes: [{ topic: 'detach', reason: 'Detaching', message }],
  };
};

/** Given a client that stopped its array in order and let its connection go, then nobody has the volume. */
export const released: Rule = (facts): Decision => {
  const { session, attachment } = facts;
  if (session.kind !== 'released') {
    return nothing;
  }
  return {
    record: {
      kind: 'released',
      attachment: { ...attachment, node: '', hostNqn: '' },
      event: { type: 'Normal', reason: 'Detached', message: `${session.node} has let go of the volume` },
    },
  };
};

/**
 * Given a client that is dead or has gone without stopping its array, when the volume is no longer meant for it, then
 * every replica is closed under a higher epoch; when the in-sync replicas that can be asked have confirmed, then nobody
 * has the volume, and the record says that the array was not stopped in order.
 */
export const fence: Rule = (facts): Decision => {
  const { session, connection } = facts;
  if (session.kind !== 'fencing') {
    return nothing;
  }
  const epoch = targetEpoch(facts, '');
  const gone = connection === undefined ? [] : deleteConnection(connection, `${session.node} is being fenced`);
  const actions = [...gone, ...accessActions(facts, '', epoch)];
  if (actions.length > 0) {
    return { actions, notes: [note(session.why, 'closes the replicas to every host', false)] };
  }
  const state = fenceState(facts, epoch);
  if (!state.done) {
    const { message, blocked } = fenceWait(facts, state);
    return { notes: [note(session.why, message, blocked)] };
  }
  return {
    record: {
      kind: 'fenced',
      attachment: { node: '', hostNqn: '', epoch, clean: false },
      event: {
        type: 'Warning',
        reason: 'ClientFenced',
        message: `${session.node} is cut off since epoch ${epoch}: ${session.why}`,
      },
    },
  };
};

function note(why: string, message: string, blocked: boolean) {
  return { topic: 'detach', reason: 'Fencing', message: `fencing, as ${why}: ${message}`, blocked } as const;
}

/**
 * Given a connection of an earlier attachment, then it is deleted. Its client takes its own finalizer off after it has
 * killed the users of the old array. Until then that client is not let in again (`attach`): the replicas know it by its
 * name alone, and what is left of the old array would write on. Where nobody can be let in again, as the volume is being
 * deleted or was another one, a dead and fenced client is not waited for: the operator takes the finalizer off.
 */
export const sweepConnections: Rule = (facts): Decision => ({
  actions: facts.oldConnections.flatMap((connection): readonly Action[] => {
    const { name, uid = '', deletionTimestamp, finalizers = [] } = connection.metadata;
    if (deletionTimestamp === undefined) {
      return deleteConnection(connection, `${connection.spec.node} has it no longer`);
    }
    const alive = facts.world.clients.get(connection.spec.node)?.alive ?? false;
    const isOver = facts.ending || connection.spec.volumeUid !== facts.uid;
    return isOver && !alive && finalizers.length > 0 && isFenced(facts, connection.spec)
      ? [{ kind: 'releaseConnection', name, uid, epoch: facts.attachment.epoch }]
      : [];
  }),
});

/** A higher epoch has been recorded, or the connection belongs to an earlier volume of the same name. */
function isFenced(facts: Facts, spec: { readonly epoch: number; readonly volumeUid: string }): boolean {
  return spec.volumeUid !== facts.uid || spec.epoch < facts.attachment.epoch;
}

function deleteConnection(
  connection: {
    readonly metadata: { readonly name: string; readonly uid?: string; readonly deletionTimestamp?: string };
  },
  why: string,
): readonly Action[] {
  const { name, uid = '', deletionTimestamp } = connection.metadata;
  return deletionTimestamp === undefined ? [{ kind: 'deleteConnection', name, uid, why }] : [];
}
