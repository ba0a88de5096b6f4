import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { Lab } from '../lab/lab.ts';
import type { System } from '../system/system.ts';
import { runRound } from './round.ts';
import type { Fault, Round, Step } from './schedule.ts';
import { prepareStage } from './stage.ts';
import { createWorkload, type Workload } from './workload.ts';

jest.setTimeout(6 * 60_000);

const step = (atMs: number, forMs: number, fault: Fault): Step => ({ atMs, forMs, fault });

/** A round that always runs; `make chaos` is for more, and `open/` has schedules that do not pass each time yet. */
const rounds: readonly Round[] = [
  {
    pattern: 'a leg is lost while the agent is dead, and the volume moves away from its dead client',
    volume: 'file',
    steps: [
      step(500, 4000, { kind: 'kill', program: 'client-agent', leg: 0 }),
      step(1000, 6000, { kind: 'leg-cut', leg: 0, way: 'both' }),
      step(8000, 3000, { kind: 'client-power' }),
    ],
  },
];

describe('chaos', () => {
  let lab: Lab;
  let system: System;
  let workload: Workload;

  beforeAll(async () => {
    ({ lab, system } = await prepareStage('dist'));
    workload = createWorkload(system, () => undefined);
  });

  afterAll(async () => {
    await system.stop();
    await lab.stop();
  });

  test.each(rounds)('$pattern: nothing is lost, and all is well again', async (round) => {
    const notes: string[] = [];
    const { findings, acknowledged } = await runRound(system, workload, round, notes);
    if (findings.length > 0) throw new Error([...findings.map(({ text }) => text), ...notes].join('\n'));
    expect(acknowledged).toBeGreaterThan(20);
  });
});
