import { formatRule } from './format.ts';
import { labelValue } from './labels.ts';
import { pairMatching } from './matching.ts';
import type { CandidateNode, Effort, PlaceRequest, Removal } from './request.ts';
import { unknownLabels } from './warnings.ts';
import { counted, listing, shortList } from './words.ts';

export interface RefusalFacts {
  readonly request: PlaceRequest;
  readonly eligible: readonly CandidateNode[];
  readonly removed: readonly Removal[];
  readonly effort: Effort;
}

/** One sentence that says why nothing was placed: how many nodes each reason removed, or what the nodes that fit lack. */
export function refusal(facts: RefusalFacts): string {
  const { request, eligible } = facts;
  if (request.nodes.length === 0) {
    return 'there are no storage nodes';
  }
  const hints = unknownLabels(request, 'required');
  if (eligible.length === 0) {
    const removedByLabel = facts.removed.length === 1 && facts.removed[0]?.filter === 'labels';
    if (hints.length > 0 && removedByLabel) {
      return hints.join('; ');
    }
    const headline = `0 of ${request.nodes.length} storage nodes fit: ${removals(facts.removed)}`;
    return [headline, ...hints].join('; ');
  }
  const more = request.members.length > 0 ? 'more ' : '';
  const headline = `placed 0 of ${request.count} ${more}replica${request.count === 1 ? '' : 's'}`;
  if (eligible.length < request.count) {
    return `${headline}: ${tooFewNodes(facts)}`;
  }
  const rest = facts.removed.length === 0 ? '' : `; of the others, ${removals(facts.removed)}`;
  return `${headline}: ${tooFewDomains(facts)}${rest}`;
}

/** "8 share a zone with replica a, 3 are cordoned, 1 is full". */
function removals(removed: readonly Removal[]): string {
  return removed.map(({ count, reason }) => `${count} ${reason}`).join(', ');
}

function tooFewNodes({ request, eligible, removed }: RefusalFacts): string {
  const all = counted(request.nodes.length, 'storage node');
  return removed.length === 0
    ? `there ${request.nodes.length === 1 ? 'is' : 'are'} only ${all}`
    : `only ${eligible.length} of ${all} ${eligible.length === 1 ? 'fits' : 'fit'}: ${removals(removed)}`;
}

function tooFewDomains({ request, eligible, removed, effort }: RefusalFacts): string {
  const { constraints } = request.placement;
  const labelsOf = (kind: 'distinct' | 'same') => [
    ...new Set(constraints.filter((rule) => rule.kind === kind).map((rule) => rule.label)),
  ];
  const [distinct, same] = [labelsOf('distinct'), labelsOf('same')];
  const both = distinct.find((label) => same.includes(label));
  if (both !== undefined) {
    return `distinct(${both}) and same(${both}) contradict each other for more than one replica`;
  }
  const the = `the ${eligible.length} storage nodes${removed.length === 0 ? '' : ' that fit'}`;
  for (const label of same) {
    const sizes = domainSizes(eligible, label);
    if (!sizes.some(([, size]) => size >= request.count)) {
      const found = shortList(sizes.map(([value, size]) => `${size} in ${value}`));
      return `same(${label}) needs ${counted(request.count, 'storage node')} with one value of ${label}, and ${the} have ${found}`;
    }
  }
  for (const label of distinct) {
    const values = domainSizes(eligible, label).map(([value]) => value);
    if (values.length < request.count) {
      const different = values.length === 1 ? '1 value' : `${values.length} different values`;
      return `${the} have only ${different} of ${label} (${shortList(values)})`;
    }
  }
  const pair = pairInConflict(eligible, distinct, request.count);
  if (pair !== undefined) {
    return `of ${the} at most ${pair.most} differ in both ${pair.left} and ${pair.right}`;
  }
  const rules = constraints.filter((rule) => rule.kind === 'distinct' || rule.kind === 'same').map(formatRule);
  return effort.exact
    ? `no ${request.count} of ${the} satisfy ${listing([...new Set(rules)])} together`
    : `found no ${request.count} of ${the} that satisfy ${listing([...new Set(rules)])} together in ${effort.evaluations} steps`;
}

/** The values of a label with their number of nodes, in the order of the alphabet. */
function domainSizes(nodes: readonly CandidateNode[], label: string): readonly (readonly [string, number])[] {
  const sizes = new Map<string, number>();
  for (const node of nodes) {
    const value = labelValue(node.labels, label);
    if (value !== undefined) {
      sizes.set(value, (sizes.get(value) ?? 0) + 1);
    }
  }
  return [...sizes].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function pairInConflict(
  nodes: readonly CandidateNode[],
  labels: readonly string[],
  wanted: number,
): { left: string; right: string; most: number } | undefined {
  for (const [i, left] of labels.entries()) {
    for (const right of labels.slice(i + 1)) {
      const numbers = new Map<string, number>();
      const numberOf = (text: string | undefined): number => {
        const number = numbers.get(text ?? '') ?? numbers.size;
        numbers.set(text ?? '', number);
        return number;
      };
      const items = nodes.map(({ labels: of }) => ({
        values: [numberOf(labelValue(of, left)), numberOf(labelValue(of, right))],
      }));
      const most = pairMatching(items, 0, 1, wanted, () => undefined);
      if (most < wanted) {
        return { left, right, most };
      }
    }
  }
  return undefined;
}
