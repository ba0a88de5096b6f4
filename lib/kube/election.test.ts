import { expect, test } from '@jest/globals';
import { createFakeClock } from '../fake-clock.ts';
import { silentLog } from '../log.ts';
import { runWithLeaderElection } from './election.ts';
import { KubeError } from './error.ts';
import { createFakeResource } from './fake-resource.ts';
import type { Lease } from './kinds.ts';

function setUp() {
  const clock = createFakeClock();
  const leases = createFakeResource<Lease>();
  const history: string[] = [];
  const work = (identity: string) => async (signal: AbortSignal) => {
    history.push(`${identity} leads`);
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    history.push(`${identity} ends`);
  };
  const run = (identity: string, onStarted = work(identity)) =>
    runWithLeaderElection({
      leases,
      name: 'operator',
      identity,
      onStarted,
      log: silentLog,
      clock,
      random: () => 0,
      leaseDurationMs: 15_000,
      renewDeadlineMs: 10_000,
      retryPeriodMs: 2000,
    });
  return { clock, leases, history, run };
}

test('one of two leads; the other takes over at once when it is given away', async () => {
  const { clock, leases, history, run } = setUp();
  const a = run('a');
  await clock.advance(0);
  const b = run('b');
  await clock.advance(60_000);
  expect(history).toEqual(['a leads']);
  await a.stop();
  expect(leases.objects.get('operator')?.spec?.holderIdentity).toBe('');
  await clock.advance(2000);
  expect(history).toEqual(['a leads', 'a ends', 'b leads']);
  expect(leases.objects.get('operator')?.spec?.leaseTransitions).toBe(1);
  await b.stop();
});

test('a leader that dies is followed after its lease has run out by the clock of the follower', async () => {
  const { clock, leases, history, run } = setUp();
  // A holder with a clock that is a year ahead, and which does nothing more.
  const renewTime = '2030-01-01T00:00:00.000000Z';
  const spec = { holderIdentity: 'dead', leaseDurationSeconds: 15, renewTime };
  await leases.create({ metadata: { name: 'operator' }, spec });
  const b = run('b');
  await clock.advance(14_000);
  expect(history).toEqual([]);
  await clock.advance(2000);
  expect(history).toEqual(['b leads']);
  await b.stop();
});

test('a leader that can not renew stops before anybody else may begin, even when requests hang', async () => {
  const { clock, leases, history, run } = setUp();
  const a = run('a');
  await clock.advance(1000);
  const renewedMs = clock.now();
  leases.before = async () => await new Promise(() => undefined);
  let endedMs = 0;
  for (let i = 0; i < 200 && endedMs === 0; i += 1) {
    await clock.advance(100);
    if (history.includes('a ends')) endedMs = clock.now();
  }
  expect(endedMs - renewedMs).toBeGreaterThan(5000);
  expect(endedMs - renewedMs).toBeLessThan(15_000);
  void a;
});

test('a leader whose lease was taken ends its work', async () => {
  const { clock, leases, history, run } = setUp();
  const a = run('a');
  await clock.advance(0);
  await leases.patch('operator', { spec: { holderIdentity: 'b', renewTime: 'x' } });
  await clock.advance(2000);
  expect(history).toEqual(['a leads', 'a ends']);
  await a.stop();
  expect(leases.objects.get('operator')?.spec?.holderIdentity).toBe('b');
});

test('short failures to renew are no loss', async () => {
  const { clock, leases, history, run } = setUp();
  const a = run('a');
  await clock.advance(0);
  leases.before = () => {
    throw new KubeError(500, 'InternalError', 'no');
  };
  await clock.advance(7000);
  leases.before = () => undefined;
  await clock.advance(60_000);
  expect(history).toEqual(['a leads']);
  await a.stop();
});

test('stop keeps the lead until the work has ended', async () => {
  const { clock, leases, run } = setUp();
  const gate = Promise.withResolvers<void>();
  const a = run('a', async () => await gate.promise);
  await clock.advance(0);
  const stopping = a.stop();
  await clock.advance(30_000);
  expect(leases.objects.get('operator')?.spec?.holderIdentity).toBe('a');
  gate.resolve();
  await stopping;
  expect(leases.objects.get('operator')?.spec?.holderIdentity).toBe('');
});

test('work that fails gives the lead away and seeks it again', async () => {
  const { clock, run } = setUp();
  let times = 0;
  const a = run('a', async () => {
    times += 1;
    throw new Error('no');
  });
  await clock.advance(5000);
  expect(times).toBeGreaterThan(1);
  await a.stop();
});

test('times that make no sense are refused', () => {
  const { clock, leases } = setUp();
  const options = { leases, name: 'x', identity: 'a', onStarted: async () => undefined, log: silentLog, clock };
  expect(() =>
    runWithLeaderElection({ ...options, leaseDurationMs: 10, renewDeadlineMs: 10, retryPeriodMs: 1 }),
  ).toThrow('retryPeriodMs < renewDeadlineMs < leaseDurationMs');
});

// Given a renewal that is under way when the leader stops, when it lands between the look and the release, then the lead
// is given away all the same.
test('the lead is given away although a last renewal comes in between', async () => {
  const { clock, leases, run } = setUp();
  const a = run('a');
  await clock.advance(0);
  let renewals = 1;
  leases.before = async (method, name) => {
    if (method !== 'replace' || renewals === 0) return;
    renewals -= 1;
    await leases.patch(name, { spec: { renewTime: '2026-01-01T00:00:00.000000Z' } });
  };
  await a.stop();
  expect(leases.objects.get('operator')?.spec?.holderIdentity).toBe('');
});

test('clocks that are set neither end a lead nor give one away early', async () => {
  const { clock, history, run } = setUp();
  const a = run('a');
  await clock.advance(0);
  const b = run('b');
  for (const byMs of [3_600_000, -7_200_000, 20_000]) {
    clock.setWall(byMs);
    await clock.advance(5000);
  }
  expect(history).toEqual(['a leads']);
  await a.stop();
  await b.stop();
});
