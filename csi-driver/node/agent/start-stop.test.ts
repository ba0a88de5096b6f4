import { beforeEach, describe, expect, test } from '@jest/globals';
import type { ReplicatedVolume } from '../../../lib/api/index.ts';
import { silentLog } from '../../../lib/log.ts';
import type { ExecuteContext } from './context.ts';
import type { LegFacts } from './facts.ts';
import { VolumeMemory } from './memory.ts';
import { stop, uncovered } from './start-stop.ts';

// Given a leg that left within this epoch, when the array is started anew from another one, then md takes the bits in front
// of that one for clean: a resync by bitmap would leave the first without writes that were acknowledged.
test('a start ends what the bitmap knew of legs that had left', () => {
  const entry = { epoch: 1, at: '2026-01-01T00:00:00Z', reason: 'no answer', bootId: 'boot', nqn: 'nqn-a' };
  expect(uncovered({ 'v-a': entry })).toEqual({ 'v-a': { ...entry, bootId: null, nqn: null } });
});

describe('an array that is stopped', () => {
  const leg = (replica: string, overrides: Partial<LegFacts> = {}): LegFacts =>
    ({
      replica,
      recorded: true,
      member: { device: `dm-${replica}` },
      valve: { name: `valve-${replica}`, device: `dm-${replica}`, devNo: '253:0', below: [] },
      controller: { state: 'live' },
      namespace: {},
      pathFailed: false,
      ...overrides,
    }) as unknown as LegFacts;

  const done: string[] = [];
  let unflushable: string | undefined;
  beforeEach(() => {
    done.length = 0;
    unflushable = undefined;
  });

  /** Stops an array of legs a and b, the latter as said. @returns whether it was recorded as clean */
  async function isClean(b: Partial<LegFacts>, ...bState: string[]): Promise<boolean> {
    let clean = false;
    const volume = {
      metadata: { name: 'v', uid: 'u', resourceVersion: '1' },
      spec: {},
      status: { attachment: { node: 'c1', epoch: 7 }, inSync: ['a', 'b'] },
    } as unknown as ReplicatedVolume;
    const members = [
      { device: 'dm-a', slot: 0, state: new Set(['in_sync']) },
      { device: 'dm-b', slot: 1, state: new Set(bState) },
    ];
    await stop({
      node: 'c1',
      memory: new VolumeMemory(),
      volume,
      volumes: {
        patch: (_: string, patch: { status: { attachment: { clean: boolean } } }) => {
          ({ clean } = patch.status.attachment);
          return Promise.resolve(volume);
        },
      },
      connection: { spec: { volume: 'v', volumeUid: 'u', epoch: 7 } },
      facts: { legTimeoutMs: 3000, legs: [leg('a'), leg('b', b)], recordedElsewhere: [], unrecordableForMs: 0 },
      log: silentLog,
      recorded: () => undefined,
      ports: {
        clock: { now: () => 0, monotonicMs: () => 0, setTimeout: () => () => undefined },
        md: {
          isResynced: () => true,
          readArray: () => ({ state: 'active', syncAction: 'idle', members }),
          stopArray: () => Promise.resolve(void done.push('stop')),
        },
        flushDevice: (device: string) => {
          done.push(`flush ${device}`);
          return device === unflushable ? Promise.reject(new Error('no answer')) : Promise.resolve();
        },
      },
    } as unknown as ExecuteContext);
    return clean;
  }

  test('is clean when every leg of the record has had every write', async () => {
    expect(await isClean({}, 'in_sync')).toBe(true);
  });

  // Found by the simulation: md flushes when it clears bits, and clears none while a leg is away.
  test('is clean once its legs have flushed what nobody can add to any more', async () => {
    expect(await isClean({}, 'in_sync')).toBe(true);
    expect(done).toEqual(['stop', 'flush dm-a', 'flush dm-b']);
    unflushable = 'dm-b';
    expect(await isClean({}, 'in_sync')).toBe(false);
  });

  // What is called clean is started without a look at what differs.
  test.each<[string, Partial<LegFacts>, string[]]>([
    ['md has failed one', {}, ['faulty', 'blocked']],
    ['a write to one has failed', {}, ['in_sync', 'blocked', 'write_error']],
    ['one is still being copied to', {}, ['spare']],
    ['one has no connection', { controller: undefined }, ['in_sync']],
    ['the path of one has failed', { pathFailed: true }, ['in_sync']],
    ['one was no member', { member: undefined }, ['in_sync']],
  ])('is not clean when %s', async (_when, b, state) => {
    expect(await isClean(b, ...state)).toBe(false);
  });
});
