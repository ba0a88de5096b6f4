import type { Decision, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import { activeObject } from '../facts.ts';

/**
 * Given an attached client that has lost a leg, or was booted again, when it asks that all it has sent to a replica before
 * be proved to have ended, then the replica's storage agent is told. The answer goes back with the client's legs.
 */
export const drain: Rule = (facts): Decision => {
  if (facts.session.kind !== 'attached') return nothing;
  const actions = facts.recorded.flatMap((replica) => {
    const object = activeObject(replica);
    const asked = replica.leg?.drain ?? 0;
    if (object === undefined || object.spec.drain >= asked) return [];
    return [{ kind: 'setDrain', name: replica.name, uid: object.metadata.uid ?? '', drain: asked } as const];
  });
  return { actions };
};
