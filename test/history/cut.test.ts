import { expect, test } from '@jest/globals';
import { cutOf } from './cut.ts';
import type { Write } from './history.ts';

const write = (value: number, block: number, invokedMs: number, completedMs?: number): Write => ({
  kind: 'write',
  client: 'c',
  block,
  value,
  invokedMs,
  completedMs,
});

const history = [write(1, 0, 0, 10), write(2, 1, 11, 20), write(3, 0, 20, 30), write(4, 1, 31, 40), write(5, 0, 40)];
const isCut = (...values: number[]): boolean => {
  const { fromMs, untilMs } = cutOf(history, values);
  return fromMs <= untilMs;
};

test('what a volume held at one time is a cut', () => {
  expect([isCut(0, 0), isCut(1, 0), isCut(1, 2), isCut(3, 2), isCut(3, 4), isCut(5, 4)]).toEqual(Array(6).fill(true));
  // Under way at the same time, and never acknowledged.
  expect(isCut(5, 2)).toBe(true);
});

test('what it never held is none', () => {
  // Block 0 from before its second write, block 1 from after it.
  expect(isCut(1, 4)).toBe(false);
  expect(isCut(0, 2)).toBe(false);
  expect(() => isCut(3, -1)).toThrow('torn');
  expect(() => isCut(9, 2)).toThrow('nobody wrote');
});

test('the span in which it was held is told', () => {
  expect(cutOf(history, [3, 2])).toEqual({ fromMs: 20, untilMs: 40, fromBlock: 0, untilBlock: 1 });
});
