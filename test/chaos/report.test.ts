import { expect, test } from '@jest/globals';
import { lineOf, reportOf, spread, summary, type RoundLine } from './report.ts';
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

test('a report is made of the rounds of several runs: faults, stalls by what happened, violations with their round', () => {
  const line = (round: number, stallMs: number, faults: readonly Fault[], more: Partial<RoundResult> = {}): RoundLine =>
    lineOf(7, round, round < 4 ? 'abc' : 'def', {
      round: {
        pattern: 'pair',
        volume: 'raw',
        detach: false,
        steps: faults.map((fault) => ({ atMs: 0, forMs: 1, fault })),
      },
      findings: [],
      acknowledged: 100,
      stallMs,
      tookMs: 1000 * round,
      phasesMs: { faults: 500 },
      ...more,
    });
  const kill: Fault = { kind: 'kill', program: 'operator', leg: 0 };
  const report = reportOf([
    line(1, 100, [kill]),
    line(2, 300, [kill]),
    line(3, 4000, [kill, { kind: 'move' }], { findings: [{ what: 'history', text: 'block 3' }] }),
    line(4, 0, [{ kind: 'move' }], { acknowledged: 0, phasesMs: {} }),
  ]);
  expect(report).toEqual({
    rounds: 4,
    violations: 1,
    findings: [{ seed: 7, round: 3, what: 'history', text: 'block 3' }],
    faultsByKind: { 'kill operator': 3, move: 2 },
    stallMs: {
      'kill operator': { count: 2, p50: 100, p99: 300, max: 300 },
      pair: { count: 1, p50: 4000, p99: 4000, max: 4000 },
    },
    acknowledgedWrites: 300,
    roundsBySeed: { '7': 4 },
    roundsByCommit: { abc: 3, def: 1 },
    meanRoundMs: 2500,
    meanPhasesMs: { begin: 0, faults: 500, mend: 0, heal: 0, check: 0, detach: 0 },
  });
  expect(summary(report)).toContain(
    '4 rounds, 300 acknowledged writes, 1 violations\nseed 7 round 3: history: block 3',
  );
});
