import type { Decision, Rule } from '../decision.ts';
import type { Facts, Replica } from '../facts.ts';
import { named } from '../facts.ts';

/** Replicas whose disks know more of the volume than the API server: the record can't be trusted. */
export function conflicting(facts: Facts): readonly Replica[] {
  return facts.recorded.filter(({ conflict }) => conflict !== undefined);
}

/**
 * Replicas of a volume of this name that storage nodes hold without an object, while this one has never held data. They are
 * what a restored API server has forgotten: an empty volume must not take their place.
 */
function unclaimed({ initialised, world }: Facts): readonly string[] {
  return initialised ? [] : (world.unknownReplicas?.() ?? []);
}

/** Whether the record may be an old one. A volume that is to go needs no record. */
export function hasConflict(facts: Facts): boolean {
  return !facts.ending && (conflicting(facts).length > 0 || unclaimed(facts).length > 0);
}

/**
 * Given a disk that knows more than the API server, then nothing is decided about the volume: nobody gets it,
 * nobody is fenced from it, no replica is replaced or erased. A client that has it goes on.
 */
export const hold: Rule = (facts): Decision => {
  const found = conflicting(facts).map((replica) => `${named(replica)}: ${replica.conflict ?? ''}`);
  const onDisk = unclaimed(facts);
  const forgotten = `storage nodes hold replicas of a volume of this name for which there are no objects (${onDisk.join(', ')}); an empty volume must not take its place: see holdfast recover`;
  const message = `HF200: ${[...found, ...(onDisk.length === 0 ? [] : [forgotten])].join(' | ')}`;
  return { notes: [{ topic: 'conflict', reason: 'DiskKnowsBetter', message, blocked: true }] };
};
