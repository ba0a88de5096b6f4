import type { Decision, Rule } from '../decision.ts';
import type { Facts, Replica } from '../facts.ts';
import { named } from '../facts.ts';

/** Replicas whose disks know more of the volume than the API server: the record can't be trusted. */
export function conflicting(facts: Facts): readonly Replica[] {
  return facts.recorded.filter(({ conflict }) => conflict !== undefined);
}

/** Whether the record may be an old one. A volume that is to go needs no record. */
export function hasConflict(facts: Facts): boolean {
  return !facts.ending && conflicting(facts).length > 0;
}

/**
 * Given a replica whose disk knows more than the API server, then nothing is decided about the volume: nobody gets it,
 * nobody is fenced from it, no replica is replaced or erased. A client that has it goes on.
 */
export const hold: Rule = (facts): Decision => {
  const found = conflicting(facts).map((replica) => `${named(replica)}: ${replica.conflict ?? ''}`);
  return {
    notes: [{ topic: 'conflict', reason: 'DiskKnowsBetter', message: `HF200: ${found.join(' | ')}`, blocked: true }],
  };
};
