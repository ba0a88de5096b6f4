import { freeBytes } from './capacity.ts';
import { labelValue } from './labels.ts';
import type { Labels } from './labels.ts';
import type { CandidateNode, PlaceRequest, Pool } from './request.ts';
import type { DistinctRule, Goal, SameRule } from './types.ts';

/** A node that passed the filters, and the pool its replica would go to. */
export interface Eligible {
  readonly node: CandidateNode;
  readonly pool: Pool;
}

/**
 * Named weights. Scores are integers, so that equal sets are really equal and no rounding noise decides a tie. A goal
 * that is fully met by one replica is worth its weight (1-100) times `thousandth` times `goalStep`.
 */
export const scoreUnits = {
  /** Points are counted in thousandths of a goal's weight: smaller differences are a tie. */
  thousandth: 1000,
  /** Fewer replicas on a node decide among sets that all goals find equal: at most this, less than one thousandth. */
  balanceMost: 9_999,
  /** One thousandth of a weight point; more than `balanceMost` times the 8 replicas of a volume. */
  goalStep: 100_000,
} as const;

/** A goal about two replicas: worth `unit` for each pair of replicas that meets it. */
export interface PairGoal {
  readonly rule: (DistinctRule | SameRule) & { readonly weight: number };
  readonly unit: number;
}

/**
 * The `distinct` and `same` goals. Each is worth its weight per placed replica when all pairs meet it; the pairs among
 * the staying members don't count, as no choice changes them.
 */
export function pairGoals(request: PlaceRequest): readonly PairGoal[] {
  const pairs = request.count - 1 + 2 * request.members.length;
  return request.placement.goals.flatMap((rule) =>
    (rule.kind === 'distinct' || rule.kind === 'same') && pairs > 0
      ? [{ rule, unit: Math.round((2 * rule.weight * scoreUnits.thousandth) / pairs) * scoreUnits.goalStep }]
      : [],
  );
}

/** Whether two nodes meet a `distinct` or `same` goal; a node without the label never does. */
export function meetsPair(rule: DistinctRule | SameRule, a: Labels | undefined, b: Labels | undefined): boolean {
  const left = labelValue(a, rule.label);
  const right = labelValue(b, rule.label);
  return left !== undefined && right !== undefined && (left === right) === (rule.kind === 'same');
}

/** Scores each eligible node on its own: goals about the node, pairs with the members, and the balance. */
export function scoreNodes(request: PlaceRequest, eligible: readonly Eligible[]): readonly number[] {
  const goals = request.placement.goals.map((goal) => nodeGoal(goal, request, eligible));
  const pairs = pairGoals(request);
  const mostReplicas = eligible.reduce((most, { node }) => Math.max(most, node.replicaCount), 0);
  return eligible.map((entry) => {
    const own = goals.reduce((sum, score) => sum + score(entry), 0);
    const withMembers = pairs.reduce((sum, { rule, unit }) => {
      const met = request.members.filter((member) => meetsPair(rule, member.labels, entry.node.labels)).length;
      return sum + unit * met;
    }, 0);
    return own + withMembers + Math.min(scoreUnits.balanceMost, mostReplicas - entry.node.replicaCount);
  });
}

function nodeGoal(goal: Goal, request: PlaceRequest, eligible: readonly Eligible[]): (entry: Eligible) => number {
  const points = (share: number) => Math.round(goal.weight * scoreUnits.thousandth * share) * scoreUnits.goalStep;
  switch (goal.kind) {
    case 'distinct':
    case 'same':
      return () => 0;
    case 'in':
      return ({ node }) => points(goal.values.includes(labelValue(node.labels, goal.label) ?? '\0') ? 1 : 0);
    case 'near': {
      const keys = nearKeys(request, eligible, goal.label);
      return ({ node }) =>
        points(keys.length === 0 ? 0 : sharedKeys(keys, node.labels, request.clientLabels).length / keys.length);
    }
    case 'spread': {
      const scale = capacityScale(eligible);
      return ({ pool }) => points(1 - (scale.mostFreeBytes - freeBytes(pool)) / scale.spanBytes);
    }
  }
}

/**
 * The labels that `near(client)` compares: the named one, or each label of the client that some eligible node shares
 * and some doesn't. What all nodes share (an operating system, an architecture) says nothing about nearness.
 */
export function nearKeys(request: PlaceRequest, eligible: readonly Eligible[], label?: string): readonly string[] {
  const client = request.clientLabels ?? {};
  if (label !== undefined) {
    return labelValue(client, label) === undefined ? [] : [label];
  }
  return Object.keys(client)
    .filter((key) => {
      const sharing = eligible.filter(({ node }) => labelValue(node.labels, key) === client[key]).length;
      return sharing > 0 && sharing < eligible.length;
    })
    .toSorted();
}

/** Those of `keys` for which the node has the client's value. */
export function sharedKeys(keys: readonly string[], node: Labels, client: Labels | undefined): readonly string[] {
  return keys.filter((key) => {
    const value = labelValue(client, key);
    return value !== undefined && labelValue(node, key) === value;
  });
}

/**
 * `spread(capacity)` counts how far a node is behind the emptiest one, as a share of the largest pool (or of the whole
 * range, when pools are over-provisioned): a few MiB more hardly matter, half a pool does.
 */
function capacityScale(eligible: readonly Eligible[]): { mostFreeBytes: number; spanBytes: number } {
  let mostFreeBytes = -Infinity;
  let leastFreeBytes = Infinity;
  let largestBytes = 1;
  for (const { pool } of eligible) {
    mostFreeBytes = Math.max(mostFreeBytes, freeBytes(pool));
    leastFreeBytes = Math.min(leastFreeBytes, freeBytes(pool));
    largestBytes = Math.max(largestBytes, pool.capacityBytes);
  }
  return { mostFreeBytes, spanBytes: Math.max(largestBytes, mostFreeBytes - leastFreeBytes) };
}
