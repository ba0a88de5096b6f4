import { describe, expect, test } from '@jest/globals';
import { random } from './fixtures.ts';
import { search, searchBounds } from './search.ts';
import type { SearchItem, SearchPair, SearchProblem } from './search.ts';

const none = { distinct: [], same: [], pairs: [] } as const;

describe('search', () => {
  test('takes the first of equals, and nothing when nothing is wanted', () => {
    const items = [
      { own: 5, values: [] },
      { own: 5, values: [] },
      { own: 1, values: [] },
    ];
    expect(search({ ...none, items, count: 1 }).chosen).toEqual([0]);
    expect(search({ ...none, items, count: 2 }).chosen).toEqual([0, 1]);
    expect(search({ ...none, items, count: 0 })).toMatchObject({ chosen: [], exact: true });
    expect(search({ ...none, items: [], count: 0 })).toMatchObject({ chosen: [], exact: true });
    expect(search({ ...none, items: [], count: 1 })).toMatchObject({ chosen: undefined, exact: true });
  });

  test('gives up the best item when only the others fit together', () => {
    // Given item 0 with the best score, whose values meet in both columns with the only two others
    const items = [
      { own: 9, values: [0, 0] },
      { own: 1, values: [0, 1] },
      { own: 1, values: [1, 0] },
    ];
    // When two are wanted that differ in both columns, then the best is left out
    expect(search({ ...none, items, count: 2, distinct: [0, 1] }).chosen).toEqual([1, 2]);
  });

  test('moves to another domain when only that one is large enough', () => {
    const items = [
      { own: 9, values: [0] },
      { own: 8, values: [1] },
      { own: 7, values: [1] },
    ];
    expect(search({ ...none, items, count: 2, same: [0] }).chosen).toEqual([1, 2]);
    expect(search({ ...none, items, count: 3, same: [0] }).chosen).toBeUndefined();
  });

  test('a missing label meets no goal', () => {
    const items = [
      { own: 2, values: [-1] },
      { own: 2, values: [-1] },
      { own: 1, values: [3] },
      { own: 1, values: [4] },
    ];
    const pairs: readonly SearchPair[] = [{ column: 0, wants: 'different', unit: 10 }];
    expect(search({ ...none, items, count: 2, pairs }).chosen).toEqual([2, 3]);
    const alike: readonly SearchPair[] = [{ column: 0, wants: 'same', unit: 10 }];
    expect(search({ ...none, items, count: 2, pairs: alike }).chosen).toEqual([0, 1]);
  });

  test('finds a set whenever there is one, and the best one: compared with trying all sets', () => {
    let infeasible = 0;
    for (let seed = 1; seed <= 3000; seed += 1) {
      const problem = randomProblem(seed);
      const best = bestOfAll(problem);
      const found = search(problem);
      expect(found.exact).toBe(true);
      expect({ seed, score: found.chosen && scoreOf(problem, found.chosen) }).toEqual({ seed, score: best });
      infeasible += best === undefined ? 1 : 0;
    }
    // Both outcomes are well represented.
    expect(infeasible).toBeGreaterThan(300);
    expect(infeasible).toBeLessThan(2700);
  });

  test('1000 nodes in two crossing labels: 8 replicas are found in a bounded number of evaluations', () => {
    const items = Array.from({ length: 1000 }, (_, i) => ({ own: i % 97, values: [i % 40, Math.floor(i / 40) % 25] }));
    const { chosen, evaluations, exact } = search({ ...none, items, count: 8, distinct: [0, 1] });
    expect(chosen).toHaveLength(8);
    expect(exact).toBe(true);
    expect(evaluations).toBeLessThan(100_000);
  });

  test('two crossing labels that never allow 8: refused in a bounded number of evaluations', () => {
    // Given 1000 nodes that all lie in one of 3 zones or one of 4 racks: at most 7 can differ in both
    const items = Array.from({ length: 1000 }, (_, i) => ({
      own: 0,
      values: i % 2 === 0 ? [i % 3, 10 + i] : [10 + i, i % 4],
    }));
    const { chosen, evaluations, exact } = search({ ...none, items, count: 8, distinct: [0, 1] });
    expect({ chosen, exact }).toEqual({ chosen: undefined, exact: true });
    expect(evaluations).toBeLessThan(20_000);
  });

  test('three crossing labels with one hidden solution of 8: found', () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const r = random(seed);
      const planted = Array.from({ length: 8 }, (_, i) => ({ own: 0, values: [i, (i * 3) % 8, (i * 5) % 8] }));
      const noise = Array.from({ length: 60 }, () => ({ own: 5, values: [r.integer(8), r.integer(8), r.integer(8)] }));
      const { chosen } = search({ ...none, items: [...noise, ...planted], count: 8, distinct: [0, 1, 2] });
      expect(chosen).toHaveLength(8);
    }
  });

  test('a search that cannot end in time keeps the best set so far and says so', () => {
    // Given 1000 nodes, each with its own values, and goals that pull in different directions
    const r = random(7);
    const items = Array.from({ length: 1000 }, () => ({
      own: r.integer(100),
      values: [r.integer(3), r.integer(60), r.integer(7)],
    }));
    items.sort((a, b) => b.own - a.own);
    const pairs: readonly SearchPair[] = [0, 1, 2].map((column) => ({ column, wants: 'different', unit: 30 }));
    const { chosen, evaluations, exact } = search({ ...none, items, count: 8, pairs });
    expect(chosen).toHaveLength(8);
    expect(exact).toBe(false);
    expect(evaluations).toBeLessThan(searchBounds.improve * 1.1);
  });
});

function randomProblem(seed: number): SearchProblem {
  const r = random(seed);
  const columns = [0, 1, 2];
  const values = 1 + r.integer(5);
  const items = Array.from({ length: 1 + r.integer(9) }, () => ({
    own: r.integer(4),
    values: columns.map(() => r.integer(values)),
  })).toSorted((a, b) => b.own - a.own);
  return {
    items,
    count: 1 + r.integer(4),
    distinct: columns.filter(() => r.integer(3) === 0),
    same: columns.filter(() => r.integer(8) === 0),
    pairs: columns.flatMap((column) =>
      r.integer(2) === 0
        ? [{ column, wants: r.pick<'same' | 'different'>(['same', 'different']), unit: r.integer(4) }]
        : [],
    ),
  };
}

function bestOfAll(problem: SearchProblem): number | undefined {
  const sets = subsets(problem.items.length, problem.count).filter((set) => allowed(problem, set));
  return sets.length === 0 ? undefined : Math.max(...sets.map((set) => scoreOf(problem, set)));
}

function subsets(of: number, count: number, from = 0): readonly (readonly number[])[] {
  if (count === 0) {
    return [[]];
  }
  const all: (readonly number[])[] = [];
  for (let i = from; i < of; i += 1) {
    all.push(...subsets(of, count - 1, i + 1).map((rest) => [i, ...rest]));
  }
  return all;
}

function allowed({ items, distinct, same }: SearchProblem, set: readonly number[]): boolean {
  const different = (column: number) => new Set(set.map((i) => items[i]?.values[column])).size;
  return (
    distinct.every((column) => different(column) === set.length) && same.every((column) => different(column) === 1)
  );
}

function scoreOf({ items, pairs }: SearchProblem, set: readonly number[]): number {
  let score = 0;
  for (const [position, i] of set.entries()) {
    const item: SearchItem = items[i] ?? { own: 0, values: [] };
    score += item.own;
    for (const j of set.slice(position + 1)) {
      for (const { column, wants, unit } of pairs) {
        const [a, b] = [item.values[column] ?? -1, items[j]?.values[column] ?? -1];
        score += a >= 0 && b >= 0 && (a === b) === (wants === 'same') ? unit : 0;
      }
    }
  }
  return score;
}
