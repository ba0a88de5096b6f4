import { fork, type ChildProcess } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { BLOCK_BYTES, fillBlock } from '../../history/block.ts';
import { alignedBuffer } from './direct.ts';
import { ARRAY, md } from './rig.ts';

/** A stride that is coprime to the number of blocks visits all of them, far apart: nearly each write meets a clean chunk. */
const STRIDE = 7919;

/**
 * Writes numbered blocks past the page cache, `queueDepth` at a time, until SIGTERM, and notes in `log` each one that was
 * acknowledged. It is a process of its own because its threads stay in the kernel while md holds their writes.
 */
export async function write(device: string, queueDepth: number, blocks: number, log: string): Promise<void> {
  const out = openSync(log, 'a');
  const target = await open(device, constants.O_RDWR | constants.O_DIRECT);
  let stop = false;
  process.once('SIGTERM', () => (stop = true));
  let next = 1;
  const lane = async (): Promise<void> => {
    const block = alignedBuffer(BLOCK_BYTES);
    while (!stop) {
      const number = next++;
      const at = (number * STRIDE) % blocks;
      const startMs = Date.now();
      await target.write(fillBlock(block, number, at), 0, BLOCK_BYTES, at * BLOCK_BYTES);
      writeSync(out, `${number} ${at} ${startMs} ${Date.now()}\n`);
    }
  };
  await Promise.all(Array.from({ length: queueDepth }, lane));
  await target.close();
  closeSync(out);
}

/** One acknowledged write. */
export interface Ack {
  readonly number: number;
  readonly at: number;
  readonly startMs: number;
  readonly endMs: number;
}

function parseAcks(log: string): Ack[] {
  return log
    .slice(0, log.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(' ').map(Number))
    .map(([number = 0, at = 0, startMs = 0, endMs = 0]) => ({ number, at, startMs, endMs }));
}

/** A writer that runs. */
export interface Writer {
  readonly acks: () => Ack[];
  /** Waits until so many writes were acknowledged (in all). Throws when they are not in time. */
  readonly reaches: (count: number, timeoutMs?: number) => Promise<void>;
  /** Ends it once its writes have ended. */
  readonly stop: () => Promise<void>;
}

let writers = 0;
const running = new Set<ChildProcess>();

/** Kills the writers that a failure left; they end with their last write. */
export function killWriters(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** Starts a writer on a block device. An error that it gets from the kernel is thrown by `stop`. */
export function startWriter(device: string, queueDepth: number, blocks: number): Writer {
  const log = `/dev/shm/gate-acks-${++writers}`;
  rmSync(log, { force: true });
  const child: ChildProcess = fork(process.argv[1] ?? '', ['write', device, String(queueDepth), String(blocks), log], {
    env: { ...process.env, UV_THREADPOOL_SIZE: String(queueDepth + 4) },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const acks = (): Ack[] => {
    try {
      return parseAcks(readFileSync(log, 'utf8'));
    } catch {
      return []; // it has not begun
    }
  };
  return {
    acks,
    reaches: async (count, timeoutMs = 30_000) => {
      const deadline = Date.now() + timeoutMs;
      while (acks().length < count) {
        if (child.exitCode !== null) throw new Error(`the writer ended: ${said}`);
        if (Date.now() > deadline) throw new Error(`only ${acks().length} of ${count} writes were acknowledged`);
        await sleep(20);
      }
    },
    stop: async () => {
      child.kill('SIGTERM');
      const code = await Promise.race([ended, sleep(20_000, 'late' as const)]);
      if (code !== 0) throw new Error(`the writer did not end well (${code}): ${said}`);
    },
  };
}

/** An array that was clean asks for `active` once more before the first write: says so while `work` runs. */
export async function asking<T>(work: () => Promise<T>): Promise<T> {
  const timer = setInterval(() => {
    if (md.readArray(ARRAY)?.state === 'write-pending') void md.activate(ARRAY).catch(() => undefined);
  }, 30);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
