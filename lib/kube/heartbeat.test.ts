import { expect, test } from '@jest/globals';
import { createFakeClock } from '../fake-clock.ts';
import { silentLog } from '../log.ts';
import { KubeError } from './error.ts';
import { createFakeResource } from './fake-resource.ts';
import { startHeartbeat } from './heartbeat.ts';
import type { Lease } from './kinds.ts';

function setUp() {
  const clock = createFakeClock();
  const leases = createFakeResource<Lease>();
  const renewed: number[] = [];
  const start = () =>
    startHeartbeat({
      leases,
      name: 'client-c1',
      holder: 'c1',
      durationMs: 9000,
      log: silentLog,
      clock,
      onRenewed: (sentMs) => renewed.push(sentMs),
    });
  return { clock, leases, renewed, start, startMs: clock.now() };
}

test('makes the lease, and renews it every third of its duration', async () => {
  const { clock, leases, renewed, start, startMs } = setUp();
  const heartbeat = start();
  await clock.advance(9000);
  expect(renewed.map((ms) => ms - startMs)).toEqual([0, 3000, 6000, 9000]);
  expect(leases.objects.get('client-c1')?.spec).toEqual({
    holderIdentity: 'c1',
    leaseDurationSeconds: 9,
    acquireTime: '2023-11-14T22:13:20.000000Z',
    renewTime: '2023-11-14T22:13:29.000000Z',
  });
  expect(leases.requests.filter((request) => request.startsWith('create'))).toHaveLength(1);
  await heartbeat.stop();
});

test('goes on after failures, and makes the lease again when somebody deleted it', async () => {
  const { clock, leases, renewed, start, startMs } = setUp();
  const heartbeat = start();
  await clock.advance(0);
  leases.before = () => {
    throw new KubeError(0, 'ConnectionFailed', 'no');
  };
  await clock.advance(30_000);
  leases.before = () => undefined;
  await leases.delete('client-c1');
  await clock.advance(3000);
  expect(renewed.map((ms) => ms - startMs)).toEqual([0, 33_000]);
  expect(leases.objects.has('client-c1')).toBe(true);
  await heartbeat.stop();
});

test('stop leaves the lease as it is', async () => {
  const { clock, leases, renewed, start } = setUp();
  const heartbeat = start();
  await clock.advance(0);
  await heartbeat.stop();
  await clock.advance(30_000);
  expect([renewed.length, leases.objects.get('client-c1')?.spec?.holderIdentity]).toEqual([1, 'c1']);
});
