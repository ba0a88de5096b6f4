/**
 * The part of CEL (Common Expression Language) that the rules of our CRDs use, so that the simulated API server holds the very
 * text that the real one does. What it doesn't know it refuses to compile.
 */
import { sameJson } from '../../operator/volume/merge-patch.ts';

/** @throws Error when the rule reads a field that isn't there, which the API server takes for a refusal */
export type Rule = (self: unknown, oldSelf: unknown) => boolean;

type Scope = Readonly<Record<string, unknown>>;
type Node = (scope: Scope) => unknown;

const TOKEN = /\s*(?:(\d+)|(?:'([^']*)'|"([^"]*)")|(in\b)|([A-Za-z_]\w*)|(\|\||&&|[=!<>]=|[-<>!%().,+*/[\]]))/y;

interface Token {
  readonly kind: 'number' | 'string' | 'name' | 'sign';
  readonly text: string;
}

function tokens(rule: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < rule.trimEnd().length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(rule);
    if (match === null) throw new SyntaxError(`${rule}: unknown at ${at}`);
    const [, number, single, double, word, name, sign = word] = match;
    const string = single ?? double;
    if (number !== undefined) found.push({ kind: 'number', text: number });
    else if (string !== undefined) found.push({ kind: 'string', text: string });
    else if (name !== undefined) found.push({ kind: 'name', text: name });
    else found.push({ kind: 'sign', text: sign ?? '' });
  }
  return found;
}

/** From the loosest to the tightest. */
const OPERATORS: readonly Readonly<Record<string, (a: unknown, b: unknown) => unknown>>[] = [
  { '==': sameJson, '!=': (a, b) => !sameJson(a, b) },
  {
    '<': (a, b) => Number(a) < Number(b),
    '<=': (a, b) => Number(a) <= Number(b),
    '>': (a, b) => Number(a) > Number(b),
    '>=': (a, b) => Number(a) >= Number(b),
    in: (a, b) => (b as readonly unknown[]).some((each) => sameJson(a, each)),
  },
  { '%': (a, b) => Number(a) % Number(b) },
];

/** @throws SyntaxError for what is not in the part that is known */
export function compile(rule: string): Rule {
  const input = tokens(rule);
  let at = 0;
  const isSign = (text: string): boolean => input[at]?.kind === 'sign' && input[at]?.text === text;
  const take = (text: string): boolean => {
    const found = isSign(text);
    if (found) at += 1;
    return found;
  };
  const expect = (text: string): void => {
    if (!take(text)) throw new SyntaxError(`${rule}: "${text}" is missing before "${input[at]?.text ?? 'the end'}"`);
  };

  const either = (): Node => {
    let left = both();
    while (take('||')) {
      const [a, b] = [left, both()];
      left = (scope) => truth(a(scope), rule) || truth(b(scope), rule);
    }
    return left;
  };
  const both = (): Node => {
    let left = binary(0);
    while (take('&&')) {
      const [a, b] = [left, binary(0)];
      left = (scope) => truth(a(scope), rule) && truth(b(scope), rule);
    }
    return left;
  };
  const binary = (level: number): Node => {
    const signs = OPERATORS[level];
    if (signs === undefined) return unary();
    let left = binary(level + 1);
    for (;;) {
      const token = input[at];
      const run = token?.kind === 'sign' ? signs[token.text] : undefined;
      if (run === undefined) return left;
      at += 1;
      const [a, b] = [left, binary(level + 1)];
      left = (scope) => run(a(scope), b(scope));
    }
  };
  const unary = (): Node => {
    if (!take('!')) return primary();
    const inner = unary();
    return (scope) => !truth(inner(scope), rule);
  };
  const primary = (): Node => {
    if (take('(')) {
      const inner = either();
      expect(')');
      return inner;
    }
    if (take('[')) return list();
    const token = input[at];
    at += 1;
    if (token?.kind === 'number') return () => Number(token.text);
    if (token?.kind === 'string') return () => token.text;
    if (token?.kind !== 'name') throw new SyntaxError(`${rule}: nothing is known that begins with "${token?.text}"`);
    if (isSign('(')) return call(token.text);
    return fields(token.text);
  };
  const list = (): Node => {
    const items: Node[] = [];
    while (!take(']')) {
      if (items.length > 0) expect(',');
      items.push(either());
    }
    return (scope) => items.map((item) => item(scope));
  };
  const path = (first: string): string[] => {
    const names = [first];
    while (take('.')) {
      const token = input[at];
      if (token?.kind !== 'name') throw new SyntaxError(`${rule}: no name after a dot`);
      names.push(token.text);
      at += 1;
    }
    if (isSign('(')) throw new SyntaxError(`${rule}: the method ${names.at(-1)} is not known`);
    return names;
  };
  const fields = (first: string): Node => {
    const names = path(first);
    return (scope) => read(scope, names, rule);
  };
  const call = (name: string): Node => {
    expect('(');
    if (name === 'has') {
      const first = input[at];
      at += 1;
      const names = path(first?.text ?? '');
      expect(')');
      const last = names.at(-1) ?? '';
      return (scope) => Object(read(scope, names.slice(0, -1), rule))[last] !== undefined;
    }
    if (name !== 'size') throw new SyntaxError(`${rule}: the function ${name} is not known`);
    const inner = either();
    expect(')');
    return (scope) => (inner(scope) as { readonly length: number }).length;
  };

  const root = either();
  if (at < input.length) throw new SyntaxError(`${rule}: "${input[at]?.text}" is too much`);
  return (self, oldSelf) => truth(root({ self, oldSelf }), rule);
}

function read(scope: Scope, names: readonly string[], rule: string): unknown {
  let value: unknown = scope;
  for (const name of names) {
    value = (value as Scope)[name];
    if (value === undefined) throw new Error(`${rule}: no such key: ${name}`);
  }
  return value;
}

function truth(value: unknown, rule: string): boolean {
  if (typeof value === 'boolean') return value;
  throw new Error(`${rule}: ${JSON.stringify(value)} is not a boolean`);
}
