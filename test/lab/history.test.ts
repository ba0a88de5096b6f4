import { describe, expect, test } from '@jest/globals';
import { BLOCK_BYTES, dirtyBytes, fillBlock, longestStallMs, parseAcks, readBlock, verify } from './history.ts';

describe('a block', () => {
  test('tells its number, and that it is torn or in the wrong place', () => {
    const block = fillBlock(Buffer.alloc(BLOCK_BYTES), 42, 7);
    expect(readBlock(block, 7)).toBe(42);
    expect(readBlock(block, 8)).toBe(-1);
    fillBlock(Buffer.alloc(BLOCK_BYTES), 43, 7).copy(block, 0, 0, 512);
    expect(readBlock(block, 7)).toBe(-1);
  });
});

describe('the checker', () => {
  const acks = parseAcks('1 5 100 110\n2 6 110 3200\n3 5 3200 3210\n4 6 32');

  test('reads the log, without a line that was cut off', () => {
    expect(acks.map((ack) => ack.number)).toEqual([1, 2, 3]);
    expect(longestStallMs(acks)).toBe(3090);
    expect(dirtyBytes(acks, 65536)).toBe(65536);
  });

  test('accepts the last acknowledged write of each block, and the one under way', () => {
    expect(verify(acks, [0, 0, 0, 0, 0, 3, 4])).toEqual({ acknowledged: 3, lost: [], torn: [], unacknowledged: 1 });
  });

  test('finds a lost write, one that was rolled back, and a torn block', () => {
    expect(verify(acks, [0, 0, 0, 0, 0, 1, 2]).lost).toEqual([{ at: 5, acknowledged: 3, found: 1 }]);
    expect(verify(acks, [0, -1, 0, 0, 0, 3, 0])).toMatchObject({ lost: [{ at: 6 }], torn: [1] });
  });
});
