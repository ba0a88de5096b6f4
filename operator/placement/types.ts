/**
 * The vocabulary of placement: hard constraints and soft goals over the user's own labels, and the shape they have in
 * a ReplicatedVolume (`spec.placement`). This folder is pure: no Node modules, no Kubernetes client.
 */

/** Replicas of a volume are on nodes with pairwise different values of `label`. */
export interface DistinctRule {
  readonly kind: 'distinct';
  readonly label: string;
}

/** All replicas of a volume are on nodes with one and the same value of `label`. */
export interface SameRule {
  readonly kind: 'same';
  readonly label: string;
}

/** The node has `label`, with one of `values`. */
export interface InRule {
  readonly kind: 'in';
  readonly label: string;
  readonly values: readonly string[];
}

/** The node doesn't have `label` with one of `values`; a node without the label passes, as in Kubernetes selectors. */
export interface NotInRule {
  readonly kind: 'notIn';
  readonly label: string;
  readonly values: readonly string[];
}

/** The node has `label`, with whatever value. */
export interface ExistsRule {
  readonly kind: 'exists';
  readonly label: string;
}

/** The node shares `label` (or, without one, as many labels as possible) with the client node. */
export interface NearRule {
  readonly kind: 'near';
  readonly label?: string;
}

/** Nodes with more free capacity come first. */
export interface SpreadRule {
  readonly kind: 'spread';
  readonly resource: 'capacity';
}

/** A hard rule: a node, or a set of nodes, that breaks it is never chosen. */
export type Constraint = DistinctRule | SameRule | InRule | NotInRule | ExistsRule;

/** A rule that can be preferred. */
export type GoalRule = DistinctRule | SameRule | InRule | NearRule | SpreadRule;

/** A soft rule with its weight (an integer from 1 to 100). */
export type Goal = GoalRule & { readonly weight: number };

export interface Placement {
  readonly constraints: readonly Constraint[];
  readonly goals: readonly Goal[];
}

export const constraintKinds = ['distinct', 'same', 'in', 'notIn', 'exists'] as const satisfies Constraint['kind'][];
export const goalKinds = ['distinct', 'same', 'in', 'near', 'spread'] as const satisfies Goal['kind'][];

export const weights = { lowest: 1, default: 10, highest: 100 } as const;

/** The CRD's schema has the same limits, so that what the expression allows can also be stored. */
export const limits = { constraints: 16, goals: 16, values: 64, replicas: 8 } as const;

export const emptyPlacement: Placement = { constraints: [], goals: [] };

// The CRD's shape. Its arrays are mutable, as in the types generated from crds/, so that `toSpec` fits into them.

export interface LabelSpec {
  label: string;
}

export interface LabelValuesSpec {
  label: string;
  values: string[];
}

/** `spec.placement.constraints[]`: exactly one of the fields is set. */
export interface ConstraintSpec {
  distinct?: LabelSpec;
  same?: LabelSpec;
  in?: LabelValuesSpec;
  notIn?: LabelValuesSpec;
  exists?: LabelSpec;
}

/** `spec.placement.goals[]`: exactly one of the fields besides `weight` is set; `weight` is 10 when absent. */
export interface GoalSpec {
  weight?: number;
  distinct?: LabelSpec;
  same?: LabelSpec;
  in?: LabelValuesSpec;
  near?: { label?: string };
  spread?: { resource: 'capacity' };
}

/** `spec.placement`. */
export interface PlacementSpec {
  constraints?: ConstraintSpec[];
  goals?: GoalSpec[];
}
