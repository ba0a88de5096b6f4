import { expect, jest, test } from '@jest/globals';
import { mutants } from '../mutants/hunt.ts';
import { planOf } from './plan.ts';
import { runJob } from './run.ts';
import { stories } from './worlds.ts';

// A moment each; a machine that does much else takes longer.
jest.setTimeout(60_000);

test.each(stories)('"$name" comes to its end in its usual course, and can be departed from', async (story) => {
  const plan = await planOf(story);
  expect(plan.untilMs).toBeGreaterThan(plan.fromMs);
  const { violation, choices } = await runJob(plan, { world: story.name, departures: [], wantsChoices: true });
  expect(violation).toBeUndefined();
  expect(new Set(choices.map(({ departure }) => departure.kind))).toEqual(new Set(['kill', 'power', 'cut', 'late']));
});

test('each kind of departure comes to pass, at the place that was chosen', async () => {
  const [story] = stories;
  if (story === undefined) throw new Error('there are no stories');
  const plan = await planOf(story);
  const { choices } = await runJob(plan, { world: story.name, departures: [], wantsChoices: true });
  for (const kind of ['kill', 'power', 'cut', 'late'] as const) {
    const departure = choices.map((choice) => choice.departure).find((each) => each.kind === kind);
    if (departure === undefined) throw new Error(`no ${kind}`);
    const told: string[] = [];
    const trace = (_: number, who: string, what: string): void => void (who === 'DEPARTS' && told.push(what));
    const job = { world: story.name, departures: [departure], wantsChoices: false };
    const { violation, complete } = await runJob(plan, job, { trace });
    expect({ kind, complete, told: told.length, violation }).toEqual({
      kind,
      complete: true,
      told: 1,
      violation: undefined,
    });
  }
});

test('a law that is broken in a world is found there', async () => {
  const story = stories.find(({ name }) => name === 'drop');
  const late = mutants.find(({ law }) => law === 'record before acknowledge');
  if (story === undefined || late === undefined) throw new Error('there is no such story or mutant');
  const job = { world: story.name, departures: [], wantsChoices: false };
  const { violation } = await runJob(await planOf(story), job, { mutation: late.mutation });
  expect(violation?.law).toBe('record before acknowledge');
});
