import { expect, test } from '@jest/globals';
import type { Departure } from './departures.ts';
import type { Job, JobResult } from './run.ts';
import { search } from './search.ts';

const kill = (at: number): Departure => ({ at, kind: 'kill', who: 'agent c1' });

/** A world of four events; the state of the last is the same whatever came before. */
function run({ departures, wantsChoices }: Job): JobResult {
  const from = (departures.at(-1)?.at ?? -1) + 1;
  const path = departures.map(({ at }) => at).join();
  const choices = [0, 1, 2, 3]
    .filter((at) => wantsChoices && at >= from)
    .map((at) => ({ departure: kill(at), state: at === 3 ? 'the end' : `${path} ${at}` }));
  const isBad = departures.map(({ at }) => at).join() === '1,2';
  return {
    violation: isBad ? { law: 'one writer', message: 'two', atMs: 0 } : undefined,
    events: 4,
    choices,
    complete: true,
  };
}

const options = { worlds: ['small'], jobs: 2, run: (job: Job) => Promise.resolve(run(job)) };

test('every choice of at most so many departures is tried', async () => {
  const one = await search({ ...options, depth: 1 });
  expect(one.worlds).toEqual([{ name: 'small', runs: 5, events: 20, states: 4, violations: 0, exhausted: true }]);
});

test('a state is departed from once, and what breaks a law is told', async () => {
  const ran: string[] = [];
  const watched = async (job: Job): Promise<JobResult> => {
    ran.push(job.departures.map(({ at }) => at).join());
    return await options.run(job);
  };
  const { found, worlds } = await search({ ...options, depth: 2, run: watched });
  // "the end" was departed from with two departures left; with one left it is not tried again.
  expect(ran.sort()).toEqual(['', '0', '0,1', '0,2', '1', '1,2', '2', '3']);
  expect(found.map(({ departures }) => departures.map(({ at }) => at))).toEqual([[1, 2]]);
  expect(worlds[0]).toMatchObject({ violations: 1, exhausted: true });
});

test('a search that is ended is not exhausted', async () => {
  let left = 3;
  const { worlds } = await search({ ...options, jobs: 1, depth: 1, isOver: () => (left -= 1) < 0 });
  expect(worlds[0]).toMatchObject({ exhausted: false });
});
