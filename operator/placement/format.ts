import type { Constraint, GoalRule, Goal, Placement } from './types.ts';
import { weights } from './types.ts';

/**
 * The canonical expression of a placement: constraints before goals, one space, the default weight left out.
 * `parsePlacement(formatPlacement(p))` is `p`.
 */
export function formatPlacement(placement: Placement): string {
  return [...placement.constraints.map(formatRule), ...placement.goals.map(formatGoal)].join('; ');
}

/** `prefer near(client)`, `prefer(50) distinct(rack)`. */
export function formatGoal(goal: Goal): string {
  const weight = goal.weight === weights.default ? '' : `(${goal.weight})`;
  return `prefer${weight} ${formatRule(goal)}`;
}

/** One rule without its weight, as the user writes it; messages quote rules in this form. */
export function formatRule(rule: Constraint | GoalRule): string {
  switch (rule.kind) {
    case 'distinct':
    case 'same':
    case 'exists':
      return `${rule.kind}(${rule.label})`;
    case 'in':
    case 'notIn':
      return `${rule.kind}(${rule.label}, ${rule.values.map(formatValue).join('|')})`;
    case 'near':
      return rule.label === undefined ? 'near(client)' : `near(client, ${rule.label})`;
    case 'spread':
      return `spread(${rule.resource})`;
  }
}

function formatValue(value: string): string {
  return value === '' ? '""' : value;
}
