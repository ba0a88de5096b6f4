import { expect, test } from '@jest/globals';
import { setClock, shiftClockCommand } from './clock.ts';
import type { Qga } from './qga.ts';

test.each([
  [1500, ', 1, 500000000)'],
  [-0.25, ', -1, 999750000)'],
  [-3000, ', -3, 0)'],
])('a shift by %d ms has whole seconds and 0 to 999999999 nanoseconds', (byMs, end) => {
  expect(shiftClockCommand(byMs)).toContain(end);
});

test('the clock is shifted by what it is off, until it is right, and not for ever', async () => {
  let offsetMs = 5000;
  const shifts: string[] = [];
  const qga: Qga = {
    command: async (name, args) => {
      await Promise.resolve();
      if (name === 'guest-get-time') return (Date.now() + offsetMs) * 1e6;
      if (name === 'guest-exec-status') return { exited: true, exitcode: 0 };
      shifts.push(JSON.stringify(args));
      offsetMs = shifts.length < 2 ? 50 : 0;
      return { pid: 1 };
    },
    close: () => undefined,
  };
  await setClock(qga, 'vm');
  expect(shifts).toHaveLength(2);
  offsetMs = 5000;
  const stubborn: Qga = {
    ...qga,
    command: async (name, args) =>
      name === 'guest-get-time' ? (Date.now() + 5000) * 1e6 : await qga.command(name, args),
  };
  await setClock(stubborn, 'vm');
  expect(shifts).toHaveLength(5);
});
