import { expect, test } from '@jest/globals';
import { runSchedule } from './run.ts';
import { apart, type Schedule, type Shape } from './schedule.ts';

const shape: Shape = {
  storageNodes: 2,
  replicas: 2,
  clients: 2,
  legTimeout: '1s',
  replicaTimeout: '1h',
  onControlPlaneLoss: 'Continue after 2s',
  operators: 1,
  leaseMs: 4000,
  volatileCache: false,
  mode: 'block',
  thinkMs: 200,
  teardown: false,
};

test('where a volume has come apart a person decides, and all that is not given up by that is kept', async () => {
  const steps = [{ kind: 'move', atMs: 100, to: 'c1', orderly: true } as const, ...apart(['s1', 's2'], 4000)];
  const chosen = new Set<string>();
  for (let seed = 1; seed <= 6; seed += 1) {
    const schedule: Schedule = { seed, shape, steps, healMs: 18_000 };
    const trace = (_atMs: number, who: string, what: string): void => {
      const choice = /by your decision the volume goes on from (\S+)/.exec(what)?.[1];
      if (who === 'admin' && choice !== undefined) chosen.add(choice);
    };
    expect((await runSchedule(schedule, { trace })).violation).toBeUndefined();
  }
  expect([...chosen].sort()).toEqual(['pg-r0', 'pg-r1']);
}, 60_000);
