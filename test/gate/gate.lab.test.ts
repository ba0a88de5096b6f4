import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { wrongOf, type Kill } from './guest/scenarios/kills.ts';
import type { HoldOptions, HoldResult } from './guest/scenarios/hold.ts';
import { startGateLab, type GateLab } from './lab.ts';

jest.setTimeout(8 * 60_000);

const HOLD_MS = 2500;

/** The few that hold the law. What the gate rests on besides: gate-all.lab.test.ts. */
describe('the write gate by itself', () => {
  let lab: GateLab;

  beforeAll(async () => {
    lab = await startGateLab();
  });
  afterAll(async () => {
    await lab?.stop();
  });
  // A scenario that fails leaves an array, legs, disks: the next ones are not to fail because of it.
  afterEach(async () => {
    await lab.scenario('clean', {});
  });

  const hold = (options: Omit<HoldOptions, 'holdMs'>): Promise<HoldResult> =>
    lab.scenario('hold', { ...options, holdMs: HOLD_MS });

  // Given nobody acts, when a leg fails, then nothing is acknowledged that it lacks.
  test.each([
    { fault: 'error', queueDepth: 16 },
    { fault: 'fence', queueDepth: 1 },
  ] as const)('$fault at queue depth $queueDepth: nothing is acknowledged that the leg lacks', async (options) => {
    const seen = await hold({ gate: 'valve', ...options });
    expect(seen).toMatchObject({ missing: 0, memberState: ['in_sync', 'external_bbl'] });
    expect(seen.resumedAfterMs).toBeLessThan(1000);
  });

  // An error that isn't the path's passes the valve. md's bad-block log then holds it.
  test('no room on the leg, at queue depth 16: the bad-block log holds it', async () => {
    const seen = await hold({ gate: 'valve', fault: 'late-data-nospc', queueDepth: 16 });
    expect(seen).toMatchObject({ missing: 0, arrayState: 'write-pending' });
    expect(seen.memberState).toEqual(expect.arrayContaining(['in_sync', 'blocked', 'write_error']));
    expect(seen.resumedAfterMs).toBeLessThan(5000);
  });

  test('killed after any of its effects while it adds a leg, the agent finishes when it runs again', async () => {
    const kills = await lab.scenario<Kill[]>('killAdd', { kind: 'Bitmap' });
    expect(kills.length).toBeGreaterThan(5);
    expect(wrongOf(kills)).toEqual([]);
  });
});
