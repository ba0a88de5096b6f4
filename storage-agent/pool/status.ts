import {
  formatBytes,
  setCondition,
  type ObservedCondition,
  type StorageNode,
  type StorageNodeStatus,
} from '../../lib/api/index.ts';
import type { PoolOutcome } from './setup.ts';
import type { UnknownReplica } from './unknown.ts';

/** The API takes this many. */
const MOST_UNKNOWN = 512;

/** What the status of a node is made from. */
export interface NodeFacts {
  readonly outcomes: readonly PoolOutcome[];
  /** Why the NVMe target doesn't work, or undefined when it does. */
  readonly targetProblem: string | undefined;
  readonly unknownReplicas: readonly UnknownReplica[];
  readonly agentVersion: string;
  readonly bootId: string;
}

function readyCondition(facts: NodeFacts): ObservedCondition {
  if (facts.targetProblem !== undefined) {
    return { type: 'Ready', status: 'False', reason: 'TargetNotReady', message: `HF305: ${facts.targetProblem}` };
  }
  const refused = facts.outcomes.filter((outcome) => outcome.figures === undefined);
  const [first] = refused;
  if (first !== undefined) {
    const message = refused
      .map(({ pool, problem }) => `${problem.code}: pool "${pool}": ${problem.message}`)
      .join(' | ');
    return { type: 'Ready', status: 'False', reason: first.problem.reason, message };
  }
  const names = facts.outcomes.map((outcome) => `"${outcome.pool}"`).join(', ');
  return { type: 'Ready', status: 'True', reason: 'PoolsReady', message: `pool ${names} can be used` };
}

function warningCondition(facts: NodeFacts): ObservedCondition {
  const warnings = facts.outcomes.flatMap(({ figures, pool, problem }) =>
    figures === undefined || problem === undefined ? [] : [{ pool, ...problem }],
  );
  const [first] = warnings;
  if (first === undefined) {
    return { type: 'PoolWarning', status: 'False', reason: 'NoWarning', message: 'no pool needs attention' };
  }
  const message = warnings.map((each) => `${each.code}: pool "${each.pool}": ${each.message}`).join(' | ');
  return { type: 'PoolWarning', status: 'True', reason: first.reason, message };
}

function unknownCondition(facts: NodeFacts): ObservedCondition {
  const names = facts.unknownReplicas.map(({ logicalVolume }) => logicalVolume);
  if (names.length === 0) {
    const message = 'every replica on disk has its object';
    return { type: 'UnknownReplicas', status: 'False', reason: 'NoneFound', message };
  }
  const message = `HF312: no VolumeReplica has the UID of ${names.join(', ')}; they are kept, and holdfast recover can take them up`;
  return { type: 'UnknownReplicas', status: 'True', reason: 'ReplicasWithoutObject', message };
}

/** The whole status of this node's StorageNode. */
export function nodeStatus(node: StorageNode, facts: NodeFacts, now: Date): StorageNodeStatus {
  const pools = facts.outcomes.flatMap((outcome) => (outcome.figures === undefined ? [] : [outcome.figures]));
  const sum = (pick: (figures: (typeof pools)[number]) => number): string =>
    formatBytes(pools.reduce((total, figures) => total + pick(figures), 0));
  const observed = [readyCondition(facts), warningCondition(facts), unknownCondition(facts)];
  const generation = node.metadata.generation;
  return {
    agentVersion: facts.agentVersion,
    bootId: facts.bootId,
    summary: {
      capacity: sum((figures) => figures.capacityBytes),
      used: sum((figures) => figures.usedBytes),
      provisioned: sum((figures) => figures.provisionedBytes),
    },
    pools,
    unknownReplicas: facts.unknownReplicas.slice(0, MOST_UNKNOWN).map((each) => ({ ...each })),
    conditions: observed.reduce(
      (conditions, condition) => setCondition(conditions, { ...condition, observedGeneration: generation }, now),
      node.status?.conditions ?? [],
    ),
  };
}
