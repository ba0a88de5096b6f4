import { expect, test } from '@jest/globals';
import type { Lvm, LvmVolume } from '../lib/host/lvm.ts';
import { cacheVolumes } from './volumes.ts';

/** LVM with one volume, which counts what it is asked for; reports wait while `held` is true. */
function world() {
  const state = { tags: ['a', 'b'], reports: 0, fails: false };
  const pending: (() => void)[] = [];
  let held = false;
  const lvm = {
    async volumes() {
      state.reports += 1;
      const tags = [...state.tags];
      if (held) await new Promise<void>((resolve) => pending.push(resolve));
      return [
        { group: 'g', name: 'v', tags },
        { group: 'g', name: 'other', tags: ['b'] },
      ] as unknown as LvmVolume[];
    },
    async changeTags(_group: string, _volume: string, { add, remove }: { add: string[]; remove: string[] }) {
      if (state.fails) throw new Error('no');
      state.tags = [...state.tags.filter((tag) => !remove.includes(tag)), ...add];
    },
    activate: () => Promise.resolve(),
  } as unknown as Lvm;
  const cache = cacheVolumes(lvm, () => 0);
  const tags = async (): Promise<readonly (readonly string[])[]> =>
    (await cache.volumes.get()).map((each) => each.tags);
  return {
    state,
    tags,
    lvm: cache.lvm,
    hold: () => void (held = true),
    go: () => {
      held = false;
      for (const resolve of pending.splice(0)) resolve();
    },
  };
}

const CHANGE = { add: ['c'], remove: ['b'] };

test('tags that LVM has accepted are known without another report', async () => {
  const { tags, lvm, state } = world();
  await tags();
  await lvm.changeTags('g', 'v', CHANGE);
  expect(await tags()).toEqual([['a', 'c'], ['b']]);
  expect(state.reports).toBe(1);
});

test('after tags that LVM has refused it is asked again', async () => {
  const { tags, lvm, state } = world();
  await tags();
  state.fails = true;
  await expect(lvm.changeTags('g', 'v', CHANGE)).rejects.toThrow('no');
  expect(await tags()).toEqual([['a', 'b'], ['b']]);
  expect(state.reports).toBe(2);
});

test('a report that began before a change of tags does not hide the change', async () => {
  const { tags, lvm, hold, go } = world();
  hold();
  const before = tags();
  const changed = lvm.changeTags('g', 'v', CHANGE);
  go();
  await Promise.all([before, changed]);
  expect(await tags()).toEqual([['a', 'c'], ['b']]);
});

test('after any other change LVM is asked again', async () => {
  const { tags, lvm, state } = world();
  await tags();
  await lvm.activate('g', 'v');
  await tags();
  expect(state.reports).toBe(2);
});
