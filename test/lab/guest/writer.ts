/**
 * The writer of the lab, run inside a client VM.
 *
 *   writer write TARGET BLOCKS LOG [options]   overwrites and reads 4 KiB blocks of a file or a block device until SIGTERM
 *   writer dump TARGET [--skip BYTES] [--blocks N]   prints for each block the value that it holds, -1 for a torn one
 *
 * A write is acknowledged when it is durable (O_DSYNC). What is done is noted in LOG (test/history/log.ts), before and after;
 * LOG is a virtio port whose other end is a file of the host, so it outlives the VM. SIGUSR1 makes it rest: it ends its run,
 * and writes what TARGET holds into the file that --held names; SIGUSR2 begins another run. Exit codes: 0 asked to end, 2 bad
 * arguments, 3 the kernel refused a write or a read (the error is in LOG).
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { BLOCK_BYTES, fillBlock, readBlock } from '../../history/block.ts';

const USAGE = `usage: writer write TARGET BLOCKS LOG [--first N] [--depth N] [--reads PERCENT] [--hot BLOCKS] [--pause MS] [--seed N]
                    [--tag WORD] [--held FILE]
       writer dump TARGET [--skip BYTES] [--blocks N]

--first N    values count from N, and TARGET stays as it is (without: TARGET is laid out anew, values count from 1)
--depth N    so many at a time (default 1; at most 4 unless UV_THREADPOOL_SIZE is set); no block is used twice at a time
--reads P    per cent of the operations that are reads (default 0)
--hot N      four of five operations go to the first N blocks (default: all blocks in turn)
--pause MS   between the operations of one of the --depth (default 0)
--tag WORD   what each line of LOG begins with, when several writers have one LOG
--held FILE  what TARGET holds is written there, as dump prints it, when SIGUSR1 asks to rest
`;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    first: { type: 'string' },
    depth: { type: 'string', default: '1' },
    reads: { type: 'string', default: '0' },
    hot: { type: 'string' },
    pause: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    tag: { type: 'string' },
    held: { type: 'string' },
    skip: { type: 'string', default: '0' },
    blocks: { type: 'string' },
  },
});
const [mode, target = '', blockCount, logPath] = positionals;

/** What signals ask for. */
type Order = 'write' | 'rest' | 'end';

/** Signals, as an order that holds until the next. */
class Orders {
  current: Order = 'write';
  private changed: () => void = () => undefined;

  constructor() {
    const orders = { SIGTERM: 'end', SIGUSR1: 'rest', SIGUSR2: 'write' } as const;
    for (const signal of Object.keys(orders) as (keyof typeof orders)[]) {
      process.on(signal, () => {
        if (this.current !== 'end') this.current = orders[signal];
        this.changed();
      });
    }
  }

  /** Returns once the order is another one. A timer keeps the process alive: signals alone don't. */
  async afterRest(): Promise<void> {
    const timer = setInterval(() => undefined, 60_000);
    while (this.current === 'rest') await new Promise<void>((resolve) => (this.changed = resolve));
    clearInterval(timer);
  }
}

async function write(path: string, blocks: number, logPath: string): Promise<number> {
  const orders = new Orders();
  const log = openSync(logPath, 'a');
  const tag = options.tag === undefined ? '' : `${options.tag} `;
  const say = (line: string): void => void writeSync(log, `${tag}${line};\n`);
  if (options.first === undefined) layOut(path, blocks);
  // A machine that lost power may have left half a line.
  writeSync(log, '\n');
  const file = await open(path, constants.O_RDWR | constants.O_DSYNC | constants.O_DIRECT);
  const memory = alignedBuffer(Number(options.depth) * BLOCK_BYTES);
  let first = Number(options.first ?? 1);
  for (;;) {
    const { next, exitCode } = await writeRun({ file, path, blocks, first, orders, say, memory });
    first = next;
    if (exitCode !== 0) return exitCode;
    if (orders.current === 'rest' && options.held !== undefined) {
      writeFileSync(`${options.held}.new`, JSON.stringify(valuesOf(path, 0, blocks)));
      renameSync(`${options.held}.new`, options.held);
    }
    await orders.afterRest();
    if (orders.current === 'end') break;
    if (options.held !== undefined) rmSync(options.held, { force: true });
  }
  await file.close();
  return 0;
}

interface WriteRun {
  readonly file: FileHandle;
  readonly path: string;
  readonly blocks: number;
  readonly first: number;
  readonly orders: Orders;
  readonly say: (line: string) => void;
  readonly memory: Buffer;
}

/** One run of all lanes, until the order is another one. @returns the next value that nobody has used */
async function writeRun(run: WriteRun): Promise<{ readonly next: number; readonly exitCode: number }> {
  const { file, path, blocks, first, orders, say, memory } = run;
  // Monotonic from here on: a clock that is set while we write doesn't put operations out of order.
  const originMs = Date.now() - performance.now();
  const now = (): string => (originMs + performance.now()).toFixed(3);
  const depth = Number(options.depth);
  const pauseMs = Number(options.pause);
  let nextValue = first;
  let exitCode = 0;
  say(`start ${hostname()} ${first} ${depth} ${now()}`);

  const lane = async (number: number): Promise<void> => {
    const block = memory.subarray(number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES);
    const next = chooser(number, depth, blocks);
    while (orders.current === 'write' && exitCode === 0) {
      const { at, reading } = next();
      try {
        if (reading) {
          const from = now();
          await read(file, block, at);
          say(`r ${readBlock(block, at)} ${at} ${from} ${now()}`);
        } else {
          const value = nextValue++;
          say(`w ${value} ${at} ${now()}`);
          await writeAt(file, fillBlock(block, value, at), at);
          say(`k ${value} ${at} ${now()}`);
        }
      } catch (error) {
        const { code = 'unknown' } = error as NodeJS.ErrnoException;
        say(`error ${code} ${reading ? 'r' : 'w'} ${at} ${now()}`);
        console.error(`${path}, block ${at}: ${(error as Error).message}`);
        exitCode = 3;
      }
      await new Promise((resolve) => (pauseMs > 0 ? setTimeout(resolve, pauseMs) : setImmediate(resolve)));
    }
  };
  await Promise.all(Array.from({ length: depth }, (_, number) => lane(number)));
  if (exitCode === 0) say(`end ${now()}`);
  return { next: nextValue, exitCode };
}

/** Which block a lane uses next. Lanes share none, so that what a block holds is never a matter of two writes at a time. */
function chooser(lane: number, depth: number, blocks: number): () => { at: number; reading: boolean } {
  const hot = Number(options.hot ?? 0);
  const reads = Number(options.reads);
  // xorshift: the same choices from the same seed
  let state = (Number(options.seed) * 2_654_435_761 + lane * 40_503 + 1) >>> 0 || 1;
  const integer = (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  let turn = 0;
  return () => {
    turn++;
    const everywhere = Math.floor(blocks / depth);
    const slots = hot > 0 && integer(5) < 4 ? Math.max(1, Math.floor(hot / depth)) : everywhere;
    // A stride that is coprime to the number of blocks visits all of them, far apart.
    const slot = hot > 0 ? integer(slots) : (turn * 7919) % slots;
    return { at: slot * depth + lane, reading: integer(100) < reads };
  };
}

/** A whole block or an error: O_DIRECT doesn't write a part of a sector, but it may stop between two. */
async function writeAt(file: FileHandle, block: Buffer, at: number): Promise<void> {
  const { bytesWritten } = await file.write(block, 0, BLOCK_BYTES, at * BLOCK_BYTES);
  if (bytesWritten !== BLOCK_BYTES) throw Object.assign(new Error(`wrote ${bytesWritten} bytes`), { code: 'ESHORT' });
}

async function read(file: FileHandle, block: Buffer, at: number): Promise<void> {
  const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, at * BLOCK_BYTES);
  if (bytesRead !== BLOCK_BYTES) throw Object.assign(new Error(`read ${bytesRead} bytes`), { code: 'ESHORT' });
}

/** Laid out once and durably, so that what follows are overwrites in place. */
function layOut(path: string, blocks: number): void {
  const block = Buffer.alloc(BLOCK_BYTES);
  const fresh = openSync(path, constants.O_CREAT | constants.O_RDWR);
  for (let at = 0; at < blocks; at++) writeSync(fresh, fillBlock(block, 0, at), 0, BLOCK_BYTES, at * BLOCK_BYTES);
  fsyncSync(fresh);
  closeSync(fresh);
}

/** O_DIRECT wants memory that is aligned to sectors; that of a WebAssembly.Memory begins on a page. */
function alignedBuffer(bytes: number): Buffer {
  type Memory = new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: { readonly Memory: Memory } };
  return Buffer.from(new WebAssembly.Memory({ initial: Math.ceil(bytes / 65_536) }).buffer, 0, bytes);
}

let readMemory: Buffer | undefined;

/** By block, the value that a file or device holds. */
function valuesOf(path: string, skipBytes: number, most: number): number[] {
  const source = openSync(path, constants.O_RDONLY | constants.O_DIRECT);
  const chunk = (readMemory ??= alignedBuffer(1024 * 1024));
  const values: number[] = [];
  const endBytes = fstatSync(source).isFile() ? fstatSync(source).size : Infinity;
  for (;;) {
    const position = skipBytes + values.length * BLOCK_BYTES;
    const length = Math.min(chunk.length, (most - values.length) * BLOCK_BYTES, endBytes - position);
    const got = length <= 0 ? 0 : readSync(source, chunk, 0, length, position);
    if (got < BLOCK_BYTES) break;
    for (let offset = 0; offset + BLOCK_BYTES <= got; offset += BLOCK_BYTES)
      values.push(readBlock(chunk.subarray(offset, offset + BLOCK_BYTES), values.length));
  }
  closeSync(source);
  return values;
}

if (mode === 'write' && logPath !== undefined) process.exit(await write(target, Number(blockCount), logPath));
else if (mode === 'dump')
  console.log(JSON.stringify(valuesOf(target, Number(options.skip), Number(options.blocks ?? Infinity))));
else {
  console.error(USAGE);
  process.exitCode = 2;
}
