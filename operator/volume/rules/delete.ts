import { OPERATOR_FINALIZER } from '../../../lib/api/names.ts';
import type { Decision, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts } from '../facts.ts';

/** Given a volume that is to live, when it does not hold the operator's finalizer, then it gets it before anything else. */
export const holdVolume: Rule = (facts): Decision =>
  facts.deleting || isHeld(facts) ? nothing : { actions: [{ kind: 'addFinalizer' }] };

/**
 * Given a volume that is being deleted, when it is attached, then it is kept and says so. When nobody has it and no connection
 * is left, then it goes. Its replicas become orphans once it is gone: what can be lost is proved by then, and their storage
 * agents need not wait for it (see `strays.ts`).
 */
export const deleteVolume: Rule = (facts): Decision => {
  if (!facts.deleting || !isHeld(facts)) {
    return nothing;
  }
  const { node } = facts.attachment;
  if (!facts.ending) {
    const asked = facts.world.volume.spec.attachTo === node;
    const message = asked
      ? `deletion waits: the volume is attached to ${node}; detach it first`
      : `deletion waits until the volume is detached from ${node}`;
    return { notes: [{ topic: 'delete', reason: 'Attached', message, blocked: asked }] };
  }
  if (facts.world.connections.length > 0) {
    const clients = facts.world.connections.map(({ spec }) => spec.node).join(', ');
    return { notes: [{ topic: 'delete', reason: 'Connected', message: `deletion waits until ${clients} has let go` }] };
  }
  return { actions: [{ kind: 'removeFinalizer' }] };
};

export function isHeld(facts: Pick<Facts, 'world'>): boolean {
  return facts.world.volume.metadata.finalizers?.includes(OPERATOR_FINALIZER) ?? false;
}
