import { INITIAL, TORN, type Operation, type Write } from './history.ts';

/** When a content can have been that of a volume: between these times, on the writers' clock. */
export interface Cut {
  /** The last write that is in it had begun. */
  readonly fromMs: number;
  /** The first acknowledged write that isn't in it ended. */
  readonly untilMs: number;
  /** Which block forces each. */
  readonly fromBlock: number;
  readonly untilBlock: number;
}

/**
 * Whether a content is that of one instant: it holds every write that was acknowledged before, and none that was begun
 * after. The content is of one instant if `fromMs` is not after `untilMs`; of several volumes, if the latest `fromMs` of all
 * is not after the earliest `untilMs`.
 * @param values by block, what it holds
 * @throws Error for a torn block, and for a value that nobody wrote
 */
export function cutOf(operations: Iterable<Operation>, values: readonly number[]): Cut {
  const writes = new Map<number, Write[]>();
  for (const operation of operations) {
    if (operation.kind !== 'write') continue;
    const list = writes.get(operation.block);
    if (list) list.push(operation);
    else writes.set(operation.block, [operation]);
  }
  let cut: Cut = { fromMs: -Infinity, untilMs: Infinity, fromBlock: -1, untilBlock: -1 };
  for (const [block, value] of values.entries()) {
    if (value === TORN) throw new Error(`block ${block} is torn`);
    const own = writes.get(block) ?? [];
    const held = own.find((write) => write.value === value);
    if (held === undefined && value !== INITIAL) throw new Error(`block ${block} holds ${value}, which nobody wrote`);
    const begunMs = held?.invokedMs ?? -Infinity;
    if (begunMs > cut.fromMs) cut = { ...cut, fromMs: begunMs, fromBlock: block };
    // One that was begun after this one was acknowledged comes after it; of two at once either may be the last.
    const heldEndMs = held === undefined ? -Infinity : (held.completedMs ?? Infinity);
    for (const later of own) {
      if (later === held || later.invokedMs < heldEndMs || later.completedMs === undefined) continue;
      if (later.completedMs < cut.untilMs) cut = { ...cut, untilMs: later.completedMs, untilBlock: block };
    }
  }
  return cut;
}
