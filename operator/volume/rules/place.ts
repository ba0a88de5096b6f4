import { legSizeBytes } from '../../../lib/api/names.ts';
import { volumeBytes } from '../../../lib/api/size.ts';
import { place } from '../../placement/place.ts';
import type { Exclusion, PlaceResult } from '../../placement/place.ts';
import type { CandidateNode } from '../../placement/request.ts';
import { PlacementSpecError, fromSpec } from '../../placement/spec.ts';
import type { Decision, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts, Replica } from '../facts.ts';
import type { ReplicaRecord } from '../model.ts';
import { placeBeginning } from './source.ts';

export interface Demand {
  readonly count: number;
  /** The replicas that stay, with which the new ones must fit. */
  readonly keep: readonly Pick<Replica, 'name' | 'record'>[];
  readonly exclude: readonly Exclusion[];
  /** Names begin here at least. */
  readonly firstOrdinal?: number;
  /** Only in these pools. */
  readonly within?: readonly { readonly storageNode: string; readonly pool: string }[];
  /** Data is copied to the new replica at once: the whole volume. */
  readonly copies?: boolean;
}

export type Placed =
  | {
      readonly ok: true;
      readonly records: readonly ReplicaRecord[];
      readonly nextReplica: number;
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly message: string };

/** Chooses storage nodes for new replicas and gives them names that were never used. */
export function placeReplicas(facts: Facts, demand: Demand): Placed {
  const result = ask(facts, demand);
  if (!result.ok) {
    return { ok: false, message: result.message };
  }
  const first = Math.max(firstFreeOrdinal(facts), demand.firstOrdinal ?? 0);
  const records = result.choices.map((choice, i): ReplicaRecord => ({
    name: `${facts.name}-r${first + i}`,
    storageNode: choice.node,
    pool: choice.pool,
    role: 'Member',
    since: new Date(facts.nowMs).toISOString(),
    why: [...choice.why],
  }));
  return { ok: true, records, nextReplica: first + records.length, warnings: result.warnings };
}

function ask(facts: Facts, demand: Demand): PlaceResult | { readonly ok: false; readonly message: string } {
  const { world } = facts;
  const nodes = world.candidates().map((node) => within(node, demand));
  const { spec } = world.volume;
  const labelsOf = (node: string) => nodes.find(({ name }) => name === node)?.labels;
  const sizeBytes = legSizeBytes(volumeBytes(world.volume));
  try {
    return place({
      volumeUid: facts.uid,
      placement: fromSpec(spec.placement),
      nodes,
      members: demand.keep.map(({ name, record }) => ({
        replica: name,
        node: record.storageNode,
        labels: labelsOf(record.storageNode),
      })),
      exclude: demand.exclude,
      count: demand.count,
      sizeBytes,
      thick: spec.provisioning === 'Thick',
      ...(demand.copies === true ? { initialBytes: sizeBytes } : {}),
      ...(spec.clientLabels === undefined ? {} : { clientLabels: spec.clientLabels }),
    });
  } catch (error) {
    // Only a mistake in the volume's own placement is an answer; anything else is a bug and must be seen.
    if (error instanceof PlacementSpecError) {
      return { ok: false, message: error.message };
    }
    throw error;
  }
}

/** The node as it is offered for a demand: with those of its pools that may be used. */
function within(node: CandidateNode, demand: Demand): CandidateNode {
  if (demand.within === undefined) return node;
  const names = demand.within.filter(({ storageNode }) => storageNode === node.name).map(({ pool }) => pool);
  return { ...node, pools: node.pools.filter(({ name }) => names.includes(name)) };
}

/**
 * Above every ordinal of the record and of every object, so that the name of an old orphan is not used again. Once a volume
 * holds data, it is at least the volume's age in seconds: an API server that was restored from a backup has forgotten
 * names that disks bear, and a replica that is made since must not have one of them.
 */
function firstFreeOrdinal(facts: Facts): number {
  const prefix = `${facts.name}-r`;
  const taken = [...facts.world.replicas.map(({ metadata }) => metadata.name), ...facts.recorded.map((r) => r.name)]
    .filter((name) => name.startsWith(prefix))
    .map((name) => Number(name.slice(prefix.length)))
    .filter((ordinal) => Number.isInteger(ordinal));
  const createdMs = Date.parse(facts.world.volume.metadata.creationTimestamp ?? '');
  const ageS = facts.initialised && createdMs <= facts.nowMs ? Math.floor((facts.nowMs - createdMs) / 1000) : 0;
  return Math.max(facts.status.nextReplica ?? 0, ageS, ...taken.map((ordinal) => ordinal + 1));
}

/**
 * Given a volume that has no replicas, when enough storage nodes satisfy its placement, then all its replicas are
 * recorded in one write; when they don't, the refusal is told and it waits for storage nodes to change.
 */
export const placeVolume: Rule = (facts): Decision => {
  if (facts.ending || facts.initialised || facts.recorded.length > 0) {
    return nothing;
  }
  const count = facts.world.volume.spec.replicas;
  const placed = placeBeginning(facts, { count, keep: [], exclude: [] });
  if (!placed.ok) {
    return { notes: [{ topic: 'place', reason: 'NoPlace', message: placed.message, blocked: true }] };
  }
  return {
    record: {
      kind: 'place',
      replicas: placed.records,
      nextReplica: placed.nextReplica,
      event:
        placed.warnings.length === 0
          ? undefined
          : { type: 'Normal', reason: 'Placed', message: placed.warnings.join('; ') },
    },
  };
};
