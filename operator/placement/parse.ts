import { isLabelKey, isLabelValue, labelKeyRule, labelValueRule } from './labels.ts';
import { PlacementSyntaxError } from './syntax-error.ts';
import { describeToken, tokenize } from './tokens.ts';
import type { Token } from './tokens.ts';
import { constraintKinds, goalKinds, limits, weights } from './types.ts';
import type { Constraint, Goal, GoalRule, Placement } from './types.ts';
import { didYouMean } from './words.ts';

export { PlacementSyntaxError } from './syntax-error.ts';

/*
 * placement  = [ term { ";" term } [ ";" ] ]
 * term       = constraint | "prefer" [ "(" weight ")" ] goal
 * constraint = "distinct" "(" label ")" | "same" "(" label ")" | "exists" "(" label ")"
 *            | "in" "(" label "," values ")" | "notIn" "(" label "," values ")"
 * goal       = "distinct" "(" label ")" | "same" "(" label ")" | "in" "(" label "," values ")"
 *            | "near" "(" "client" [ "," label ] ")" | "spread" "(" "capacity" ")"
 * values     = value { "|" value }
 */

/** Position in the tokens; the parser's only state. */
interface Cursor {
  readonly source: string;
  readonly tokens: readonly Token[];
  at: number;
}

/**
 * Parses a placement expression such as `distinct(zone); in(media, nvme|ssd); prefer(50) near(client)`. An empty
 * expression is a placement without rules.
 *
 * @throws PlacementSyntaxError with the column (1-based), what was expected and what was found
 */
export function parsePlacement(source: string): Placement {
  const cursor: Cursor = { source, tokens: tokenize(source), at: 0 };
  const constraints: Constraint[] = [];
  const goals: Goal[] = [];
  while (peek(cursor).kind !== 'end') {
    const first = peek(cursor);
    if (isWord(first, 'prefer')) {
      goals.push(goal(cursor));
      atMost(cursor, first, goals.length, limits.goals, 'goals');
    } else {
      constraints.push(constraint(cursor));
      atMost(cursor, first, constraints.length, limits.constraints, 'constraints');
    }
    if (peek(cursor).kind !== 'end') {
      mark(cursor, [';'], 'the end');
    }
  }
  return { constraints, goals };
}

function constraint(cursor: Cursor): Constraint {
  const name = ruleName(cursor, constraintPosition);
  switch (name) {
    case 'distinct':
    case 'same':
    case 'exists':
      return { kind: name, label: onlyLabel(cursor) };
    case 'in':
    case 'notIn':
      return { kind: name, ...labelAndValues(cursor) };
  }
}

function goal(cursor: Cursor): Goal {
  next(cursor);
  let weight: number = weights.default;
  if (isMark(peek(cursor), '(')) {
    next(cursor);
    weight = weightNumber(cursor);
    mark(cursor, [')']);
  }
  const name = ruleName(cursor, goalPosition);
  return { ...goalRule(cursor, name), weight };
}

function goalRule(cursor: Cursor, name: GoalRule['kind']): GoalRule {
  switch (name) {
    case 'distinct':
    case 'same':
      return { kind: name, label: onlyLabel(cursor) };
    case 'in':
      return { kind: name, ...labelAndValues(cursor) };
    case 'near': {
      mark(cursor, ['(']);
      keyword(cursor, 'client');
      const label = mark(cursor, [',', ')']) === ',' ? { label: labelKey(cursor) } : undefined;
      if (label !== undefined) {
        mark(cursor, [')']);
      }
      return { kind: name, ...label };
    }
    case 'spread':
      mark(cursor, ['(']);
      keyword(cursor, 'capacity');
      mark(cursor, [')']);
      return { kind: name, resource: 'capacity' };
  }
}

/** Where a rule's name may stand: the names that are right there, and what to say about the other rules. */
interface Position<Name extends string> {
  readonly what: string;
  readonly names: readonly Name[];
  readonly spellings: readonly string[];
  readonly elsewhere: (word: string) => string | undefined;
}

const constraintPosition: Position<Constraint['kind']> = {
  what: `a constraint (${constraintKinds.join(', ')})`,
  names: constraintKinds,
  spellings: [...constraintKinds, 'prefer'],
  elsewhere: (word) => (goalKinds.some((kind) => kind === word) ? `write "prefer ${word}(...)"` : undefined),
};

const goalPosition: Position<GoalRule['kind']> = {
  what: `a goal (${goalKinds.join(', ')})`,
  names: goalKinds,
  spellings: goalKinds,
  elsewhere: (word) =>
    constraintKinds.some((kind) => kind === word) ? `${word} can't be preferred, only required` : undefined,
};

function ruleName<Name extends string>(cursor: Cursor, position: Position<Name>): Name {
  const token = next(cursor);
  const name = token.kind === 'word' ? position.names.find((candidate) => candidate === token.text) : undefined;
  if (name === undefined) {
    const hint = position.elsewhere(token.text) ?? spelling(token, position.spellings);
    throw unexpected(cursor, token, position.what, hint);
  }
  return name;
}

function spelling(token: Token, words: readonly string[]): string | undefined {
  const meant = token.kind === 'word' ? didYouMean(token.text, words) : undefined;
  return meant === undefined ? undefined : `did you mean ${meant}?`;
}

function weightNumber(cursor: Cursor): number {
  const token = next(cursor);
  const weight = token.kind === 'word' && /^[0-9]{1,9}$/.test(token.text) ? Number(token.text) : 0;
  if (weight < weights.lowest || weight > weights.highest) {
    throw unexpected(cursor, token, `a weight from ${weights.lowest} to ${weights.highest}`);
  }
  return weight;
}

function onlyLabel(cursor: Cursor): string {
  mark(cursor, ['(']);
  const label = labelKey(cursor);
  mark(cursor, [')']);
  return label;
}

function labelAndValues(cursor: Cursor): { label: string; values: readonly string[] } {
  mark(cursor, ['(']);
  const label = labelKey(cursor);
  mark(cursor, [',']);
  const values: string[] = [];
  do {
    const token = peek(cursor);
    const value = labelValue(cursor);
    if (values.includes(value)) {
      throw unexpected(cursor, token, 'a value that is not yet in the list');
    }
    values.push(value);
    atMost(cursor, token, values.length, limits.values, 'values');
  } while (mark(cursor, ['|', ')'], undefined, 'values are separated by "|"') === '|');
  return { label, values };
}

function labelKey(cursor: Cursor): string {
  const token = next(cursor);
  if (token.kind !== 'word' || !isLabelKey(token.text)) {
    throw unexpected(cursor, token, labelKeyRule);
  }
  return token.text;
}

function labelValue(cursor: Cursor): string {
  const token = next(cursor);
  const valid = token.kind === 'empty' || (token.kind === 'word' && isLabelValue(token.text));
  if (!valid) {
    throw unexpected(cursor, token, labelValueRule);
  }
  return token.text;
}

function keyword(cursor: Cursor, word: string): void {
  const token = next(cursor);
  if (!isWord(token, word)) {
    throw unexpected(cursor, token, `"${word}"`, spelling(token, [word]));
  }
}

function mark<Mark extends string>(cursor: Cursor, marks: readonly Mark[], or?: string, hint?: string): Mark {
  const token = next(cursor);
  const found = token.kind === 'mark' ? marks.find((candidate) => candidate === token.text) : undefined;
  if (found === undefined) {
    const expected = [...marks.map((text) => `"${text}"`), ...(or === undefined ? [] : [or])];
    throw unexpected(cursor, token, expected.join(' or '), isMark(token, ',') ? hint : undefined);
  }
  return found;
}

function atMost(cursor: Cursor, token: Token, count: number, most: number, what: string): void {
  if (count > most) {
    throw unexpected(cursor, token, `at most ${most} ${what}`);
  }
}

function unexpected(cursor: Cursor, token: Token, expected: string, hint?: string): PlacementSyntaxError {
  const quoted = isMark(token, '"') ? 'names are written without quotation marks' : undefined;
  const note = hint ?? quoted;
  return new PlacementSyntaxError({
    source: cursor.source,
    offset: token.offset,
    expected,
    found: describeToken(token),
    ...(note === undefined ? {} : { hint: note }),
  });
}

function peek(cursor: Cursor): Token {
  const token = cursor.tokens[cursor.at];
  // The list ends with `end`, and `next` never moves past it.
  return token ?? { kind: 'end', text: '', offset: cursor.source.length };
}

function next(cursor: Cursor): Token {
  const token = peek(cursor);
  if (token.kind !== 'end') {
    cursor.at += 1;
  }
  return token;
}

function isWord(token: Token, text: string): boolean {
  return token.kind === 'word' && token.text === text;
}

function isMark(token: Token, text: string): boolean {
  return token.kind === 'mark' && token.text === text;
}
