import { freeBytes } from './capacity.ts';
import { labelValue } from './labels.ts';
import type { Labels } from './labels.ts';
import type { Choice, PlaceRequest } from './request.ts';
import { nearKeys, sharedKeys } from './score.ts';
import type { Eligible } from './score.ts';
import type { Constraint, Goal } from './types.ts';
import { counted, formatBytes, listing, ordinal } from './words.ts';

/** The chosen nodes with the reasons that spoke for each. */
export function explainChoices(
  request: PlaceRequest,
  eligible: readonly Eligible[],
  chosen: readonly Eligible[],
): readonly Choice[] {
  const rivals = eligible.length - 1;
  const fits =
    rivals === 0
      ? 'the only storage node that fits'
      : `fits, as ${rivals === 1 ? 'does' : 'do'} ${counted(rivals, 'other storage node')}`;
  return chosen.map((entry) => {
    const others = [
      ...request.members.map(({ labels }) => labels),
      ...chosen.filter((other) => other !== entry).map(({ node }) => node.labels),
    ];
    const sentences = [
      ...request.placement.constraints.map((rule) => constraintReason(rule, entry, others)),
      ...request.placement.goals.map((goal) => goalReason(goal, entry, others, request, eligible)),
    ].filter((sentence) => sentence !== undefined);
    const why = sentences.length === 0 ? [fits] : [...new Set(sentences)];
    return { node: entry.node.name, pool: entry.pool.name, why };
  });
}

type Others = readonly (Labels | undefined)[];

function constraintReason(rule: Constraint, { node }: Eligible, others: Others): string | undefined {
  const value = labelValue(node.labels, rule.label) ?? '';
  switch (rule.kind) {
    case 'distinct':
    case 'same':
      return domainReason(rule.label, value, others);
    case 'in':
      return `${rule.label} is ${value}`;
    case 'exists':
      return `has ${rule.label}`;
    case 'notIn':
      return undefined;
  }
}

/** How many other replicas use the domain; undefined when there is no other replica. */
function domainReason(label: string, value: string, others: Others): string | undefined {
  const sharing = others.filter((labels) => labelValue(labels, label) === value).length;
  if (others.length === 0) {
    return undefined;
  }
  if (sharing === 0) {
    return `${label} ${value} is not used by another replica`;
  }
  const who =
    sharing === others.length ? counted(sharing, 'other replica') : `${sharing} of ${others.length} other replicas`;
  return `${label} ${value} is shared with ${sharing === others.length && sharing > 1 ? `all ${who}` : who}`;
}

function goalReason(
  goal: Goal,
  entry: Eligible,
  others: Others,
  request: PlaceRequest,
  eligible: readonly Eligible[],
): string | undefined {
  switch (goal.kind) {
    case 'distinct':
    case 'same': {
      const value = labelValue(entry.node.labels, goal.label);
      return value === undefined ? undefined : domainReason(goal.label, value, others);
    }
    case 'in': {
      const value = labelValue(entry.node.labels, goal.label);
      return value !== undefined && goal.values.includes(value) ? `${goal.label} is ${value}` : undefined;
    }
    case 'near': {
      const keys = nearKeys(request, eligible, goal.label);
      const shared = sharedKeys(keys, entry.node.labels, request.clientLabels);
      return shared.length === 0 ? undefined : `same ${listing(shared)} as the client node`;
    }
    case 'spread':
      return capacityReason(entry, eligible);
  }
}

function capacityReason({ pool }: Eligible, eligible: readonly Eligible[]): string {
  const free = freeBytes(pool);
  const amount = free >= 0 ? `${formatBytes(free)} free` : `promised ${formatBytes(-free)} more than it has`;
  if (eligible.length === 1) {
    return amount;
  }
  const ahead = eligible.filter((other) => freeBytes(other.pool) > free).length;
  const best = free >= 0 ? 'most' : 'least';
  return `${amount}, ${ahead === 0 ? best : ordinal(ahead + 1)} of the ${eligible.length} candidates`;
}
