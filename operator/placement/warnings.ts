import { formatGoal, formatRule } from './format.ts';
import { labelValue } from './labels.ts';
import type { PlaceRequest } from './request.ts';
import type { Constraint, Goal } from './types.ts';
import { listing, mostAlike, shortList } from './words.ts';

/**
 * Rules that name a label, or values of a label, that no storage node has: probably a mistake. `required` looks at the
 * constraints that then remove every node, `harmless` at the rules that then silently do nothing.
 */
export function unknownLabels(request: PlaceRequest, which: 'required' | 'harmless'): readonly string[] {
  const { constraints, goals } = request.placement;
  const rules: readonly (Constraint | Goal)[] =
    which === 'required'
      ? constraints.filter(({ kind }) => kind !== 'notIn')
      : [...constraints.filter(({ kind }) => kind === 'notIn'), ...goals];
  const sentences = rules.flatMap((rule) => {
    const found = unknown(rule, request);
    return found === undefined ? [] : [which === 'harmless' ? `${found}; ${quoted(rule)} has no effect` : found];
  });
  return [...new Set(sentences)];
}

/** What to tell the user although a place was found. */
export function placementWarnings(request: PlaceRequest): readonly string[] {
  const { clientLabels, nodes } = request;
  if (nodes.length === 0) {
    return [];
  }
  const clientLacks = request.placement.goals.flatMap((goal) =>
    goal.kind === 'near' &&
    goal.label !== undefined &&
    clientLabels !== undefined &&
    !Object.hasOwn(clientLabels, goal.label)
      ? [`the client node has no label \`${goal.label}\`; ${formatGoal(goal)} has no effect`]
      : [],
  );
  return [...unknownLabels(request, 'harmless'), ...clientLacks];
}

function quoted(rule: Constraint | Goal): string {
  return 'weight' in rule ? formatGoal(rule) : formatRule(rule);
}

function unknown(rule: Constraint | Goal, { nodes }: PlaceRequest): string | undefined {
  if (rule.kind === 'spread' || rule.label === undefined) {
    return undefined;
  }
  const { label } = rule;
  const values = new Set(nodes.flatMap((node) => labelValue(node.labels, label) ?? []));
  if (values.size === 0) {
    const seen = new Set(nodes.flatMap((node) => Object.keys(node.labels)));
    const list = seen.size === 0 ? 'no label at all' : shortList(mostAlike(label, [...seen]));
    return `no storage node has the label \`${label}\`; labels seen: ${list}`;
  }
  if ((rule.kind === 'in' || rule.kind === 'notIn') && !rule.values.some((value) => values.has(value))) {
    const wanted = listing(
      rule.values.map((value) => `\`${value}\``),
      'or',
    );
    return `no storage node has ${wanted} as its ${label}; values seen: ${shortList([...values].toSorted())}`;
  }
  return undefined;
}
