import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { load } from 'js-yaml';
import { random } from './fixtures.ts';
import type { Random } from './fixtures.ts';
import { formatPlacement } from './format.ts';
import { parsePlacement } from './parse.ts';
import { fromSpec, PlacementSpecError, toSpec } from './spec.ts';
import { limits, weights } from './types.ts';
import type { Constraint, Goal, GoalRule, Placement } from './types.ts';

describe('the expression and the structure mean the same', () => {
  test('every random placement survives both ways, and JSON in between', () => {
    for (let seed = 1; seed <= 500; seed += 1) {
      const placement = randomPlacement(random(seed));
      expect(parsePlacement(formatPlacement(placement))).toEqual(placement);
      expect(fromSpec(JSON.parse(JSON.stringify(toSpec(placement))))).toEqual(placement);
      expect(formatPlacement(fromSpec(toSpec(placement)))).toBe(formatPlacement(placement));
    }
  });

  test('the structure mirrors the rules', () => {
    const placement = parsePlacement(
      'distinct(zone); in(media, nvme|ssd); exists(fast); prefer(50) distinct(rack); prefer near(client); prefer spread(capacity)',
    );
    expect(toSpec(placement)).toEqual({
      constraints: [
        { distinct: { label: 'zone' } },
        { in: { label: 'media', values: ['nvme', 'ssd'] } },
        { exists: { label: 'fast' } },
      ],
      goals: [
        { weight: 50, distinct: { label: 'rack' } },
        { weight: 10, near: {} },
        { weight: 10, spread: { resource: 'capacity' } },
      ],
    });
  });
});

const rules = (count: number) => Array.from({ length: count }, () => ({ exists: { label: 'a' } }));
const values = (count: number) => [{ in: { label: 'a', values: Array.from({ length: count }, (_, i) => `v${i}`) } }];
const near = (weight: number, count = 1) => Array.from({ length: count }, () => ({ weight, near: {} }));

describe('the CRD', () => {
  const file = new URL('../../crds/replicatedvolumes.yaml', import.meta.url);
  const valid = new Ajv({ strict: false, formats: { int32: true } }).compile(
    placementSchema(load(readFileSync(file, 'utf8'))),
  );

  test('stores every placement that the expression allows', () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const spec = toSpec(randomPlacement(random(seed)));
      expect({ spec, valid: valid(spec), errors: valid.errors }).toEqual({ spec, valid: true, errors: null });
    }
  });

  test('has the limits of the expression', () => {
    expect([limits.constraints, limits.constraints + 1].map((n) => valid({ constraints: rules(n) }))).toEqual([
      true,
      false,
    ]);
    expect([limits.values, limits.values + 1].map((n) => valid({ constraints: values(n) }))).toEqual([true, false]);
    expect([limits.goals, limits.goals + 1].map((n) => valid({ goals: near(10, n) }))).toEqual([true, false]);
    expect([0, weights.lowest, weights.highest, 101].map((n) => valid({ goals: near(n) }))).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });
});

describe('fromSpec', () => {
  test.each([[undefined], [null], [{}], [{ constraints: [], goals: [] }], [{ goals: null }]])('%j is empty', (spec) => {
    expect(fromSpec(spec)).toEqual({ constraints: [], goals: [] });
  });

  test('an absent weight is 10', () => {
    expect(fromSpec({ goals: [{ near: {} }] }).goals).toEqual([{ kind: 'near', weight: 10 }]);
  });

  const c = 'spec.placement.constraints[0]';
  const g = 'spec.placement.goals[0]';
  const key = 'a label key (such as zone or topology.kubernetes.io/zone)';
  test.each<[object | string, string]>([
    ['distinct(zone)', 'spec.placement: expected an object, found "distinct(zone)"'],
    [{ goal: [] }, 'spec.placement.goal: expected only constraints and goals, found an unknown field'],
    [{ constraints: {} }, 'spec.placement.constraints: expected a list, found {}'],
    [{ constraints: ['distinct'] }, `${c}: expected an object, found "distinct"`],
    [{ constraints: [null] }, `${c}: expected an object, found null`],
    [{ constraints: [{}] }, `${c}: expected exactly one of distinct, same, in, notIn, exists, found none`],
    [
      { constraints: [{ distinct: { label: 'a' }, same: { label: 'b' } }] },
      `${c}: expected exactly one of distinct, same, in, notIn, exists, found distinct and same`,
    ],
    [
      { constraints: [{ near: {} }] },
      `${c}.near: expected only distinct, same, in, notIn and exists, found an unknown field`,
    ],
    [{ constraints: [{ distinct: {} }] }, `${c}.distinct.label: expected ${key}, found nothing`],
    [{ constraints: [{ distinct: { label: 'a b' } }] }, `${c}.distinct.label: expected ${key}, found "a b"`],
    [
      { constraints: [{ distinct: { label: 'a', values: [] } }] },
      `${c}.distinct.values: expected only label, found an unknown field`,
    ],
    [{ constraints: [{ in: { label: 'a' } }] }, `${c}.in.values: expected at least one value, found nothing`],
    [{ constraints: [{ in: { label: 'a', values: [] } }] }, `${c}.in.values: expected at least one value, found []`],
    [
      { constraints: [{ notIn: { label: 'a', values: ['x', 'y z'] } }] },
      `${c}.notIn.values[1]: expected a label value (letters, digits, "-", "_" and ".", at most 63), found "y z"`,
    ],
    [
      { constraints: [{ in: { label: 'a', values: ['x', 'x'] } }] },
      `${c}.in.values[1]: expected a value that is not yet in the list, found "x"`,
    ],
    [
      { constraints: Array.from({ length: 17 }, () => ({})) },
      'spec.placement.constraints: expected at most 16 entries, found 17',
    ],
    [{ goals: [{ weight: 5 }] }, `${g}: expected exactly one of distinct, same, in, near, spread, found none`],
    [{ goals: [{ weight: 0, near: {} }] }, `${g}.weight: expected an integer from 1 to 100, found 0`],
    [{ goals: [{ weight: 1.5, near: {} }] }, `${g}.weight: expected an integer from 1 to 100, found 1.5`],
    [{ goals: [{ weight: '10', near: {} }] }, `${g}.weight: expected an integer from 1 to 100, found "10"`],
    [
      { goals: [{ exists: { label: 'a' } }] },
      `${g}.exists: expected only distinct, same, in, near and spread, found an unknown field`,
    ],
    [{ goals: [{ near: { label: '' } }] }, `${g}.near.label: expected ${key}, found ""`],
    [{ goals: [{ spread: { resource: 'iops' } }] }, `${g}.spread.resource: expected "capacity", found "iops"`],
  ])('%j', (spec, message) => {
    expect(() => fromSpec(spec)).toThrow(PlacementSpecError);
    expect(() => fromSpec(spec)).toThrow(message);
  });

  test('errors start with the path that the caller gives', () => {
    expect(() => fromSpec({ goals: [{}] }, 'parameters.placement')).toThrow(/^parameters\.placement\.goals\[0\]: /);
  });
});

function randomPlacement(r: Random): Placement {
  return {
    constraints: Array.from({ length: r.integer(6) }, () => randomConstraint(r)),
    goals: Array.from({ length: r.integer(6) }, () => randomGoal(r)),
  };
}

function randomLabel(r: Random): string {
  return r.pick(['zone', 'rack', 'a', 'A_b.c-9', 'topology.kubernetes.io/zone', 'x/y', 'prefer', 'in', '1', 'client']);
}

function randomValues(r: Random): readonly string[] {
  const all = ['nvme', 'ssd', '', '1', 'a.b_c-d', 'prefer'];
  const from = r.integer(all.length);
  return all.slice(from, from + 1 + r.integer(3));
}

function randomConstraint(r: Random): Constraint {
  const kind = r.pick<Constraint['kind']>(['distinct', 'same', 'exists', 'in', 'notIn']);
  const label = randomLabel(r);
  return kind === 'in' || kind === 'notIn' ? { kind, label, values: randomValues(r) } : { kind, label };
}

function randomGoal(r: Random): Goal {
  const label = randomLabel(r);
  const rule = r.pick<GoalRule>([
    { kind: 'distinct', label },
    { kind: 'same', label },
    { kind: 'in', label, values: randomValues(r) },
    { kind: 'near' },
    { kind: 'near', label },
    { kind: 'spread', resource: 'capacity' },
  ]);
  return { ...rule, weight: r.pick([1, 10, 10, 50, 100]) };
}

interface Crd {
  readonly spec: { readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: Schema } }[] };
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
}

function placementSchema(crd: unknown): Schema {
  const schema = (crd as Crd).spec.versions[0]?.schema.openAPIV3Schema.properties?.['spec']?.properties?.['placement'];
  if (schema === undefined) {
    throw new Error('the CRD has no spec.placement');
  }
  return schema;
}
