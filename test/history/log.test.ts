import { describe, expect, test } from '@jest/globals';
import { BLOCK_BYTES, fillBlock, readBlock } from './block.ts';
import { acksOfRuns, dirtyBytes, initialOf, longestStallMs, onClock, parseLog, unloggedWrites, verify } from './log.ts';
import { readsOf } from './check.ts';

describe('a block', () => {
  test('tells its value, that it was never written, and that it is torn or in the wrong place', () => {
    const block = fillBlock(Buffer.alloc(BLOCK_BYTES), 42, 7);
    expect(readBlock(block, 7)).toBe(42);
    expect(readBlock(block, 8)).toBe(-1);
    fillBlock(Buffer.alloc(BLOCK_BYTES), 43, 7).copy(block, 0, 0, 512);
    expect(readBlock(block, 7)).toBe(-1);
    expect(readBlock(Buffer.alloc(BLOCK_BYTES), 7)).toBe(0);
  });
});

const LOG = `
start c1 1 2 90;
w 1 5 100;
k 1 5 110.5;
w 2 6 110;
w 3 5 3200;
k 2 6 3200;
r 1 5 3205 3206;
k 3 5 3210;
w 4 6 3215;
k 4 6 32`;

describe('the log', () => {
  const runs = parseLog(LOG);

  test('gives what was done, without a line that was cut off', () => {
    expect(runs).toMatchObject([{ client: 'c1', first: 1, depth: 2, end: 'dead' }]);
    const acks = acksOfRuns(runs);
    expect(acks.map((ack) => ack.number)).toEqual([1, 2, 3]);
    expect(longestStallMs(acks)).toBe(3090);
    expect(dirtyBytes(acks, 65_536)).toBe(65_536);
  });

  test('goes on with a line that was cut off in the middle of the one before', () => {
    const more = parseLog(`${LOG}\nstart c1 1000 1 4000;\nw 1000 0 4001;\nk 1000 0 4002;\nend 4003;\n`);
    expect(more.map(({ end }) => end)).toEqual(['dead', 'asked']);
    expect(acksOfRuns(more)).toHaveLength(4);
  });

  test('of several writers, each of whose lines has a tag', () => {
    const both = 'a start c1 1 2 90;\na w 1 5 100;\nb start c1 1 2 95;\nb w 1 5 101;\na k 1 5 110;\nb w';
    expect(acksOfRuns(parseLog(both, 'a'))).toMatchObject([{ number: 1, at: 5, endMs: 110 }]);
    expect(parseLog(both, 'b')).toMatchObject([{ operations: [{ value: 1, block: 5, invokedMs: 101 }] }]);
    expect(parseLog(both, 'c')).toEqual([]);
  });

  test('tells of an error', () => {
    expect(parseLog(`${LOG}\nerror EIO w 6 5000;\n`)).toMatchObject([{ end: { code: 'EIO', block: 6, ms: 5000 } }]);
  });
});

test('a run on the clock of another machine, and what was under way when its client was fenced', () => {
  const [run] = parseLog(LOG);
  const { startMs, operations } = onClock(run as NonNullable<typeof run>, 90, 3130);
  expect(startMs).toBe(0);
  expect(operations[0]).toMatchObject({ value: 1, invokedMs: 10, completedMs: 20.5 });
  expect(operations.at(-1)).toEqual({ kind: 'write', client: 'c1', value: 4, block: 6, invokedMs: 3125, goneMs: 3130 });
});

describe('a volume against the log', () => {
  const runs = parseLog(LOG);

  test('may hold the last acknowledged write of each block, and what was under way', () => {
    const right = { acknowledged: 3, lost: [], torn: [] };
    expect(verify(runs, [0, 0, 0, 0, 0, 3, 2])).toEqual(right);
    expect(verify(runs, [0, 0, 0, 0, 0, 3, 4])).toEqual(right);
  });

  test('may hold what a dead machine did not get to log, but no more than that', () => {
    expect(verify(runs, [0, 6, 0, 0, 0, 3, 4]).lost).toEqual([]);
    expect(verify(runs, [0, 7, 0, 0, 0, 3, 4]).lost).toMatchObject([{ kind: 'from-nowhere', block: 1 }]);
    expect(unloggedWrites(runs, readsOf([5], 'dump', 9, 9))).toMatchObject([{ value: 5, block: 0, invokedMs: 3215 }]);
  });

  test('may hold what was there before', () => {
    expect(verify(runs, [9, 0, 0, 0, 0, 3, 2], initialOf([9])).lost).toEqual([]);
    expect(verify(runs, [9, 0, 0, 0, 0, 3, 2]).lost).toMatchObject([{ block: 0 }]);
  });

  test('shows a lost write, one that was rolled back, and a torn block', () => {
    expect(verify(runs, [0, 0, 0, 0, 0, 1, 2]).lost).toMatchObject([{ kind: 'lost', block: 5 }]);
    expect(verify(runs, [0, -1, 0, 0, 0, 3, 0])).toMatchObject({ lost: [{ block: 6 }], torn: [{ block: 1 }] });
  });
});
