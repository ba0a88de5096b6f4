import { choosePool } from './capacity.ts';
import { applyFilters } from './filters.ts';
import { hash32 } from './hash.ts';
import { labelValue } from './labels.ts';
import { refusal } from './refusal.ts';
import type { Effort, PlaceRequest, PlaceResult } from './request.ts';
import { pairGoals, scoreNodes } from './score.ts';
import type { Eligible } from './score.ts';
import { search } from './search.ts';
import type { SearchProblem } from './search.ts';
import { limits } from './types.ts';
import { placementWarnings } from './warnings.ts';
import { explainChoices } from './why.ts';

export type * from './request.ts';

/**
 * Chooses the nodes and pools for `count` new replicas of a volume, all or none: filters first, then the set with the
 * best weighted score, then a tie-break by a hash of the volume's UID and the node's name. The result doesn't depend on
 * the order of `nodes`.
 *
 * @throws RangeError when the request itself is wrong (a count above 8, a negative size, a node listed twice); a
 *   placement that can't be satisfied is not an error but a refusal
 */
export function place(request: PlaceRequest): PlaceResult {
  checkRequest(request);
  const { eligible: nodes, removed } = applyFilters(request);
  const eligible = ranked(request, withPools(request, nodes));
  const found = search(problemOf(request, eligible));
  const effort: Effort = { evaluations: request.nodes.length + found.evaluations, exact: found.exact };
  if (found.chosen === undefined) {
    const message = refusal({ request, eligible: eligible.map(({ node }) => node), removed, effort });
    return { ok: false, message, removed, effort };
  }
  const chosen = found.chosen.flatMap((index) => eligible[index] ?? []);
  const choices = explainChoices(request, eligible, chosen);
  return { ok: true, choices, removed, warnings: placementWarnings(request), effort };
}

interface Ranked extends Eligible {
  readonly own: number;
}

function withPools(request: PlaceRequest, nodes: PlaceRequest['nodes']): readonly Eligible[] {
  return nodes.flatMap((node) => {
    const choice = choosePool(node, request);
    return 'pool' in choice ? [{ node, pool: choice.pool }] : [];
  });
}

/** Best first; among equals by the tie-break. */
function ranked(request: PlaceRequest, eligible: readonly Eligible[]): readonly Ranked[] {
  const scores = scoreNodes(request, eligible);
  return eligible
    .map((entry, i) => ({ ...entry, own: scores[i] ?? 0, tie: hash32(`${request.volumeUid}/${entry.node.name}`) }))
    .toSorted((a, b) => b.own - a.own || a.tie - b.tie || (a.node.name < b.node.name ? -1 : 1));
}

/** Label values become numbers, one column for each label that a rule about several replicas names. */
function problemOf(request: PlaceRequest, eligible: readonly Ranked[]): SearchProblem {
  const { constraints } = request.placement;
  const pairs = pairGoals(request);
  const labelsOf = (kind: string) => constraints.filter((rule) => rule.kind === kind).map((rule) => rule.label);
  const columns = [...new Set([...labelsOf('distinct'), ...labelsOf('same'), ...pairs.map(({ rule }) => rule.label)])];
  const columnsOf = (labels: readonly string[]) => [...new Set(labels)].map((label) => columns.indexOf(label));
  const numbers = columns.map(() => new Map<string, number>());
  const numberOf = (column: number, value: string | undefined): number => {
    const known = numbers[column];
    if (value === undefined || known === undefined) {
      return -1;
    }
    const number = known.get(value) ?? known.size;
    known.set(value, number);
    return number;
  };
  return {
    items: eligible.map(({ node, own }) => ({
      own,
      values: columns.map((label, column) => numberOf(column, labelValue(node.labels, label))),
    })),
    count: request.count,
    distinct: columnsOf(labelsOf('distinct')),
    same: columnsOf(labelsOf('same')),
    pairs: pairs.map(({ rule, unit }) => ({
      column: columns.indexOf(rule.label),
      wants: rule.kind === 'same' ? 'same' : 'different',
      unit,
    })),
  };
}

function checkRequest(request: PlaceRequest): void {
  const names = new Set<string>();
  for (const { name } of request.nodes) {
    if (names.has(name)) {
      throw new RangeError(`nodes: expected each node once, found ${JSON.stringify(name)} twice`);
    }
    names.add(name);
  }
  const { count, sizeBytes, initialBytes = 0, overProvisioningRatio = 1, minFreeShare = 0 } = request;
  if (!Number.isInteger(count)) {
    throw new RangeError(`count: expected an integer, found ${count}`);
  }
  within('count', count, 0, limits.replicas);
  within('sizeBytes', sizeBytes, 1, Number.MAX_SAFE_INTEGER);
  within('initialBytes', initialBytes, 0, Number.MAX_SAFE_INTEGER);
  within('overProvisioningRatio', overProvisioningRatio, 1, 100);
  within('minFreeShare', minFreeShare, 0, 1);
}

function within(field: string, value: number, least: number, most: number): void {
  if (!(value >= least && value <= most)) {
    throw new RangeError(`${field}: expected a number from ${least} to ${most}, found ${value}`);
  }
}
