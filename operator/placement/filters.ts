import { choosePool } from './capacity.ts';
import { formatRule } from './format.ts';
import { labelValue } from './labels.ts';
import type { CandidateNode, PlaceRequest, Removal } from './request.ts';
import type { Constraint } from './types.ts';
import { withArticle } from './words.ts';

/** Why a node is removed, as it follows "1" and as it follows a greater count. */
export interface Reason {
  readonly one: string;
  readonly many: string;
}

/** Looks at one node on its own; undefined lets it pass. */
export interface Filter {
  readonly name: string;
  readonly reject: (node: CandidateNode, request: PlaceRequest) => Reason | undefined;
}

/**
 * The whole policy. A node is removed by the first filter that rejects it, so the order decides what a refusal says:
 * what nobody can change quickly comes first, and when the message says "3 are cordoned", uncordoning one really helps.
 */
export const filters: readonly Filter[] = [
  { name: 'holdsReplica', reject: holdsReplica },
  { name: 'excluded', reject: excluded },
  { name: 'labels', reject: breaksLabelConstraint },
  { name: 'members', reject: breaksConstraintWithMember },
  { name: 'heartbeat', reject: (node) => (node.alive ? undefined : have('no fresh heartbeat')) },
  { name: 'draining', reject: (node) => (node.draining ? are('draining') : undefined) },
  { name: 'cordoned', reject: (node) => (node.cordoned ? are('cordoned') : undefined) },
  { name: 'capacity', reject: hasNoRoom },
];

/** The nodes that every filter lets pass, and the others by reason: most nodes first. */
export function applyFilters(request: PlaceRequest): {
  eligible: readonly CandidateNode[];
  removed: readonly Removal[];
} {
  const eligible: CandidateNode[] = [];
  const groups = new Map<string, { filter: string; reason: Reason; nodes: string[] }>();
  for (const node of request.nodes) {
    const rejection = firstRejection(node, request);
    if (rejection === undefined) {
      eligible.push(node);
    } else {
      const key = `${rejection.filter} ${rejection.reason.many}`;
      const group = groups.get(key) ?? { ...rejection, nodes: [] };
      group.nodes.push(node.name);
      groups.set(key, group);
    }
  }
  const removed = [...groups.values()]
    .map(({ filter, reason, nodes }) => ({
      filter,
      reason: nodes.length === 1 ? reason.one : reason.many,
      nodes: nodes.toSorted(),
      count: nodes.length,
    }))
    .toSorted(
      (a, b) => b.count - a.count || filterRank(a.filter) - filterRank(b.filter) || (a.reason < b.reason ? -1 : 1),
    );
  return { eligible, removed };
}

function filterRank(name: string): number {
  return filters.findIndex((filter) => filter.name === name);
}

function firstRejection(node: CandidateNode, request: PlaceRequest): { filter: string; reason: Reason } | undefined {
  for (const filter of filters) {
    const reason = filter.reject(node, request);
    if (reason !== undefined) {
      return { filter: filter.name, reason };
    }
  }
  return undefined;
}

function holdsReplica(node: CandidateNode, request: PlaceRequest): Reason | undefined {
  const holds = request.members.some((member) => member.node === node.name);
  return holds
    ? { one: 'already holds a replica of this volume', many: 'already hold a replica of this volume' }
    : undefined;
}

function excluded(node: CandidateNode, request: PlaceRequest): Reason | undefined {
  const exclusion = request.exclude.find((entry) => entry.node === node.name);
  return exclusion === undefined ? undefined : { one: exclusion.reason, many: exclusion.reason };
}

function breaksLabelConstraint(node: CandidateNode, request: PlaceRequest): Reason | undefined {
  for (const rule of request.placement.constraints) {
    const reason = breaksRule(rule, labelValue(node.labels, rule.label));
    if (reason !== undefined) {
      return reason;
    }
  }
  return undefined;
}

function breaksRule(rule: Constraint, value: string | undefined): Reason | undefined {
  switch (rule.kind) {
    case 'distinct':
    case 'same':
    case 'exists':
      return value === undefined ? have(`no label ${rule.label}`) : undefined;
    case 'in':
      if (value === undefined) {
        return have(`no label ${rule.label}`);
      }
      return rule.values.includes(value) ? undefined : mismatch(rule);
    case 'notIn':
      return value !== undefined && rule.values.includes(value) ? mismatch(rule) : undefined;
  }
}

function mismatch(rule: Constraint): Reason {
  return { one: `does not match ${formatRule(rule)}`, many: `do not match ${formatRule(rule)}` };
}

function breaksConstraintWithMember(node: CandidateNode, request: PlaceRequest): Reason | undefined {
  for (const rule of request.placement.constraints) {
    if (rule.kind === 'distinct' || rule.kind === 'same') {
      const value = labelValue(node.labels, rule.label);
      for (const member of request.members) {
        const theirs = labelValue(member.labels, rule.label);
        const who = `replica ${member.replica}`;
        if (theirs === undefined) {
          // A hard rule that can't be shown to hold doesn't hold; the message says which label to add.
          const unknown = `cannot be compared with ${who}, whose node has no label ${rule.label}`;
          return { one: unknown, many: unknown };
        }
        if (rule.kind === 'distinct' && value === theirs) {
          const domain = withArticle(rule.label);
          return { one: `shares ${domain} with ${who}`, many: `share ${domain} with ${who}` };
        }
        if (rule.kind === 'same' && value !== theirs) {
          return have(`another ${rule.label} than ${who}`);
        }
      }
    }
  }
  return undefined;
}

function hasNoRoom(node: CandidateNode, request: PlaceRequest): Reason | undefined {
  const choice = choosePool(node, request);
  return 'shortage' in choice ? choice.shortage : undefined;
}

function are(what: string): Reason {
  return { one: `is ${what}`, many: `are ${what}` };
}

function have(what: string): Reason {
  return { one: `has ${what}`, many: `have ${what}` };
}
