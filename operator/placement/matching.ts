/**
 * Whether `wanted` of the `items` can be chosen so that no two share a value in any of the `columns`. Exact for up to
 * two columns (one: count the values; two: a maximum bipartite matching of values); with more it only says "perhaps",
 * by looking at all pairs of columns. `work` is told how many items were looked at.
 */
export function maySpread(
  items: readonly { readonly values: readonly number[] }[],
  columns: readonly number[],
  wanted: number,
  work: (items: number) => void,
): boolean {
  if (items.length < wanted) {
    return false;
  }
  const [only] = columns;
  if (only === undefined || wanted <= 1) {
    return true;
  }
  if (columns.length === 1) {
    work(items.length);
    return new Set(items.map((item) => item.values[only])).size >= wanted;
  }
  return columns.every((left, index) =>
    columns.slice(index + 1).every((right) => pairMatching(items, left, right, wanted, work) >= wanted),
  );
}

/**
 * The most items (up to `wanted`) that differ pairwise in both columns. Augmenting paths from each left value; right
 * values that led nowhere stay visited until the matching has grown, so the cost is at most (wanted + 1) · items.
 */
export function pairMatching(
  items: readonly { readonly values: readonly number[] }[],
  left: number,
  right: number,
  wanted: number,
  work: (items: number) => void,
): number {
  const edges = new Map<number, number[]>();
  for (const { values } of items) {
    const from = values[left] ?? -1;
    const list = edges.get(from);
    if (list === undefined) {
      edges.set(from, [values[right] ?? -1]);
    } else {
      list.push(values[right] ?? -1);
    }
  }
  work(items.length);
  const partner = new Map<number, number>();
  let visited = new Set<number>();
  // Recursion is at most `wanted` + 1 deep: each step but the last moves one matched pair.
  const augment = (from: number): boolean => {
    for (const to of edges.get(from) ?? []) {
      work(1);
      if (!visited.has(to)) {
        visited.add(to);
        const taken = partner.get(to);
        if (taken === undefined || augment(taken)) {
          partner.set(to, from);
          return true;
        }
      }
    }
    return false;
  };
  for (const from of edges.keys()) {
    if (partner.size >= wanted) {
      break;
    }
    if (augment(from)) {
      visited = new Set();
    }
  }
  return partner.size;
}
