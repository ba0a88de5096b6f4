/** The CEL rules of the CRDs, as the API server holds them at each write. */
import type { Schema } from '../../lib/api/crd.ts';
import { schemas } from '../../lib/api/generated/schemas.ts';
import type { KubeObject } from '../../lib/api/index.ts';
import { KubeError } from '../../lib/kube/error.ts';
import { compile, type Rule } from './cel.ts';

/** @throws KubeError 422 when a rule refuses the write */
export type Check = (before: KubeObject | undefined, after: KubeObject) => void;

interface Level {
  readonly path: string;
  readonly rules: readonly { readonly holds: Rule; readonly message: string; readonly isTransition: boolean }[];
  readonly properties: readonly (readonly [string, Level])[];
  readonly items: Level | undefined;
  /** What the items of a list are known by. */
  readonly keys: readonly string[];
}

const levels = new Map(
  Object.entries(schemas as Readonly<Record<string, Schema>>).map(([kind, schema]) => [kind, levelOf(schema, kind)]),
);

/** The rules of a kind; undefined for one that has none. */
export function rulesOf(kind: string): Check | undefined {
  const level = levels.get(kind);
  return level && ((before, after) => check(level, before, after));
}

/** Only what has rules in it. */
function levelOf(schema: Schema, path: string): Level | undefined {
  const rules = (schema['x-kubernetes-validations'] ?? []).map(({ rule, message = rule }) => ({
    holds: compile(rule),
    message: `${path}: ${message}`,
    isTransition: /\boldSelf\b/.test(rule),
  }));
  const properties = Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => {
    const level = levelOf(inner, `${path}.${name}`);
    return level === undefined ? [] : [[name, level] as const];
  });
  const items = schema.items && levelOf(schema.items, `${path}[]`);
  if (rules.length === 0 && properties.length === 0 && items === undefined) return undefined;
  return { path, rules, properties, items, keys: schema['x-kubernetes-list-map-keys'] ?? [] };
}

type Fields = Readonly<Record<string, unknown>>;

function check(level: Level, before: unknown, after: unknown): void {
  // Nothing is changed in place.
  if (before === after || after === undefined) return;
  for (const { holds, message, isTransition } of level.rules) {
    if (isTransition && before === undefined) continue;
    if (!allowed(holds, before, after)) throw new KubeError(422, 'Invalid', message);
  }
  for (const [name, inner] of level.properties) {
    check(inner, (before as Fields | undefined)?.[name], (after as Fields)[name]);
  }
  const { items, keys } = level;
  if (items === undefined) return;
  for (const item of after as readonly Fields[]) {
    const old = (before as readonly Fields[] | undefined)?.find(
      (each) => keys.length > 0 && keys.every((key) => each[key] === item[key]),
    );
    check(items, old, item);
  }
}

/** A rule that fails to be evaluated is one that is broken. */
function allowed(holds: Rule, before: unknown, after: unknown): boolean {
  try {
    return holds(after, before);
  } catch {
    return false;
  }
}
