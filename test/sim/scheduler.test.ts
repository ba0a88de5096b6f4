import { expect, test } from '@jest/globals';
import { createApiServer } from './api.ts';
import { kubeFor } from './kube.ts';
import { createNetwork, API } from './network.ts';
import { createDice } from './random.ts';
import { createScheduler, type ProgramHandle } from './scheduler.ts';
import { kinds } from '../../lib/kube/client.ts';

function setUp(seed = 1) {
  const dice = createDice(seed);
  const scheduler = createScheduler(dice);
  const program: ProgramHandle = { name: 'p', alive: true };
  return { dice, scheduler, program };
}

function withApi(seed = 1) {
  const { dice, scheduler, program } = setUp(seed);
  const api = createApiServer(() => scheduler.now());
  const network = createNetwork(dice);
  const health = { down: false, slowness: 1, watchLagMs: 0, lostAnswers: 0 };
  const kube = kubeFor({ scheduler, api, network, health }, program, 'm');
  api.leases.create({ metadata: { name: 'l' }, spec: { holderIdentity: 'a' } });
  return { scheduler, program, api, network, health, kube };
}

test('events run in the order of their times, one at a time, each with all that follows from it', async () => {
  const { scheduler, program } = setUp();
  const seen: string[] = [];
  const chain = async (name: string): Promise<void> => {
    seen.push(name);
    for (let i = 0; i < 20; i += 1) await Promise.resolve();
    seen.push(`${name} done`);
  };
  scheduler.after(program, 2, 'b', () => void chain('b'));
  scheduler.after(program, 1, 'a', () => void chain('a'));
  const cancel = scheduler.after(program, 3, 'c', () => void chain('c'));
  cancel();
  await scheduler.run(10);
  expect(seen).toEqual(['a', 'a done', 'b', 'b done']);
  expect(scheduler.now()).toBe(10);
});

test('a program that is killed after its effect never learns of it; one that is killed before has none', async () => {
  const { scheduler, program } = setUp();
  let effects = 0;
  let learned = 0;
  void scheduler.turn(program, 'x', () => (effects += 1)).then(() => (learned += 1));
  scheduler.onTurn = (dying) => {
    dying.alive = false;
  };
  await scheduler.run(5000);
  expect([effects, learned]).toEqual([1, 0]);
  void scheduler.turn(program, 'y', () => (effects += 1));
  await scheduler.run(10_000);
  expect(effects).toBe(1);
});

test('a request whose answer is lost has been carried out, and times out', async () => {
  const { scheduler, api, health, kube } = withApi();
  health.lostAnswers = 1;
  const answers: unknown[] = [];
  kube
    .resource(kinds.leases, 'n')
    .patch('l', { spec: { holderIdentity: 'b' } })
    .catch((error: unknown) => answers.push(error));
  await scheduler.run(9_000);
  expect(api.leases.rows.get('l')?.spec?.holderIdentity).toBe('b');
  expect(answers).toEqual([]);
  await scheduler.run(11_000);
  expect(answers).toMatchObject([{ status: 0, reason: 'Timeout' }]);
});

test('a request that can not get through is not carried out', async () => {
  const { scheduler, api, network, kube } = withApi();
  network.cut('m', API);
  const answer = kube.resource(kinds.leases, 'n').patch('l', { spec: { holderIdentity: 'b' } });
  answer.catch(() => undefined);
  await scheduler.run(11_000);
  await expect(answer).rejects.toMatchObject({ reason: 'Timeout' });
  expect(api.leases.rows.get('l')?.spec?.holderIdentity).toBe('a');
});

test('a watch is silent while it is cut off, and afterwards tells of everything', async () => {
  const { scheduler, api, network, kube } = withApi();
  const seen: string[] = [];
  const informer = kube.informer(kinds.leases, {
    onChange: (lease, _, gone) => seen.push(gone ? 'gone' : (lease.spec?.holderIdentity ?? '')),
  });
  informer.start();
  await scheduler.run(1000);
  network.cut(API, 'm');
  api.leases.patch('l', { spec: { holderIdentity: 'b' } });
  api.leases.delete('l');
  await scheduler.run(5000);
  expect(seen).toEqual(['a']);
  network.healAll();
  await scheduler.run(7000);
  expect(seen).toEqual(['a', 'b', 'gone']);
  expect(informer.list()).toEqual([]);
});
