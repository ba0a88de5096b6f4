import { beforeEach, expect, test } from '@jest/globals';
import { silentLog } from '../../../lib/log.ts';
import type { ExecuteContext } from './context.ts';
import { inBackground, reshape } from './legs.ts';
import { VolumeMemory } from './memory.ts';

let memory: VolumeMemory;
let changes: number;
let pauses: (() => void)[];

const contextOf = (): ExecuteContext =>
  ({
    memory,
    log: silentLog,
    changed: () => void (changes += 1),
    ports: {
      clock: {
        setTimeout: (run: () => void) => {
          pauses.push(run);
          return () => undefined;
        },
      },
    },
  }) as unknown as ExecuteContext;

const remove = (nqn: string) => ({ kind: 'RemoveMember', nqn }) as const;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  memory = new VolumeMemory();
  changes = 0;
  pauses = [];
  for (const nqn of ['a', 'b']) memory.learn({ replica: nqn, uid: nqn, nqn, address: '', port: 0 }, 0);
});

// Given md that waits for I/O which a leg holds back, when the agent waited for md, then it never dropped that leg.
test('the loop goes on while md adds or removes a member', async () => {
  const md = Promise.withResolvers<void>();
  await reshape(remove('a'), contextOf(), () => md.promise);
  expect(memory.reshaping).toBe('a');
  expect(memory.leg('a').busy).toBe(true);
  md.resolve();
  await settled();
  expect(memory.reshaping).toBeUndefined();
  expect(memory.leg('a').busy).toBe(false);
  expect(changes).toBe(1);
});

test('md is asked for one change of its members at a time, and for none with a leg that is busy', async () => {
  const done: string[] = [];
  const md = Promise.withResolvers<void>();
  await reshape(remove('a'), contextOf(), () => md.promise);
  await reshape(remove('b'), contextOf(), () => Promise.resolve(void done.push('b')));
  md.resolve();
  await settled();
  memory.leg('b').busy = true;
  await reshape(remove('b'), contextOf(), () => Promise.resolve(void done.push('b')));
  expect(done).toEqual([]);
  expect(memory.reshaping).toBeUndefined();
});

test('what fails is told, and is not tried again at once', async () => {
  await inBackground({ kind: 'Connect', nqn: 'a' }, contextOf(), () => Promise.reject(new Error('no answer')));
  await settled();
  expect(memory.leg('a')).toMatchObject({ busy: true, failure: 'Connect: no answer' });
  for (const end of pauses) end();
  await settled();
  expect(memory.leg('a').busy).toBe(false);
  await inBackground({ kind: 'Connect', nqn: 'a' }, contextOf(), () => Promise.resolve());
  await settled();
  expect(memory.leg('a').failure).toBeUndefined();
});
