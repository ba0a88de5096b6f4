import { maySpread } from './matching.ts';

/** A node as the search sees it. */
export interface SearchItem {
  /** Score of the node on its own; not negative. */
  readonly own: number;
  /** One number per column: equal numbers are equal label values, negative ones are a missing label. */
  readonly values: readonly number[];
}

export interface SearchPair {
  readonly column: number;
  readonly wants: 'same' | 'different';
  /** What a pair that meets the goal is worth. */
  readonly unit: number;
}

export interface SearchProblem {
  /** In the order of preference among equals: own score first, then the tie-break. */
  readonly items: readonly SearchItem[];
  readonly count: number;
  /** Columns in which chosen items must differ pairwise. No item lacks the label. */
  readonly distinct: readonly number[];
  /** Columns in which chosen items must be equal. No item lacks the label. */
  readonly same: readonly number[];
  readonly pairs: readonly SearchPair[];
}

export interface SearchResult {
  /** Indexes into `items`; undefined when no set was found. */
  readonly chosen: readonly number[] | undefined;
  readonly evaluations: number;
  /** The search ended by itself: `chosen` is the best set, or none exists. */
  readonly exact: boolean;
}

/** Looked-at items after which the best set so far is good enough, and after which the search for any set ends. */
export const searchBounds = { improve: 300_000, find: 5_000_000 } as const;

/**
 * Chooses `count` items with the highest sum of own scores and pair goals. Branch and bound over sets, best gain first,
 * so the first set it reaches is the greedy one. Items with equal values in all columns are interchangeable but for
 * their own score and are used best first. Before each step `maySpread` shows that the rest can still be chosen; for up to
 * two `distinct` columns that test is exact, so a step that leads nowhere is seen at once, the first set is found in
 * polynomial time and needs no bound. With three or more the problem is NP-hard (3-dimensional matching): `find` bounds it.
 */
export function search(problem: SearchProblem): SearchResult {
  if (problem.count === 0) {
    return { chosen: [], evaluations: 0, exact: true };
  }
  const run = newRun(problem);
  for (const group of groups(run)) {
    if (group.bound <= run.best) {
      break;
    }
    extend(run, [], group.entries, 0);
  }
  return { chosen: run.chosen?.toSorted((a, b) => a - b), evaluations: run.evaluations, exact: !run.stopped };
}

interface Entry {
  readonly index: number;
  readonly values: readonly number[];
  /** Number of the class of interchangeable items. */
  readonly class: number;
  /** Own score and the pairs with what is chosen so far. */
  readonly gain: number;
}

interface Run {
  readonly problem: SearchProblem;
  readonly work: (items: number) => void;
  best: number;
  chosen: readonly number[] | undefined;
  evaluations: number;
  stopped: boolean;
}

function newRun(problem: SearchProblem): Run {
  const run: Run = {
    problem,
    work: (items) => {
      run.evaluations += items;
    },
    best: -1,
    chosen: undefined,
    evaluations: 0,
    stopped: false,
  };
  return run;
}

function mustStop(run: Run): boolean {
  const unbounded = run.problem.distinct.length <= 2;
  const bound = run.chosen !== undefined ? searchBounds.improve : unbounded ? Infinity : searchBounds.find;
  run.stopped ||= run.evaluations > bound;
  return run.stopped;
}

/** The items by their values of the `same` columns, without those that a better one of their class makes useless. */
function groups(run: Run): readonly { entries: readonly Entry[]; bound: number }[] {
  const { items, count, distinct, same } = run.problem;
  const perClass = distinct.length > 0 ? 1 : count;
  const classes = new Map<string, { number: number; size: number }>();
  const byValue = new Map<string, Entry[]>();
  items.forEach(({ own, values }, index) => {
    const key = values.join(' ');
    const known = classes.get(key) ?? { number: classes.size, size: 0 };
    classes.set(key, known);
    known.size += 1;
    if (known.size <= perClass) {
      const value = same.map((column) => values[column]).join(' ');
      const group = byValue.get(value) ?? [];
      byValue.set(value, group);
      group.push({ index, values, class: known.number, gain: own });
    }
  });
  run.work(items.length);
  return [...byValue.values()]
    .map((entries) => ({ entries, bound: mostFromGains(run, entries, 0, count) + mostFromPairs(run, entries, count) }))
    .toSorted((a, b) => b.bound - a.bound || (a.entries[0]?.index ?? 0) - (b.entries[0]?.index ?? 0));
}

function extend(run: Run, chosen: readonly number[], pool: readonly Entry[], score: number): void {
  const { count, distinct } = run.problem;
  const missing = count - chosen.length;
  if (missing === 0) {
    if (score > run.best) {
      run.best = score;
      run.chosen = chosen;
    }
    return;
  }
  if (!maySpread(pool, distinct, missing, run.work)) {
    return;
  }
  const ordered = pool.toSorted((a, b) => b.gain - a.gain || a.index - b.index);
  const fromPairs = mostFromPairs(run, pool, missing);
  const tried = new Set<number>();
  for (const [at, entry] of ordered.entries()) {
    if (mustStop(run) || at + missing > ordered.length) {
      return;
    }
    const fromGains = mostFromGains(run, ordered, at, missing);
    if (fromGains < 0 || score + fromGains + fromPairs <= run.best) {
      return;
    }
    // Without this item, its classmates (no better than it) can't lead to a better set either.
    if (!tried.has(entry.class)) {
      tried.add(entry.class);
      const rest = compatible(run, entry, ordered.slice(at + 1), tried);
      extend(run, [...chosen, entry.index], rest, score + entry.gain);
    }
  }
}

/** What can still be chosen beside `entry`, with its pairs counted in. */
function compatible(run: Run, entry: Entry, others: readonly Entry[], tried: ReadonlySet<number>): readonly Entry[] {
  const { distinct, pairs } = run.problem;
  run.work(others.length);
  const rest: Entry[] = [];
  for (const other of others) {
    const open = other.class === entry.class || !tried.has(other.class);
    if (open && distinct.every((column) => other.values[column] !== entry.values[column])) {
      const gain = pairs.reduce((sum, pair) => sum + (meets(pair, entry, other) ? pair.unit : 0), other.gain);
      rest.push({ ...other, gain });
    }
  }
  return rest;
}

function meets({ column, wants }: SearchPair, a: Entry, b: Entry): boolean {
  const left = a.values[column] ?? -1;
  const right = b.values[column] ?? -1;
  return left >= 0 && right >= 0 && (left === right) === (wants === 'same');
}

/**
 * At most this comes from the gains of `count` entries of a list with the best first: the first ones, or, when entries
 * must differ in a column, the first of each value. Negative when the values don't suffice.
 */
function mostFromGains(run: Run, entries: readonly Entry[], from: number, count: number): number {
  const { distinct } = run.problem;
  if (distinct.length === 0) {
    return entries.slice(from, from + count).reduce((sum, entry) => sum + entry.gain, 0);
  }
  return distinct.reduce(
    (least, column) => Math.min(least, firstOfEachValue(run, entries, from, count, column)),
    Infinity,
  );
}

function firstOfEachValue(run: Run, entries: readonly Entry[], from: number, count: number, column: number): number {
  const seen = new Set<number>();
  let sum = 0;
  let at = from;
  for (; at < entries.length && seen.size < count; at += 1) {
    const entry = entries[at];
    const value = entry?.values[column] ?? -1;
    if (entry !== undefined && !seen.has(value)) {
      seen.add(value);
      sum += entry.gain;
    }
  }
  run.work(at - from);
  return seen.size < count ? -1 : sum;
}

/** At most this comes from pairs among `count` items of the pool: for `different`, spread evenly over its values. */
function mostFromPairs(run: Run, pool: readonly Entry[], count: number): number {
  const all = (count * (count - 1)) / 2;
  return run.problem.pairs.reduce((sum, { column, wants, unit }) => {
    if (wants === 'same') {
      return sum + unit * all;
    }
    run.work(pool.length);
    const values = new Set(pool.map((entry) => entry.values[column] ?? -1)).size;
    const even = Math.floor(count / values);
    const larger = count % values;
    const alike = (values - larger) * ((even * (even - 1)) / 2) + larger * ((even * (even + 1)) / 2);
    return sum + unit * (all - alike);
  }, 0);
}
