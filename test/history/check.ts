import { INITIAL, TORN, type Operation, type Read, type Write } from './history.ts';

/**
 * - `torn`: a read saw a block that is no write as a whole
 * - `from-nowhere`: a read saw a value that nobody had begun to write
 * - `lost`: a read saw an older value than an acknowledged write before it (lost, or rolled back, or a stale read)
 * - `unseen`: a read saw an older value than another read before it
 * - `out-of-order`: reads and writes tell of an order that no register can have
 */
export type ViolationKind = 'torn' | 'from-nowhere' | 'lost' | 'unseen' | 'out-of-order';

/** The operations on one block that no register can explain: as few as show it. */
export interface Violation {
  readonly kind: ViolationKind;
  readonly block: number;
  /** In order of time. */
  readonly evidence: readonly Operation[];
}

export interface CheckOptions {
  /** By block, what it held before the first operation; INITIAL where nothing is said. */
  readonly initial?: ReadonlyMap<number, number>;
}

/**
 * Whether every block behaved as one register: each read gives the latest write, where a write takes effect once between its
 * invocation and its acknowledgement. So no acknowledged write is lost, none is rolled back, nothing is torn; a write that
 * was never acknowledged may be there or not, but once a read saw it, it stays.
 *
 * Values are unique, so this is decided in n log n (Gibbons and Korach, "Testing shared memories", 1997): the operations
 * of one value tell of a span in which the register surely held it, and two such spans must not overlap.
 * @returns at most one violation a block, the plainest first
 * @throws RangeError when two writes of a block have one value, or an operation ends before it begins
 */
export function checkHistory(operations: Iterable<Operation>, options: CheckOptions = {}): Violation[] {
  const blocks = new Map<number, Operation[]>();
  for (const operation of operations) {
    if (endOf(operation) < operation.invokedMs)
      throw new RangeError(`${JSON.stringify(operation)}: it ends before it begins`);
    const list = blocks.get(operation.block);
    if (list) list.push(operation);
    else blocks.set(operation.block, [operation]);
  }
  return [...blocks]
    .map(([block, list]) => checkBlock(block, list, options.initial?.get(block) ?? INITIAL))
    .filter((found) => found !== undefined)
    .sort((a, b) => a.evidence.length - b.evidence.length || startOf(a) - startOf(b));
}

/** The time until which an operation may have taken effect. */
function endOf(operation: Operation): number {
  if (operation.completedMs !== undefined) return operation.completedMs;
  return (operation as Write).goneMs ?? Infinity;
}

const startOf = ({ evidence }: Violation): number => evidence.at(-1)?.invokedMs ?? 0;

/** The write of one value and the reads that saw it. */
interface Cluster {
  readonly write: Operation;
  /** The operation that was completed first: by then the register had held the value. */
  first: Operation;
  /** The operation that was invoked last: the register held the value then or later. */
  last: Operation;
  /** The read that saw it first, if one did. */
  seen: Read | undefined;
}

function checkBlock(block: number, operations: readonly Operation[], initial: number): Violation | undefined {
  const clusters = new Map<number, Cluster>();
  const start: Write = {
    kind: 'write',
    client: '',
    block,
    value: initial,
    invokedMs: -Infinity,
    completedMs: -Infinity,
  };
  clusters.set(initial, { write: start, first: start, last: start, seen: undefined });
  for (const write of operations) {
    if (write.kind !== 'write') continue;
    if (clusters.has(write.value)) throw new RangeError(`block ${block}: the value ${write.value} is written twice`);
    clusters.set(write.value, { write, first: write, last: write, seen: undefined });
  }
  for (const read of operations) {
    if (read.kind !== 'read') continue;
    if (read.value === TORN) return { kind: 'torn', block, evidence: [read] };
    const cluster = clusters.get(read.value);
    if (!cluster) return { kind: 'from-nowhere', block, evidence: [read] };
    if (read.completedMs < cluster.write.invokedMs)
      return { kind: 'from-nowhere', block, evidence: [read, cluster.write] };
    if (!cluster.seen || read.completedMs < cluster.seen.completedMs) cluster.seen = read;
    if (read.completedMs < endOf(cluster.first)) cluster.first = read;
    if (read.invokedMs > cluster.last.invokedMs) cluster.last = read;
  }
  // A write that was never acknowledged and never seen needn't have happened.
  const happened = [...clusters.values()].filter(
    ({ write, seen }) => seen !== undefined || write.completedMs !== undefined,
  );
  const conflict = conflictOf(happened);
  if (!conflict) return undefined;
  return { kind: kindOf(conflict), block, evidence: evidenceOf(conflict) };
}

/** Two values of which neither can have been written before the other. */
interface Conflict {
  /** The one that was there before and again after. */
  readonly outer: Cluster;
  readonly inner: Cluster;
}

/** When the register surely held a value: from and to are the wrong way round when a single moment may have been enough. */
const fromMs = ({ first }: Cluster): number => endOf(first);
const toMs = ({ last }: Cluster): number => last.invokedMs;

function conflictOf(clusters: readonly Cluster[]): Conflict | undefined {
  const sure = clusters.filter((cluster) => fromMs(cluster) < toMs(cluster)).sort((a, b) => fromMs(a) - fromMs(b));
  let before: Cluster | undefined;
  for (const cluster of sure) {
    if (before && fromMs(cluster) < toMs(before)) return { outer: before, inner: cluster };
    before = cluster;
  }
  // The spans in `sure` don't overlap: one search finds the only one that can contain a moment.
  for (const inner of clusters) {
    if (fromMs(inner) < toMs(inner)) continue;
    const outer = lastBefore(sure, toMs(inner));
    if (outer && fromMs(inner) < toMs(outer)) return { outer, inner };
  }
  return undefined;
}

/** The last span that begins before a time. */
function lastBefore(sure: readonly Cluster[], ms: number): Cluster | undefined {
  let low = 0;
  let high = sure.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const cluster = sure[middle];
    if (cluster && fromMs(cluster) < ms) low = middle + 1;
    else high = middle;
  }
  return sure[low - 1];
}

function kindOf({ outer, inner }: Conflict): ViolationKind {
  const stale = outer.last;
  if (stale.kind !== 'read') return 'out-of-order';
  const { write } = inner;
  if (write.completedMs !== undefined && write.completedMs < stale.invokedMs) return 'lost';
  return endOf(inner.first) < stale.invokedMs ? 'unseen' : 'out-of-order';
}

function evidenceOf({ outer, inner }: Conflict): Operation[] {
  const all = new Set([outer.write, outer.first, inner.write, inner.first, inner.last, outer.last]);
  // An acknowledged write before the stale read says everything; who saw it meanwhile doesn't matter.
  if (kindOf({ outer, inner }) === 'lost' && inner.write.invokedMs > fromMs(outer)) {
    for (const other of [inner.first, inner.last]) if (other !== inner.write) all.delete(other);
    if (outer.write !== outer.first && endOf(outer.write) < inner.write.invokedMs) all.delete(outer.first);
  }
  // Of a write that was never acknowledged, only a read tells that it happened.
  for (const { write, seen } of [outer, inner]) if (write.completedMs === undefined && seen) all.add(seen);
  return [...all]
    .filter(({ invokedMs }) => Number.isFinite(invokedMs))
    .sort((a, b) => a.invokedMs - b.invokedMs || endOf(a) - endOf(b));
}

/** The reads that a dump of a volume stands for, as one client's at one time. */
export function readsOf(values: readonly number[], client: string, invokedMs: number, completedMs: number): Read[] {
  return values.map((value, block) => ({ kind: 'read', client, block, value, invokedMs, completedMs }));
}
