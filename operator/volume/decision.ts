import type { Action, RecordChange } from './actions.ts';
import type { Facts } from './facts.ts';

/** Why something does not go on, or what it waits for. The report to people is made of these. */
export interface Note {
  readonly topic:
    | 'place'
    | 'create'
    | 'attach'
    | 'detach'
    | 'heal'
    | 'delete'
    | 'connection'
    | 'replicas'
    | 'conflict'
    | 'force'
    | 'expand';
  /** CamelCase; becomes a condition's reason. */
  readonly reason: string;
  readonly message: string;
  /** Nothing goes on until something outside changes; without it the volume is at work. */
  readonly blocked?: boolean;
}

/** What one rule wants. */
export interface Decision {
  readonly record?: RecordChange;
  readonly actions?: readonly Action[];
  readonly notes?: readonly Note[];
  /** Look again after this time although nothing changed; undefined: no need. */
  readonly lookAgainMs?: number;
}

/** One named piece of the policy. Pure. */
export type Rule = (facts: Facts) => Decision;

export const nothing: Decision = {};

/** All decisions of one pass: the first change of the record, every action, every note, the earliest look again. */
export interface Verdict {
  readonly record: RecordChange | undefined;
  readonly actions: readonly Action[];
  readonly notes: readonly Note[];
  readonly lookAgainMs: number | undefined;
}

/** Asks every rule in order. */
export function decide(rules: readonly Rule[], facts: Facts): Verdict {
  const decisions = rules.map((rule) => rule(facts));
  const looks = decisions.flatMap(({ lookAgainMs }) => lookAgainMs ?? []);
  return {
    record: decisions.find(({ record }) => record !== undefined)?.record,
    actions: decisions.flatMap(({ actions }) => actions ?? []),
    notes: decisions.flatMap(({ notes }) => notes ?? []),
    lookAgainMs: looks.length === 0 ? undefined : Math.max(0, Math.min(...looks)),
  };
}
