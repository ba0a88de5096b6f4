import { readsOf, checkHistory, type Violation } from './check.ts';
import { INITIAL, TORN, type Operation, type Read, type Write } from './history.ts';
import { BLOCK_BYTES } from './block.ts';

/*
 * The log of the lab's writer, a line each, ended by ';' (times in ms on the guest's clock as it was when the writer began):
 *   start CLIENT FIRST DEPTH MS        a writer begins; its values are FIRST, FIRST + 1, …; at most DEPTH at a time
 *   w VALUE BLOCK MS                   before the write is issued
 *   k VALUE BLOCK MS                   it is acknowledged
 *   r VALUE BLOCK MS MS                a read: invoked, completed
 *   error CODE w|r BLOCK MS            the kernel refused an operation; the writer ends
 *   end MS                             it was asked to end, and has
 */

/** One start of the writer. */
export interface Run {
  readonly client: string;
  readonly first: number;
  readonly depth: number;
  readonly startMs: number;
  readonly operations: readonly Operation[];
  readonly end: 'asked' | 'dead' | { readonly code: string; readonly block: number; readonly ms: number };
}

interface OpenRun extends Run {
  readonly operations: Operation[];
  readonly pending: Map<number, number>;
  end: Run['end'];
}

const LINE =
  /^(?:start (?<client>\S+) (?<first>\d+) (?<depth>\d+)|(?<op>[wkr]) (?<value>-?\d+) (?<block>\d+)|error (?<code>\S+) [wr] (?<at>\d+)|(?<asked>end)) (?<ms>\d+(?:\.\d+)?)(?: (?<until>\d+(?:\.\d+)?))?;$/;

/**
 * What a client's writers have done. A line that was cut off, as by a power loss, counts as not written.
 * @param tag of the writer: what each of its lines begins with, and a space; none when the log is one writer's
 */
export function parseLog(log: string, tag?: string): Run[] {
  const runs: OpenRun[] = [];
  const prefix = tag === undefined ? '' : `${tag} `;
  for (const line of log.slice(0, log.lastIndexOf('\n') + 1).split('\n')) {
    const found = line.startsWith(prefix) ? LINE.exec(line.slice(prefix.length))?.groups : undefined;
    if (!found) continue;
    const { client, first, depth, op, value, block, code, at, asked, until } = found;
    const ms = Number(found['ms']);
    if (client !== undefined) {
      runs.push({
        client,
        first: Number(first),
        depth: Number(depth),
        startMs: ms,
        operations: [],
        pending: new Map(),
        end: 'dead',
      });
      continue;
    }
    const run = runs.at(-1);
    if (!run) continue;
    if (op !== undefined) note(run, op, { value: Number(value), block: Number(block) }, ms, until);
    else if (code !== undefined) run.end = { code, block: Number(at), ms };
    else if (asked !== undefined) run.end = 'asked';
  }
  return runs;
}

function note(run: OpenRun, op: string, what: { value: number; block: number }, ms: number, until?: string): void {
  const { client, operations, pending } = run;
  if (op === 'w') {
    pending.set(what.value, operations.length);
    operations.push({ kind: 'write', client, ...what, invokedMs: ms });
  } else if (op === 'k') {
    const index = pending.get(what.value);
    const write = index === undefined ? undefined : operations[index];
    if (index === undefined || write === undefined) return;
    pending.delete(what.value);
    operations[index] = { ...(write as Write), completedMs: ms };
  } else if (until !== undefined) {
    operations.push({ kind: 'read', client, ...what, invokedMs: ms, completedMs: Number(until) });
  }
}

/**
 * A run with its times on another clock.
 * @param offsetMs how far the writer's clock was before that one
 * @param goneMs on that clock: since when the client is known to write no more, so that what was under way can't come later
 */
export function onClock(run: Run, offsetMs: number, goneMs?: number): Run {
  const operations = run.operations.map((operation): Operation => {
    const invokedMs = operation.invokedMs - offsetMs;
    if (operation.completedMs !== undefined)
      return { ...operation, invokedMs, completedMs: operation.completedMs - offsetMs };
    // What is invoked after that has no bound here: if it was acknowledged, that shows by itself.
    const bound = goneMs !== undefined && goneMs > invokedMs ? { goneMs } : {};
    return { ...operation, invokedMs, ...bound };
  });
  return { ...run, startMs: run.startMs - offsetMs, operations };
}

/**
 * The writes that a read saw but whose first line was lost with the machine: a virtio port hands a line to the host a moment
 * after the guest has written it. They can only be the next few of a writer that died.
 */
export function unloggedWrites(runs: readonly Run[], reads: readonly Read[]): Write[] {
  const found = new Map<string, Write>();
  for (const { client, first, depth, startMs, operations, end } of runs) {
    if (end !== 'dead') continue;
    const writes = operations.filter(({ kind }) => kind === 'write');
    const last = writes.reduce((highest, { value }) => Math.max(highest, value), first - 1);
    const invokedMs = writes.at(-1)?.invokedMs ?? startMs;
    for (const { value, block } of reads) {
      if (value <= last || value > last + depth) continue;
      found.set(`${value} ${block}`, { kind: 'write', client, block, value, invokedMs });
    }
  }
  return [...found.values()];
}

/** One acknowledged write. */
export interface Ack {
  readonly number: number;
  readonly at: number;
  readonly startMs: number;
  readonly endMs: number;
}

/** The acknowledged writes of some runs, in the order in which they were issued. */
export function acksOfRuns(runs: readonly Run[]): Ack[] {
  return runs.flatMap(({ operations }) =>
    operations.flatMap(({ kind, value, block, invokedMs, completedMs }) =>
      kind === 'write' && completedMs !== undefined
        ? [{ number: value, at: block, startMs: invokedMs, endMs: completedMs }]
        : [],
    ),
  );
}

export interface Verdict {
  readonly acknowledged: number;
  /** Blocks that hold something else than the history allows. */
  readonly lost: readonly Violation[];
  readonly torn: readonly Violation[];
}

/**
 * Holds what a volume contains in the end against what its writers did.
 * @param values by block, what it holds, as `writer dump` prints it
 * @param initial by block, what it held before the first run; INITIAL where nothing is said
 */
export function verify(
  runs: readonly Run[],
  values: readonly number[],
  initial: ReadonlyMap<number, number> = new Map(),
): Verdict {
  const logged = runs.flatMap(({ operations }) => operations);
  const endMs = logged.reduce((latest, { invokedMs, completedMs }) => Math.max(latest, completedMs ?? invokedMs), 0);
  const dump = readsOf(values, 'at the end', endMs + 1, endMs + 2);
  const reads = [...logged.filter((operation): operation is Read => operation.kind === 'read'), ...dump];
  const violations = checkHistory([...logged, ...unloggedWrites(runs, reads), ...dump], { initial });
  return {
    acknowledged: acksOfRuns(runs).length,
    lost: violations.filter(({ kind }) => kind !== 'torn'),
    torn: violations.filter(({ kind }) => kind === 'torn'),
  };
}

/** What blocks hold, as the start of the next history. */
export function initialOf(values: readonly number[]): Map<number, number> {
  return new Map([...values.entries()].filter(([, value]) => value !== INITIAL && value !== TORN));
}

/** The longest time that one write took. */
export function longestStallMs(acks: readonly Ack[]): number {
  return acks.reduce((longest, ack) => Math.max(longest, ack.endMs - ack.startMs), 0);
}

/** Bytes of the distinct chunks that writes touched, for a file that lies in one piece. */
export function dirtyBytes(acks: readonly Ack[], chunkBytes: number): number {
  const chunks = new Set(acks.map((ack) => Math.floor((ack.at * BLOCK_BYTES) / chunkBytes)));
  return chunks.size * chunkBytes;
}
