import { expect, test } from '@jest/globals';
import type { ReplicatedVolume } from '../../../lib/api/index.ts';
import { KubeError } from '../../../lib/kube/client.ts';
import { record, type ExecuteContext } from './context.ts';
import { VolumeMemory } from './memory.ts';

/** A context whose API server answers as told; the clock moves by what each answer takes. */
function contextOf(continueAfterMs: number | undefined) {
  let nowMs = 1000;
  const memory = new VolumeMemory();
  const timeouts: (number | undefined)[] = [];
  let answer: KubeError | undefined;
  const volume = {
    metadata: { name: 'v', uid: 'u', resourceVersion: '1' },
    status: { attachment: { node: 'c1', epoch: 7 }, inSync: ['v-a', 'v-b'] },
  } as unknown as ReplicatedVolume;
  const attempt = (tookMs: number, next: KubeError | undefined): Promise<void> => {
    answer = next;
    const context = {
      node: 'c1',
      memory,
      volume,
      connection: { spec: { epoch: 7 } },
      facts: {
        continueAfterMs,
        unrecordableForMs: memory.unrecordableSinceMs === undefined ? 0 : nowMs - memory.unrecordableSinceMs,
      },
      ports: { clock: { monotonicMs: () => nowMs } },
      recorded: () => undefined,
      volumes: {
        get: () => Promise.resolve(volume),
        patch: (_name: string, _patch: object, options: { timeoutMs?: number }) => {
          timeouts.push(options.timeoutMs);
          nowMs += tookMs;
          return answer ? Promise.reject(answer) : Promise.resolve(volume);
        },
      },
    } as unknown as ExecuteContext;
    return record(context, () => ({ inSync: ['v-a'], outOfSync: {} })).then(() => undefined);
  };
  return { memory, attempt, timeouts };
}

const silence = new KubeError(0, 'Timeout', 'no answer');

test('remembers since when the API server has been away, from the beginning of the first attempt', async () => {
  const { memory, attempt } = contextOf(undefined);
  await expect(attempt(10_000, silence)).rejects.toThrow('no answer');
  expect(memory.unrecordableSinceMs).toBe(1000);
  await expect(attempt(5000, new KubeError(503, '', 'starting'))).rejects.toThrow('starting');
  expect(memory.unrecordableSinceMs).toBe(1000);
  await attempt(5, undefined);
  expect(memory.unrecordableSinceMs).toBeUndefined();
});

test('a refusal is an answer: nothing goes on without the record then', async () => {
  const { memory, attempt } = contextOf(30_000);
  await expect(attempt(10_000, silence)).rejects.toThrow('no answer');
  await expect(attempt(5, new KubeError(403, 'Forbidden', 'not yours'))).rejects.toThrow('not yours');
  expect(memory.unrecordableSinceMs).toBeUndefined();
});

test('who may go on after 3 s asks no longer than that', async () => {
  const { attempt, timeouts } = contextOf(3000);
  await expect(attempt(2000, silence)).rejects.toThrow('no answer');
  await expect(attempt(1000, silence)).rejects.toThrow('no answer');
  await expect(attempt(200, silence)).rejects.toThrow('no answer');
  expect(timeouts).toEqual([3000, 1000, 200]);
});

test('who waits gives each attempt the usual time', async () => {
  const { attempt, timeouts } = contextOf(undefined);
  await attempt(5, undefined);
  expect(timeouts).toEqual([10_000]);
});
