import { expect, test } from '@jest/globals';
import { runAll, type Failure } from './batch.ts';
import { knownBad } from './known-bad.ts';
import { runSchedule } from './run.ts';
import { scheduleOf } from './schedule.ts';

/*
 * `HOLDFAST_SIM_SEEDS=3000` runs that many fresh seeds; each failure names its seed, and `node test/sim/main.ts --replay SEED`
 * tells its history.
 */
const fresh = Number(process.env['HOLDFAST_SIM_SEEDS'] ?? 0);

const told = (failures: readonly Failure[]): string[] =>
  failures.map(({ schedule, violation }) => `seed ${schedule.seed}: ${violation.law}: ${violation.message}`);

test('what once broke a law does not break one any more', async () => {
  const { failures } = await runAll(knownBad().map(({ schedule }) => schedule));
  expect(told(failures)).toEqual([]);
}, 600_000);

test(`${fresh} fresh seeds break no law, and the world comes to rest`, async () => {
  const first = Date.now() % 1_000_000_000;
  const { failures, acknowledged } = await runAll(Array.from({ length: fresh }, (_, i) => first + i));
  expect(told(failures)).toEqual([]);
  expect(acknowledged).toBeGreaterThanOrEqual(fresh);
}, 600_000);

test('a seed gives the same run each time', async () => {
  const lines: string[][] = [[], []];
  for (const each of lines) {
    await runSchedule(scheduleOf(7), { trace: (atMs, who, what) => each.push(`${atMs} ${who} ${what}`) });
  }
  expect(lines[0]?.length).toBeGreaterThan(20);
  expect(lines[0]).toEqual(lines[1]);
}, 60_000);
