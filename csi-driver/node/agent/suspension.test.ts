import { beforeEach, describe, expect, test } from '@jest/globals';
import { createFakeClock } from '../../../lib/fake-clock.ts';
import type { MdArray } from '../../../lib/host/md.ts';
import { silentLog } from '../../../lib/log.ts';
import type { ExecuteContext } from './context.ts';
import type { ConnectionFacts, LegFacts, SuspensionFacts } from './facts.ts';
import { VolumeMemory, type Standstill } from './memory.ts';
import { isSuspensionPending, planSuspension } from './suspension-plan.ts';
import { endSuspension, prepareSuspension, resumeAll, suspend } from './suspension.ts';

const STANDSTILL_MS = 4000;

const leg = (replica: string, overrides: Partial<LegFacts> = {}): LegFacts =>
  ({
    replica,
    recorded: true,
    member: { device: `dm-${replica}`, slot: 0, state: new Set(['in_sync']) },
    valve: { device: `dm-${replica}` },
    controller: { state: 'live' },
    namespace: {},
    pathFailed: false,
    quietMs: 0,
    ...overrides,
  }) as unknown as LegFacts;

const array = { state: 'active', syncAction: 'idle' } as unknown as MdArray;

describe('when writes are held', () => {
  const facts = (suspension: Partial<SuspensionFacts>, overrides: Partial<ConnectionFacts> = {}): ConnectionFacts =>
    ({
      grant: 'Ours',
      releasing: false,
      linked: true,
      stopping: false,
      reshaping: undefined,
      forgotten: false,
      unrecordableForMs: 0,
      recordedElsewhere: [],
      legs: [leg('a'), leg('b')],
      suspension: { wanted: undefined, current: undefined, busy: false, resynced: true, ...suspension },
      ...overrides,
    }) as unknown as ConnectionFacts;
  const wanted = { request: 'r1', hold: false, release: '', limitMs: STANDSTILL_MS };
  const standstill = (state: Standstill['state'], overrides: Partial<Standstill> = {}): Standstill => ({
    request: 'r1',
    state,
    token: 't1',
    replicas: ['a', 'b'],
    ...overrides,
  });
  const kinds = (suspension: Partial<SuspensionFacts>, overrides: Partial<ConnectionFacts> = {}, md = array) =>
    planSuspension(facts(suspension, overrides), md);

  test('a request is got ready, and held once that is asked for', () => {
    expect(kinds({ wanted })).toEqual([{ kind: 'PrepareSuspension', request: 'r1' }]);
    expect(kinds({ wanted, current: standstill('Ready') })).toEqual([]);
    expect(kinds({ wanted: { ...wanted, hold: true }, current: standstill('Ready') })).toEqual([
      { kind: 'Suspend', request: 'r1', limitMs: STANDSTILL_MS },
    ]);
  });

  test.each([
    ['a leg that is away', { legs: [leg('a'), leg('b', { pathFailed: true })] }],
    [
      'a leg that has erred',
      { legs: [leg('a'), leg('b', { member: { device: 'x', slot: 1, state: new Set(['blocked']) } })] },
    ],
    ['a replica that the record counts and that is no leg here', { recordedElsewhere: ['c'] }],
    ['md that takes in a leg', { reshaping: 'nqn' }],
    ['a loss that is not recorded', { unrecordableForMs: 1 }],
    ['another epoch', { grant: 'Lost' as const }],
  ])('not with %s', (_, overrides) => {
    expect(kinds({ wanted: { ...wanted, hold: true }, current: standstill('Ready') }, overrides)).toEqual([]);
  });

  // Given members that count as in sync and are still made equal after a crash, then their snapshots would differ.
  test('not while in-sync legs are still being made equal', () => {
    expect(kinds({ wanted, resynced: false })).toEqual([]);
    expect(kinds({ wanted }, {}, { ...array, syncAction: 'resync' })).toEqual([]);
    expect(kinds({ wanted }, {}, { ...array, syncAction: 'recover' })).toHaveLength(1);
  });

  test('it ends with the release of its own token, and counts only then', () => {
    const held = standstill('Suspended');
    expect(kinds({ wanted: { ...wanted, hold: true }, current: held })).toEqual([]);
    expect(kinds({ wanted: { ...wanted, release: 't1' }, current: held })).toEqual([
      { kind: 'Resume', request: 'r1', released: true },
    ]);
    expect(kinds({ wanted: { ...wanted, release: 't0' }, current: held })).toEqual([]);
    const broken = [{ kind: 'Resume', request: 'r1', released: false }];
    expect(kinds({ wanted: undefined, current: held })).toEqual(broken);
    expect(kinds({ wanted: { ...wanted, request: 'r2' }, current: held })).toEqual(broken);
    expect(kinds({ wanted: { ...wanted, release: 't1' }, current: held }, { releasing: true })).toEqual(broken);
  });

  test('what could not be begun is tried again, or is over', () => {
    const hold = { ...wanted, hold: true };
    expect(kinds({ wanted: hold, current: standstill('Preparing') })).toEqual([
      { kind: 'PrepareSuspension', request: 'r1' },
    ]);
    expect(kinds({ wanted: hold, current: standstill('Suspending') })).toEqual([
      { kind: 'Resume', request: 'r1', released: false },
    ]);
    expect(kinds({ wanted: hold, current: standstill('Suspending'), busy: true })).toEqual([]);
  });

  test('each request is answered once', () => {
    const hold = { ...wanted, hold: true };
    expect(kinds({ wanted: hold, current: standstill('Broken') })).toEqual([]);
    expect(kinds({ wanted: hold, current: standstill('Released') })).toEqual([]);
    // One of a process before this one.
    expect(kinds({ wanted: { ...hold, release: 't9' } })).toEqual([{ kind: 'Resume', request: 'r1', released: false }]);
    expect(isSuspensionPending(facts({ wanted: hold, current: standstill('Broken') }))).toBe(false);
    expect(isSuspensionPending(facts({ wanted: hold, current: standstill('Suspended') }))).toBe(true);
    expect(isSuspensionPending(facts({ wanted: { ...hold, request: 'r2' }, current: standstill('Broken') }))).toBe(
      true,
    );
  });
});

describe('a standstill', () => {
  const clock = createFakeClock();
  const memory = new VolumeMemory();
  const done: string[] = [];
  let suspended = false;
  let bState = new Set(['in_sync']);
  let holding: Promise<void> | undefined;
  let flushing: Promise<void> | undefined;
  beforeEach(() => {
    memory.standstill = undefined;
    memory.endStandstill = undefined;
    done.length = 0;
    suspended = false;
    bState = new Set(['in_sync']);
    holding = undefined;
    flushing = undefined;
  });
  const act = (what: string) => Promise.resolve(void done.push(what));
  const ports = {
    clock: {
      now: () => clock.now(),
      monotonicMs: () => clock.now(),
      setTimeout: (run: () => void, ms: number) => clock.setTimeout(run, ms),
    },
    md: {
      deviceNumber: () => '9:0',
      readArray: () => ({
        members: [
          { device: 'dm-a', slot: 0, state: new Set(['in_sync']) },
          { device: 'dm-b', slot: 1, state: bState },
        ],
      }),
      isSuspended: () => suspended,
      suspendWrites: async () => {
        await holding;
        suspended = true;
        await act('suspend');
      },
      resumeWrites: () => {
        suspended = false;
        return act('resume');
      },
    },
    users: { mountPoints: () => Promise.resolve(['/data', '/data2']) },
    flushDevice: async (device: string) => {
      await flushing;
      await act(`flush ${device}`);
    },
    syncFilesystem: (point: string) => act(`sync ${point}`),
    guardSuspension: async () => {
      await act('guard');
      return () => void done.push('guard off');
    },
    newToken: () => 't1',
  };
  const context = {
    memory,
    ports,
    connection: { spec: { volume: 'v', volumeUid: 'u' } },
    facts: { legs: [leg('a'), leg('b')], legTimeoutMs: 3000 },
    log: silentLog,
    changed: () => undefined,
  } as unknown as ExecuteContext;

  test('is guarded before it begins, and names the legs that are equal in it', async () => {
    await prepareSuspension('r1', context);
    expect(memory.standstill).toMatchObject({ state: 'Ready' });
    bState = new Set(['faulty']);
    await suspend({ request: 'r1', limitMs: STANDSTILL_MS }, context);
    expect(memory.standstill).toMatchObject({ state: 'Suspended', token: 't1', replicas: ['a'] });
    await endSuspension('r1', true, memory);
    expect(memory.standstill).toMatchObject({ state: 'Released', token: 't1', replicas: ['a'], heldMs: 0 });
    expect(done).toEqual(['sync /data', 'guard', 'suspend', 'flush dm-a', 'resume', 'guard off']);
  });

  test('that took too long ends by itself and counts for nothing', async () => {
    await suspend({ request: 'r1', limitMs: STANDSTILL_MS }, context);
    await clock.advance(STANDSTILL_MS);
    expect(done).toEqual(['guard', 'suspend', 'flush dm-a', 'flush dm-b', 'resume', 'guard off']);
    expect(memory.standstill).toMatchObject({ state: 'Broken' });
    // A release that comes late.
    await endSuspension('r1', true, memory);
    expect(memory.standstill).toMatchObject({ state: 'Broken' });
  });

  // Given an agent that stood still for long, when its guard has let writes go on, then the standstill counts for nothing.
  test('that its guard has ended counts for nothing', async () => {
    await suspend({ request: 'r1', limitMs: STANDSTILL_MS }, context);
    suspended = false;
    await endSuspension('r1', true, memory);
    expect(memory.standstill).toMatchObject({ state: 'Broken' });
  });

  test('that md is slow to begin leaves nothing held', async () => {
    let go: () => void = () => undefined;
    holding = new Promise((resolve) => {
      go = resolve;
    });
    const beginning = suspend({ request: 'r1', limitMs: STANDSTILL_MS }, context);
    await clock.advance(STANDSTILL_MS);
    go();
    await beginning;
    expect(suspended).toBe(false);
    expect(done).toEqual(['guard', 'resume', 'guard off', 'suspend', 'resume']);
    expect(memory.standstill).toMatchObject({ state: 'Broken' });
  });

  // Found by the simulation (seed 53033955): a storage node lost its power between the standstill and its copy, which then lacked
  // what its disks had in a volatile cache.
  test('begins only when every leg has made durable what it holds', async () => {
    flushing = Promise.reject(new Error('no answer'));
    flushing.catch(() => undefined);
    await expect(suspend({ request: 'r1', limitMs: STANDSTILL_MS }, context)).rejects.toThrow('no answer');
    expect(suspended).toBe(false);
    expect(memory.standstill).toMatchObject({ state: 'Broken' });
  });

  test('that its legs are slow to make durable leaves nothing held', async () => {
    let go: () => void = () => undefined;
    flushing = new Promise((resolve) => {
      go = resolve;
    });
    const beginning = suspend({ request: 'r1', limitMs: STANDSTILL_MS }, context);
    await clock.advance(STANDSTILL_MS);
    go();
    await beginning;
    expect(suspended).toBe(false);
    expect(memory.standstill).toMatchObject({ state: 'Broken' });
  });

  test('without its guard is not begun', async () => {
    const unguarded = { ...context, ports: { ...ports, guardSuspension: () => Promise.reject(new Error('no shell')) } };
    await expect(
      suspend({ request: 'r1', limitMs: STANDSTILL_MS }, unguarded as unknown as ExecuteContext),
    ).rejects.toThrow('no shell');
    expect(done).toEqual([]);
    await endSuspension('r1', false, memory);
    expect(memory.standstill).toMatchObject({ state: 'Broken' });
  });

  test('of a process before this one is over, whatever was asked for', async () => {
    await endSuspension('r1', true, memory);
    expect(memory.standstill).toMatchObject({ request: 'r1', state: 'Broken' });
    suspended = true;
    await resumeAll(['md_hf_1'], ports as unknown as Parameters<typeof resumeAll>[1]);
    expect(done).toEqual(['resume']);
  });
});
