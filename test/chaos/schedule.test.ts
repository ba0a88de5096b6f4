import { expect, test } from '@jest/globals';
import { parseSchedule } from './schedule-file.ts';
import { describeFault, generate, labelOfRound, lengthOfRound } from './schedule.ts';

test('a seed gives the same rounds always, and the first of many are the same as of few', () => {
  expect(generate(7, 3).rounds).toEqual(generate(7, 9).rounds.slice(0, 3));
  expect(generate(8, 3)).not.toEqual(generate(7, 3));
});

test('a few hundred rounds hold every pattern and every fault, and each is short', () => {
  const { rounds } = generate(1, 400);
  expect(new Set(rounds.map(({ pattern }) => pattern)).size).toBe(9);
  expect(new Set(rounds.flatMap(({ steps }) => steps.map(({ fault }) => fault.kind))).size).toBe(19);
  expect(Math.max(...rounds.map(lengthOfRound))).toBeLessThanOrEqual(60_000);
  const meanMs = rounds.reduce((sum, round) => sum + lengthOfRound(round), 0) / rounds.length;
  expect(meanMs).toBeLessThan(10_000);
});

test('a schedule outlives a file', () => {
  const schedule = generate(3, 200);
  expect(parseSchedule(JSON.stringify(schedule))).toEqual(schedule);
});

test('what is wrong with a file is told with its place', () => {
  const scheduleWith = (fault: object): string =>
    JSON.stringify({ rounds: [{ volume: 'raw', steps: [{ atMs: 1, forMs: 2, fault }] }] });
  expect(() => parseSchedule('{')).toThrow('it is not JSON');
  expect(() => parseSchedule('{}')).toThrow('rounds is missing: it must be a list of rounds');
  expect(() => parseSchedule('{"rounds":[{"volume":"x"}]}')).toThrow(
    'rounds[0].volume is "x": it must be "raw" or "file"',
  );
  expect(() => parseSchedule(scheduleWith({ kind: 'boom' }))).toThrow(
    'rounds[0].steps[0].fault.kind is "boom": it must be one of storage-power',
  );
  expect(() => parseSchedule(scheduleWith({ kind: 'leg-cut', leg: 1, way: 'up' }))).toThrow(
    'rounds[0].steps[0].fault.way is "up": it must be one of both, sent, received',
  );
  expect(() => parseSchedule(scheduleWith({ kind: 'storage-power' }))).toThrow(
    'fault.leg is missing: it must be a whole number',
  );
  const step = { after: 'noon', atMs: 1, forMs: 2, fault: { kind: 'move' } };
  expect(() => parseSchedule(JSON.stringify({ rounds: [{ volume: 'raw', steps: [step] }] }))).toThrow(
    'rounds[0].steps[0].after is "noon": it must be "sync", or be left out',
  );
});

test('faults and rounds have names for tables', () => {
  expect(describeFault({ kind: 'leg-cut', leg: 1, way: 'sent' })).toBe('leg-cut 1 sent');
  const kill = { atMs: 0, forMs: 1, fault: { kind: 'kill', program: 'operator', leg: 0 } } as const;
  expect(labelOfRound({ pattern: 'single', volume: 'raw', detach: false, steps: [kill] })).toBe('kill operator');
  expect(labelOfRound({ pattern: 'pair', volume: 'raw', detach: false, steps: [kill, kill] })).toBe('pair');
});
