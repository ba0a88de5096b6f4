import { expect, test } from '@jest/globals';
import { reportOf, spread, summary } from './report.ts';
import { longestPauseMs, type RoundResult } from './round.ts';
import type { Fault } from './schedule.ts';

test('a spread is by nearest rank', () => {
  const values = Array.from({ length: 200 }, (_, index) => index + 1);
  expect(spread(values)).toEqual({ count: 200, p50: 100, p99: 198, max: 200 });
  expect(spread([5])).toEqual({ count: 1, p50: 5, p99: 5, max: 5 });
  expect(spread([])).toEqual({ count: 0, p50: 0, p99: 0, max: 0 });
});

test('the longest pause begins with the last acknowledgement before the fault and may last to the end', () => {
  expect(longestPauseMs([10, 20, 900, 910], 25, 1000)).toBe(880);
  expect(longestPauseMs([10, 20], 25, 1000)).toBe(980);
  expect(longestPauseMs([], 25, 1000)).toBe(975);
});

test('a report counts faults, spreads stalls by what happened, and names each violation with its round', () => {
  const result = (stallMs: number, faults: readonly Fault[], more: Partial<RoundResult> = {}): RoundResult => ({
    round: { pattern: 'pair', volume: 'raw', steps: faults.map((fault) => ({ atMs: 0, forMs: 1, fault })) },
    findings: [],
    acknowledged: 100,
    stallMs,
    tookMs: 1,
    healedMs: 1,
    notes: [],
    ...more,
  });
  const kill: Fault = { kind: 'kill', program: 'operator', leg: 0 };
  const report = reportOf(7, [
    result(100, [kill]),
    result(300, [kill]),
    result(4000, [kill, { kind: 'move' }], { findings: [{ what: 'history', text: 'block 3' }] }),
    result(0, [{ kind: 'move' }], { acknowledged: 0 }),
  ]);
  expect(report).toEqual({
    seed: 7,
    rounds: 4,
    violations: 1,
    findings: [{ round: 3, what: 'history', text: 'block 3' }],
    faultsByKind: { 'kill operator': 3, move: 2 },
    stallMs: {
      'kill operator': { count: 2, p50: 100, p99: 300, max: 300 },
      pair: { count: 1, p50: 4000, p99: 4000, max: 4000 },
    },
    acknowledgedWrites: 300,
  });
  expect(summary(report)).toContain('4 rounds, 300 acknowledged writes, 1 violations\nround 3: history: block 3');
});
