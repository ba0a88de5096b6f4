import type { Violation, ViolationKind } from './check.ts';
import { INITIAL, TORN, type Operation } from './history.ts';

const HEADLINES: Readonly<Record<ViolationKind, string>> = {
  torn: 'is torn: what was read is no write as a whole',
  'from-nowhere': 'holds a value that nobody had begun to write',
  lost: 'lost an acknowledged write: a later read gave an older value',
  unseen: 'went back: a value that had been read was gone afterwards',
  'out-of-order': 'changed in an order that no register can have',
};

/**
 * A violation for people: the block, and the fewest operations that show it, with who did them and when.
 * @param formatMs how a time is written; the default counts seconds from the first operation that is shown
 */
export function explain(
  { kind, block, evidence }: Violation,
  formatMs = secondsFrom(evidence[0]?.invokedMs ?? 0),
): string {
  const lines = evidence.map((operation) => `  ${lineOf(operation, formatMs)}`);
  return [`block ${block} ${HEADLINES[kind]}`, ...lines].join('\n');
}

/** The first few violations, and how many there are in all. */
export function explainAll(violations: readonly Violation[], formatMs?: (ms: number) => string, limit = 3): string {
  if (violations.length === 0) return 'every read is explained by the writes before it';
  const shown = violations.slice(0, limit).map((violation) => explain(violation, formatMs));
  const more = violations.length > limit ? [`… and ${violations.length - limit} more blocks`] : [];
  return [...shown, ...more].join('\n');
}

function lineOf(operation: Operation, formatMs: (ms: number) => string): string {
  const { client, invokedMs, completedMs } = operation;
  const until = completedMs === undefined ? '' : formatMs(completedMs);
  const span = `${formatMs(invokedMs)} – ${until}`.padEnd(28);
  return `${span} ${client}: ${wordsOf(operation)}`;
}

function wordsOf(operation: Operation): string {
  const value = operation.value === TORN ? 'torn' : operation.value === INITIAL ? 'nothing yet' : `${operation.value}`;
  if (operation.kind === 'read') return `read ${value}`;
  return `wrote ${value}, ${operation.completedMs === undefined ? 'never acknowledged' : 'acknowledged'}`;
}

function secondsFrom(originMs: number): (ms: number) => string {
  return (ms) => `${((ms - originMs) / 1000).toFixed(3)} s`;
}
