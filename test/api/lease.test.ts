import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { storageLeaseName } from '../../lib/api/index.ts';
import { connect, kinds, resource, type KubeConnection, type Lease, type Resource } from '../../lib/kube/client.ts';
import { createInformer } from '../../lib/kube/informer.ts';
import { LeaseTracker, runWithLeaderElection, startHeartbeat } from '../../lib/kube/lease.ts';
import { silentLog } from '../../lib/log.ts';
import { sleep, startTestApi, until, type TestApi } from './harness.ts';

// A real API server takes its time when it starts anew.
jest.setTimeout(60_000);

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
}, 120_000);
afterAll(async () => {
  await api?.stop();
});

const leasesOf = (connection: KubeConnection): Resource<Lease> => resource(connection, kinds.leases, 'holdfast-system');

test('a heartbeat is fresh in the eyes of a tracker until it ends, and again when it comes back', async () => {
  const tracker = new LeaseTracker({ witness: 'operator' });
  const informer = createInformer(api.connection, kinds.leases, {
    namespace: 'holdfast-system',
    onChange: (lease, _previous, deleted) => {
      if (deleted) tracker.forget(lease.metadata.name);
      else tracker.observe(lease, Date.now());
    },
  });
  informer.start();
  const leases = leasesOf(api.connection);
  const beat = (name: string) => startHeartbeat({ leases, name, holder: name, durationMs: 1000, log: silentLog });
  const witness = beat('operator');
  const name = storageLeaseName('n1');
  const fresh = () => tracker.isFresh(name, Date.now());
  const first = beat(name);
  await until('it is seen', fresh);
  await sleep(1500);
  expect(fresh()).toBe(true);
  await first.stop();
  await until('it is stale', () => !fresh(), 5000);
  const second = beat(name);
  await until('it is fresh again', fresh, 5000);

  // The API server goes away: nobody can renew, and nobody may be taken for dead when it is back.
  await api.plane.stopApiServer('crash');
  let stale = 0;
  const watching = setInterval(() => (stale += fresh() ? 0 : 1), 5);
  await sleep(2500);
  await api.plane.startApiServer();
  const renewed = (await leases.get(name))?.spec?.renewTime;
  await until('it is renewed', async () => (await leases.get(name))?.spec?.renewTime !== renewed);
  await sleep(1000);
  clearInterval(watching);
  expect([stale, fresh()]).toEqual([0, true]);
  await Promise.all([second.stop(), witness.stop(), informer.stop()]);
});

test('of two candidates one leads; when it is cut off it stops before the other begins', async () => {
  const history: string[] = [];
  let leading = 0;
  let most = 0;
  const run = (identity: string, leases: Resource<Lease>) =>
    runWithLeaderElection({
      leases,
      name: 'election',
      identity,
      log: silentLog,
      leaseDurationMs: 2000,
      renewDeadlineMs: 1200,
      retryPeriodMs: 200,
      onStarted: async (signal) => {
        leading += 1;
        most = Math.max(most, leading);
        history.push(`${identity} leads`);
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
        history.push(`${identity} ends`);
        leading -= 1;
      },
    });
  const connection = connect({ kubeconfigPath: api.plane.kubeconfigPath, userAgent: 'b/1' });
  const leases = leasesOf(api.connection);
  const mended = Promise.withResolvers<void>();
  let cut = false;
  const cuttable: Resource<Lease> = {
    ...leases,
    get: async (name) => {
      if (cut) await mended.promise;
      return await leases.get(name);
    },
  };
  const a = run('a', cuttable);
  await until('a leads', () => history.length === 1);
  const b = run('b', leasesOf(connection));
  await sleep(1000);
  expect(history).toEqual(['a leads']);
  cut = true;
  await until('b leads', () => history.includes('b leads'), 10_000);
  expect(history).toEqual(['a leads', 'a ends', 'b leads']);
  cut = false;
  mended.resolve();
  await b.stop();
  const released = (await leases.get('election'))?.spec?.holderIdentity;
  expect(['', 'a']).toContain(released);
  expect(most).toBe(1);
  await a.stop();
  connection.close();
});

test('a leader steps down when the API server is away, and leads again', async () => {
  const history: string[] = [];
  const election = runWithLeaderElection({
    leases: leasesOf(api.connection),
    name: 'alone',
    identity: 'a',
    log: silentLog,
    leaseDurationMs: 2000,
    renewDeadlineMs: 1000,
    retryPeriodMs: 200,
    onStarted: async (signal) => {
      history.push('leads');
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      history.push('ends');
    },
  });
  await until('it leads', () => history.length === 1);
  await api.plane.stopApiServer('freeze');
  await until('it stepped down', () => history.length === 2, 5000);
  await api.plane.startApiServer();
  await until('it leads again', () => history.length === 3);
  await election.stop();
  expect(history).toEqual(['leads', 'ends', 'leads', 'ends']);
});
