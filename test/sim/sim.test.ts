import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { runSeeds } from './batch.ts';
import { runSchedule } from './run.ts';
import { scheduleOf } from './schedule.ts';

/*
 * Fresh seeds at every run; each failure names its seed, and `node test/sim/main.ts --replay SEED` tells its history.
 * HOLDFAST_SIM_SEEDS=20000 runs more of them.
 */
const fresh = Number(process.env['HOLDFAST_SIM_SEEDS'] ?? 150);
const knownBad = JSON.parse(readFileSync(path.join(import.meta.dirname, 'known-bad.json'), 'utf8')) as {
  readonly seed: number;
  readonly found: string;
}[];

test('the seeds that once broke a law do not break one any more', async () => {
  const { failures } = await runSeeds(knownBad.map(({ seed }) => seed));
  expect(failures).toEqual([]);
}, 300_000);

test(`${fresh} fresh seeds break no law, and the world comes to rest`, async () => {
  const first = Date.now() % 1_000_000_000;
  const { failures, acknowledged } = await runSeeds(Array.from({ length: fresh }, (_, i) => first + i));
  expect(failures).toEqual([]);
  expect(acknowledged).toBeGreaterThan(fresh);
}, 300_000);

test('a seed gives the same run each time', async () => {
  const lines: string[][] = [[], []];
  for (const each of lines) {
    await runSchedule(scheduleOf(7), { trace: (atMs, who, what) => each.push(`${atMs} ${who} ${what}`) });
  }
  expect(lines[0]?.length).toBeGreaterThan(20);
  expect(lines[0]).toEqual(lines[1]);
}, 60_000);
