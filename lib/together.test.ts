import { expect, test } from '@jest/globals';
import { together } from './together.ts';

test('what is done together has ended together, whatever fails', async () => {
  const ended: number[] = [];
  const work = async (ms: number): Promise<number> => {
    await new Promise((resolve) => setTimeout(resolve, ms));
    ended.push(ms);
    if (ms < 10) throw new Error(`no ${ms}`);
    return ms * 2;
  };
  await expect(together([30, 20], work)).resolves.toEqual([60, 40]);
  await expect(together([40, 5, 6], work)).rejects.toThrow('no 5');
  expect(ended).toEqual([20, 30, 5, 6, 40]);
});
