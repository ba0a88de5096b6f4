import { describe, expect, test } from '@jest/globals';
import { expected } from './expected.ts';
import { scenarios } from './scenarios.ts';
import { run, simulatedStage } from './simulated.ts';

/** What the real kernel showed (real.lab.test.ts), the simulated one has to show as well, with whatever timing. */
describe.each(Object.keys(expected))('on the simulated kernel: %s', (name) => {
  test.each([1, 2, 3, 4, 5])('seed %d', async (seed) => {
    const { stage, scheduler } = await simulatedStage(seed);
    const scenario = scenarios[name];
    if (!scenario) throw new Error(name);
    expect(await run(scheduler, scenario(stage))).toEqual(expected[name]);
  });
});
