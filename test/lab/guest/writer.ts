/**
 * The writer of the lab, run inside a client VM.
 *
 *   writer write FILE BLOCKS LOG   overwrites 4 KiB blocks of FILE for ever, each with its own number, and after every
 *                                  acknowledged write appends `number block startMs endMs` to LOG
 *   writer dump FILE               prints for each block the number that it holds, -1 for one that is torn
 *
 * A write is acknowledged when it is durable (O_DSYNC). LOG is a virtio port whose other end is a file of the host: what
 * has been acknowledged outlives the VM.
 */
import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { BLOCK_BYTES, fillBlock, readBlock } from '../history.ts';

const [, , mode, file = '', ...rest] = process.argv;

if (mode === 'write') await write(file, Number(rest[0]), rest[1] ?? '');
else if (mode === 'dump') dump(file);
else {
  console.error('usage: writer write FILE BLOCKS LOG | writer dump FILE');
  process.exitCode = 2;
}

async function write(path: string, blocks: number, logPath: string): Promise<void> {
  const log = openSync(logPath, 'a');
  const block = Buffer.alloc(BLOCK_BYTES);
  // Laid out once and durably, so that what follows are overwrites in place.
  const fresh = openSync(path, constants.O_CREAT | constants.O_RDWR | constants.O_TRUNC);
  for (let at = 0; at < blocks; at++) writeSync(fresh, fillBlock(block, 0, at), 0, BLOCK_BYTES, at * BLOCK_BYTES);
  fsyncSync(fresh);
  closeSync(fresh);
  const target = openSync(path, constants.O_RDWR | constants.O_DSYNC);
  let stop = false;
  process.once('SIGTERM', () => (stop = true));
  for (let number = 1; !stop; number++) {
    // A stride that is coprime to the number of blocks visits all of them, far apart.
    const at = (number * 7919) % blocks;
    const startMs = Date.now();
    writeSync(target, fillBlock(block, number, at), 0, BLOCK_BYTES, at * BLOCK_BYTES);
    writeSync(log, `${number} ${at} ${startMs} ${Date.now()}\n`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  closeSync(target);
}

function dump(path: string): void {
  const source = openSync(path, 'r');
  const blocks = fstatSync(source).size / BLOCK_BYTES;
  const block = Buffer.alloc(BLOCK_BYTES);
  const numbers: number[] = [];
  for (let at = 0; at < blocks; at++) {
    readSync(source, block, 0, BLOCK_BYTES, at * BLOCK_BYTES);
    numbers.push(readBlock(block, at));
  }
  console.log(JSON.stringify(numbers));
}
