import { expect, test } from '@jest/globals';
import { createFakeClock } from '../fake-clock.ts';
import { silentLog } from '../log.ts';
import { createController, type ControllerOptions } from './controller.ts';
import { KubeError } from './error.ts';

function setUp(reconcile: ControllerOptions['reconcile'], more: Partial<ControllerOptions> = {}) {
  const clock = createFakeClock();
  const controller = createController({
    name: 'test',
    reconcile,
    clock,
    random: () => 1,
    log: silentLog,
    backoff: { baseMs: 100, maxMs: 1000 },
    ...more,
  });
  return { clock, controller };
}

test('a key that is asked for several times before it begins is done once', async () => {
  const done: string[] = [];
  const { clock, controller } = setUp(async (key) => void done.push(key));
  for (const key of ['a', 'b', 'a', 'a']) controller.enqueue(key);
  expect(done).toEqual([]);
  controller.start();
  await clock.advance(0);
  expect(done).toEqual(['a', 'b']);
});

test('a key that is asked for while it is worked on is done once more, never twice at a time', async () => {
  let running = 0;
  let most = 0;
  let times = 0;
  const gates: (() => void)[] = [];
  const { clock, controller } = setUp(
    async () => {
      running += 1;
      times += 1;
      most = Math.max(most, running);
      await new Promise<void>((resolve) => gates.push(resolve));
      running -= 1;
    },
    { concurrency: 4 },
  );
  controller.start();
  controller.enqueue('a');
  await clock.advance(0);
  for (let i = 0; i < 3; i += 1) controller.enqueue('a');
  await clock.advance(0);
  expect([times, running]).toEqual([1, 1]);
  gates.shift()?.();
  await clock.advance(0);
  expect([times, running]).toEqual([2, 1]);
  gates.shift()?.();
  await clock.advance(10_000);
  expect([times, most]).toEqual([2, 1]);
});

test('as many keys as concurrency allows are worked on at a time', async () => {
  const running = new Set<string>();
  let most = 0;
  const { clock, controller } = setUp(
    async (key) => {
      running.add(key);
      most = Math.max(most, running.size);
      await new Promise((resolve) => setImmediate(resolve));
      running.delete(key);
    },
    { concurrency: 2 },
  );
  controller.start();
  for (const key of ['a', 'b', 'c', 'd', 'e']) controller.enqueue(key);
  for (let i = 0; i < 5; i += 1) await clock.advance(0);
  expect([most, running.size]).toEqual([2, 0]);
});

test('a key that fails waits longer each time, up to the maximum, and a success ends that', async () => {
  const at: number[] = [];
  let fail = true;
  const { clock, controller } = setUp(async () => {
    at.push(clock.now());
    if (fail) throw new Error('no');
  });
  controller.start();
  controller.enqueue('a');
  await clock.advance(5000);
  const waits = at.slice(1).map((ms, i) => ms - (at[i] ?? 0));
  expect(waits.slice(0, 6)).toEqual([100, 200, 400, 800, 1000, 1000]);
  fail = false;
  await clock.advance(1000);
  fail = true;
  at.length = 0;
  controller.enqueue('a');
  await clock.advance(100);
  expect(at.slice(1).map((ms, i) => ms - (at[i] ?? 0))).toEqual([100]);
});

test('one failing key does not hold up another', async () => {
  const done: string[] = [];
  const { clock, controller } = setUp(async (key) => {
    if (key === 'bad') throw new Error('no');
    done.push(key);
  });
  controller.start();
  controller.enqueue('bad');
  controller.enqueue('good');
  await clock.advance(0);
  expect(done).toEqual(['good']);
});

test('an event ends the wait of a failed key', async () => {
  let times = 0;
  const { clock, controller } = setUp(async () => {
    times += 1;
    throw new Error('no');
  });
  controller.start();
  controller.enqueue('a');
  await clock.advance(10);
  controller.enqueue('a');
  await clock.advance(0);
  expect(times).toBe(2);
});

test('a server that asks to be left alone is', async () => {
  const at: number[] = [];
  const { clock, controller } = setUp(async () => {
    at.push(clock.now());
    if (at.length === 1) throw new KubeError(429, 'TooManyRequests', 'slow down', { retryAfterMs: 7000 });
  });
  controller.start();
  controller.enqueue('a');
  await clock.advance(20_000);
  expect((at[1] ?? 0) - (at[0] ?? 0)).toBe(7000);
});

test('requeueAfterMs looks again in time, and the earliest of several requests counts', async () => {
  const start = createFakeClock().now();
  const at: number[] = [];
  const { clock, controller } = setUp(async () => {
    at.push(clock.now() - start);
    return at.length === 1 ? { requeueAfterMs: 5000 } : undefined;
  });
  controller.start();
  controller.enqueue('a');
  await clock.advance(0);
  controller.enqueue('a', 9000);
  controller.enqueue('a', 3000);
  await clock.advance(60_000);
  expect(at).toEqual([0, 3000]);
});

test('a time longer than a timer can wait is cut, and does not fire at once', async () => {
  let times = 0;
  const { clock, controller } = setUp(async () => void (times += 1));
  controller.start();
  controller.enqueue('a', Number.MAX_SAFE_INTEGER);
  await clock.advance(60_000);
  expect(times).toBe(0);
});

test('stop waits for what runs, tells it, and begins nothing more', async () => {
  const gate = Promise.withResolvers<void>();
  let told = false;
  let times = 0;
  const { clock, controller } = setUp(async (_key, signal) => {
    times += 1;
    signal.addEventListener('abort', () => (told = true));
    await gate.promise;
  });
  controller.start();
  controller.enqueue('a');
  controller.enqueue('b');
  controller.enqueue('c', 10);
  await clock.advance(0);
  let stopped = false;
  const stopping = controller.stop().then(() => (stopped = true));
  await clock.advance(100);
  expect([told, stopped]).toEqual([true, false]);
  gate.resolve();
  await stopping;
  controller.enqueue('d');
  await clock.advance(1000);
  expect([times, clock.waiting]).toEqual([1, 0]);
});
