/**
 * Makes a schedule of a story: runs it once in its usual course and notes when its moments come. So the stories hold, however
 * long each thing takes.
 */
import type { Schedule, Step } from '../schedule.ts';
import type { World } from '../world.ts';
import { runSchedule } from '../run.ts';
import { middle } from './middle.ts';
import type { Act, Moment, Story } from './worlds.ts';
import { BLOCKS, SMALL } from './worlds.ts';

export interface Plan {
  readonly schedule: Schedule;
  /** Departures are made from here, in milliseconds of virtual time, and before `untilMs`. */
  readonly fromMs: number;
  readonly untilMs: number;
}

/** A story that has not come to its end by then never does. */
const LONGEST_MS = 20_000;
/** After the last departure everything goes on for so long before all faults end. */
const MARGIN_MS = 1000;

export async function planOf(story: Story): Promise<Plan> {
  const { deeds, from, until, restsOn } = story;
  const steps: Step[] = [];
  let fromMs: number | undefined;
  let untilMs: number | undefined;
  const base = { seed: 0, shape: { ...SMALL, ...story.shape }, ...(restsOn === undefined ? {} : { restsOn }) };
  const watch = (world: World): void => {
    const at = waiter(world);
    const now = (): number => world.scheduler.now();
    at(from, () => (fromMs = now()));
    at(until, () => (untilMs = now()));
    for (const { act, at: begin, until: end } of deeds) {
      at(begin, () => {
        const atMs = now();
        doAct(world, act, true);
        if (act.kind === 'move') steps.push({ ...act, atMs });
        if (end === undefined) return;
        at(end, () => {
          doAct(world, act, false);
          if (act.kind === 'cut') steps.push({ ...act, atMs, both: true, forMs: now() - atMs });
          if (act.kind === 'power') steps.push({ ...act, atMs, offMs: now() - atMs });
        });
      });
    }
  };
  const longest = { ...base, steps: [], healMs: LONGEST_MS };
  await runSchedule(longest, { dice: middle, blocksInTurn: BLOCKS }, watch);
  if (fromMs === undefined || untilMs === undefined) throw new Error(`"${story.name}" never comes to its end`);
  steps.sort((a, b) => a.atMs - b.atMs);
  return { fromMs, untilMs, schedule: { ...base, steps, healMs: Math.ceil(untilMs + MARGIN_MS) } };
}

/** Waits for moments: what the record says is looked at after each change of it. */
function waiter(world: World): (moment: Moment, run: () => void) => void {
  const { api, scheduler } = world;
  const waiting = new Set<() => boolean>();
  const { onCommit } = api;
  api.onCommit = (change) => {
    onCommit(change);
    for (const look of waiting) if (look()) waiting.delete(look);
  };
  return ({ when, afterMs }, run) => {
    const look = (): boolean => {
      if (!when(world)) return false;
      scheduler.after(undefined, afterMs, 'step', run);
      return true;
    };
    if (!look()) waiting.add(look);
  };
}

function doAct(world: World, act: Act, on: boolean): void {
  const { network, user } = world;
  switch (act.kind) {
    case 'move':
      return user.move(act.to, act.orderly);
    case 'cut': {
      const { from, to } = act;
      for (const [a, b] of [
        [from, to],
        [to, from],
      ] as const) {
        if (on) network.cut(a, b);
        else network.heal(a, b);
      }
      return;
    }
    case 'power':
      for (const machine of act.machines) {
        if (on) world.powerOff(machine);
        else world.powerOn(machine);
      }
  }
}
