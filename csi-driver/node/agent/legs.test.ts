import { beforeEach, expect, test } from '@jest/globals';
import { silentLog } from '../../../lib/log.ts';
import type { ExecuteContext } from './context.ts';
import type { LegFacts } from './facts.ts';
import { GROWING, inBackground, reshape, reshapeArray, swapLeg } from './legs.ts';
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

// Found by the simulation: a growth that met a dead path was taken for a stop, and nobody mended the path.
test('an array that grows is not being stopped, and is changed by one at a time', async () => {
  const md = Promise.withResolvers<void>();
  const context = { ...contextOf(), connection: { spec: { volume: 'v' } } } as unknown as ExecuteContext;
  await reshapeArray(GROWING, context, () => md.promise);
  expect(memory).toMatchObject({ reshaping: GROWING, array: { busy: false }, shape: { busy: true } });
  await reshape(remove('a'), context, () => Promise.reject(new Error('meanwhile')));
  md.resolve();
  await settled();
  expect(memory).toMatchObject({ reshaping: undefined, shape: { busy: false } });
});

// Found by the simulation: a valve that got another table after its leg was dropped was closed by it, for ever.
test.each([false, true])('a valve that was swapped is open again if its leg was dropped: %s', async (dropped) => {
  const calls: string[] = [];
  const valves = {
    swap: async () => {
      calls.push('swap');
      memory.leg('a').letGo = dropped;
    },
    open: async () => void calls.push('open'),
  };
  const leg = { nqn: 'a', namespace: { devNo: '259:1', sizeBytes: 1 } } as unknown as LegFacts;
  await swapLeg(leg, { ...contextOf(), ports: { valves } } as unknown as ExecuteContext);
  expect(calls).toEqual(dropped ? ['swap', 'open'] : ['swap']);
});
