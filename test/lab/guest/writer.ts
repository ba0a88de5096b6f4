/**
 * The writer of the lab, run inside a client VM.
 *
 *   writer write TARGET BLOCKS LOG [options]   overwrites and reads 4 KiB blocks of a file or a block device until SIGTERM
 *   writer dump TARGET [--skip BYTES] [--blocks N]   prints for each block the value that it holds, -1 for a torn one
 *
 * A write is acknowledged when it is durable (O_DSYNC). What is done is noted in LOG (test/history/log.ts), before and after;
 * LOG is a virtio port whose other end is a file of the host, so it outlives the VM. Exit codes: 0 asked to end, 2 bad
 * arguments, 3 the kernel refused a write or a read (the error is in LOG).
 */
import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { BLOCK_BYTES, fillBlock, readBlock } from '../../history/block.ts';

const USAGE = `usage: writer write TARGET BLOCKS LOG [--first N] [--depth N] [--reads PERCENT] [--hot BLOCKS] [--pause MS] [--seed N]
       writer dump TARGET [--skip BYTES] [--blocks N]

--first N    values count from N, and TARGET stays as it is (without: TARGET is laid out anew, values count from 1)
--depth N    so many at a time (default 1; at most 4 unless UV_THREADPOOL_SIZE is set); no block is used twice at a time
--reads P    per cent of the operations that are reads (default 0)
--hot N      four of five operations go to the first N blocks (default: all blocks in turn)
--pause MS   between the operations of one of the --depth (default 0)
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
    skip: { type: 'string', default: '0' },
    blocks: { type: 'string' },
  },
});
const [mode, target = '', blockCount, logPath] = positionals;

if (mode === 'write' && logPath !== undefined) process.exit(await write(target, Number(blockCount), logPath));
else if (mode === 'dump') dump(target, Number(options.skip), Number(options.blocks ?? Infinity));
else {
  console.error(USAGE);
  process.exitCode = 2;
}

async function write(path: string, blocks: number, logPath: string): Promise<number> {
  // Monotonic from here on: a clock that is set while we write doesn't put operations out of order.
  const originMs = Date.now() - performance.now();
  const now = (): string => (originMs + performance.now()).toFixed(3);
  const log = openSync(logPath, 'a');
  const say = (line: string): void => void writeSync(log, `${line};\n`);
  if (options.first === undefined) layOut(path, blocks);
  const first = Number(options.first ?? 1);
  const depth = Number(options.depth);
  const pauseMs = Number(options.pause);
  let nextValue = first;
  let stopped = false;
  let exitCode = 0;
  process.once('SIGTERM', () => (stopped = true));
  // A machine that lost power may have left half a line.
  say(`\nstart ${hostname()} ${first} ${depth} ${now()}`);
  const file = await open(path, constants.O_RDWR | constants.O_DSYNC | constants.O_DIRECT);
  const memory = alignedBuffer(depth * BLOCK_BYTES);

  const lane = async (number: number): Promise<void> => {
    const block = memory.subarray(number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES);
    const next = chooser(number, depth, blocks);
    while (!stopped) {
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
        stopped = true;
        exitCode = 3;
      }
      await new Promise((resolve) => (pauseMs > 0 ? setTimeout(resolve, pauseMs) : setImmediate(resolve)));
    }
  };
  await Promise.all(Array.from({ length: depth }, (_, number) => lane(number)));
  if (exitCode === 0) say(`end ${now()}`);
  await file.close();
  return exitCode;
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

function dump(path: string, skipBytes: number, most: number): void {
  const source = openSync(path, constants.O_RDONLY | constants.O_DIRECT);
  const chunk = alignedBuffer(1024 * 1024);
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
  console.log(JSON.stringify(values));
}
