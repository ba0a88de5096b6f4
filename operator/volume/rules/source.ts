import type { Facts } from '../facts.ts';
import type { ReplicaRecord } from '../model.ts';
import { placeReplicas, type Demand, type Placed } from './place.ts';

/**
 * Chooses where the first replicas of a volume go. Given one that begins with a snapshot, then as many as possible go where a
 * copy is, in the same pool: they share its blocks, and nothing is copied. At least one must, if none has been placed so before;
 * the others begin empty and get the data when the volume is attached.
 */
export function placeBeginning(facts: Facts, demand: Demand): Placed {
  const { source } = facts.world;
  if (facts.world.volume.spec.source === undefined) return placeReplicas(facts, demand);
  if (source === undefined || !source.ready) return { ok: false, message: source?.why ?? 'its source is not known' };
  const excluded = new Set(demand.exclude.map(({ node }) => node));
  const copies = source.copies.filter(
    ({ storageNode }) =>
      !excluded.has(storageNode) && !demand.keep.some(({ record }) => record.storageNode === storageNode),
  );
  const hasOne = demand.keep.some(({ record }) => record.copyUid !== undefined);
  let refusal = `no copy of the snapshot is on a node that can be used`;
  for (let shared = Math.min(demand.count, copies.length); shared >= (hasOne ? 0 : 1); shared--) {
    const placed = placeShared(facts, demand, copies, shared);
    if (placed.ok) return placed;
    refusal = placed.message;
  }
  return { ok: false, message: `at least one replica must be where a copy of the snapshot is: ${refusal}` };
}

/** `shared` of the replicas where copies are, and the rest anywhere. */
function placeShared(
  facts: Facts,
  demand: Demand,
  copies: readonly { readonly uid: string; readonly storageNode: string; readonly pool: string }[],
  shared: number,
): Placed {
  const near =
    shared === 0
      ? ({ ok: true, records: [], nextReplica: 0, warnings: [] } as const)
      : placeReplicas(facts, { ...demand, count: shared, within: copies });
  if (!near.ok) return near;
  const records = near.records.map((record): ReplicaRecord => {
    const copy = copies.find(({ storageNode, pool }) => storageNode === record.storageNode && pool === record.pool);
    return copy === undefined ? record : { ...record, copyUid: copy.uid };
  });
  if (shared === demand.count) return { ...near, records };
  const far = placeReplicas(facts, {
    ...demand,
    count: demand.count - shared,
    keep: [...demand.keep, ...records.map((record) => ({ name: record.name, record }))],
    firstOrdinal: near.nextReplica,
    copies: true,
  });
  if (!far.ok) return far;
  return { ...far, records: [...records, ...far.records], warnings: [...near.warnings, ...far.warnings] };
}
