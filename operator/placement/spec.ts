import { isLabelKey, isLabelValue, labelKeyRule, labelValueRule } from './labels.ts';
import type { Constraint, ConstraintSpec, Goal, GoalRule, GoalSpec, Placement, PlacementSpec } from './types.ts';
import { constraintKinds, goalKinds, limits, weights } from './types.ts';
import { listing } from './words.ts';

/** A mistake in a `spec.placement` structure; `path` is the field's path, such as `spec.placement.goals[1].weight`. */
export class PlacementSpecError extends Error {
  override readonly name = 'PlacementSpecError';
  readonly path: string;
  readonly expected: string;

  constructor(path: string, expected: string, found: string) {
    super(`${path}: expected ${expected}, found ${found}`);
    this.path = path;
    this.expected = expected;
  }
}

/** The structure that a ReplicatedVolume stores; every goal carries its weight, as after the API server's defaults. */
export function toSpec(placement: Placement): PlacementSpec {
  return { constraints: placement.constraints.map(constraintToSpec), goals: placement.goals.map(goalToSpec) };
}

function constraintToSpec(rule: Constraint): ConstraintSpec {
  switch (rule.kind) {
    case 'distinct':
      return { distinct: { label: rule.label } };
    case 'same':
      return { same: { label: rule.label } };
    case 'in':
      return { in: { label: rule.label, values: [...rule.values] } };
    case 'notIn':
      return { notIn: { label: rule.label, values: [...rule.values] } };
    case 'exists':
      return { exists: { label: rule.label } };
  }
}

function goalToSpec(goal: Goal): GoalSpec {
  const { weight } = goal;
  switch (goal.kind) {
    case 'distinct':
      return { weight, distinct: { label: goal.label } };
    case 'same':
      return { weight, same: { label: goal.label } };
    case 'in':
      return { weight, in: { label: goal.label, values: [...goal.values] } };
    case 'near':
      return { weight, near: goal.label === undefined ? {} : { label: goal.label } };
    case 'spread':
      return { weight, spread: { resource: goal.resource } };
  }
}

/**
 * Reads a `spec.placement` structure. It takes `unknown`, and checks everything, because the object may come from a
 * file or from an API server with an older schema. Absent lists are empty, an absent weight is 10.
 *
 * @throws PlacementSpecError naming the path of the field, what was expected and what was found
 */
export function fromSpec(spec: unknown, path = 'spec.placement'): Placement {
  if (spec === undefined || spec === null) {
    return { constraints: [], goals: [] };
  }
  const fields = object(spec, path);
  onlyFields(fields, ['constraints', 'goals'], path);
  return {
    constraints: list(fields['constraints'], `${path}.constraints`, limits.constraints).map(constraintFromSpec),
    goals: list(fields['goals'], `${path}.goals`, limits.goals).map(goalFromSpec),
  };
}

interface Located {
  readonly value: unknown;
  readonly path: string;
}

function constraintFromSpec({ value, path }: Located): Constraint {
  const rule = onlyRule(object(value, path), constraintKinds, path);
  switch (rule.kind) {
    case 'distinct':
    case 'same':
    case 'exists':
      return { kind: rule.kind, label: onlyLabel(rule) };
    case 'in':
    case 'notIn':
      return { kind: rule.kind, ...labelAndValues(rule) };
  }
}

function goalFromSpec({ value, path }: Located): Goal {
  const { weight, ...fields } = object(value, path);
  return { ...goalRule(onlyRule(fields, goalKinds, path)), weight: weightOf(weight, `${path}.weight`) };
}

function goalRule(rule: Rule<GoalRule['kind']>): GoalRule {
  switch (rule.kind) {
    case 'distinct':
    case 'same':
      return { kind: rule.kind, label: onlyLabel(rule) };
    case 'in':
      return { kind: rule.kind, ...labelAndValues(rule) };
    case 'near': {
      onlyFields(rule.fields, ['label'], rule.path);
      return rule.fields['label'] === undefined ? { kind: 'near' } : { kind: 'near', label: labelKey(rule) };
    }
    case 'spread': {
      onlyFields(rule.fields, ['resource'], rule.path);
      const { resource } = rule.fields;
      if (resource !== 'capacity') {
        throw new PlacementSpecError(`${rule.path}.resource`, '"capacity"', shown(resource));
      }
      return { kind: 'spread', resource };
    }
  }
}

interface Rule<Kind extends string> {
  readonly kind: Kind;
  readonly path: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

function onlyRule<Kind extends string>(
  fields: Readonly<Record<string, unknown>>,
  kinds: readonly Kind[],
  path: string,
): Rule<Kind> {
  onlyFields(fields, kinds, path);
  const present = kinds.filter((kind) => fields[kind] !== undefined);
  const [kind] = present;
  if (kind === undefined || present.length > 1) {
    throw new PlacementSpecError(path, `exactly one of ${kinds.join(', ')}`, listing(present) || 'none');
  }
  return { kind, path: `${path}.${kind}`, fields: object(fields[kind], `${path}.${kind}`) };
}

function weightOf(weight: unknown, path: string): number {
  if (weight === undefined) {
    return weights.default;
  }
  if (typeof weight !== 'number' || !Number.isInteger(weight) || weight < weights.lowest || weight > weights.highest) {
    throw new PlacementSpecError(path, `an integer from ${weights.lowest} to ${weights.highest}`, shown(weight));
  }
  return weight;
}

function onlyLabel(rule: Rule<string>): string {
  onlyFields(rule.fields, ['label'], rule.path);
  return labelKey(rule);
}

function labelKey(rule: Rule<string>): string {
  const { label } = rule.fields;
  if (typeof label !== 'string' || !isLabelKey(label)) {
    throw new PlacementSpecError(`${rule.path}.label`, labelKeyRule, shown(label));
  }
  return label;
}

function labelAndValues(rule: Rule<string>): { label: string; values: readonly string[] } {
  onlyFields(rule.fields, ['label', 'values'], rule.path);
  const label = labelKey(rule);
  const values: string[] = [];
  for (const { value, path } of list(rule.fields['values'], `${rule.path}.values`, limits.values)) {
    if (typeof value !== 'string' || !isLabelValue(value)) {
      throw new PlacementSpecError(path, labelValueRule, shown(value));
    }
    if (values.includes(value)) {
      throw new PlacementSpecError(path, 'a value that is not yet in the list', shown(value));
    }
    values.push(value);
  }
  if (values.length === 0) {
    throw new PlacementSpecError(`${rule.path}.values`, 'at least one value', shown(rule.fields['values']));
  }
  return { label, values };
}

function object(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PlacementSpecError(path, 'an object', shown(value));
  }
  return value as Readonly<Record<string, unknown>>;
}

function list(value: unknown, path: string, most: number): readonly Located[] {
  if (value === undefined || value === null) {
    return [];
  }
  if (!Array.isArray(value)) {
    throw new PlacementSpecError(path, 'a list', shown(value));
  }
  if (value.length > most) {
    throw new PlacementSpecError(path, `at most ${most} entries`, String(value.length));
  }
  return value.map((entry: unknown, index) => ({ value: entry, path: `${path}[${index}]` }));
}

function onlyFields(fields: Readonly<Record<string, unknown>>, allowed: readonly string[], path: string): void {
  const unknown = Object.keys(fields).find((field) => !allowed.includes(field));
  if (unknown !== undefined) {
    throw new PlacementSpecError(`${path}.${unknown}`, `only ${listing(allowed)}`, 'an unknown field');
  }
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : (JSON.stringify(value) ?? typeof value).slice(0, 80);
}
