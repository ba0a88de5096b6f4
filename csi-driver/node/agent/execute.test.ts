import { beforeEach, describe, expect, test } from '@jest/globals';
import type { ReplicatedVolume } from '../../../lib/api/index.ts';
import { encodeLegHeader } from '../../../lib/host/leg-header.ts';
import type { MdMember } from '../../../lib/host/md.ts';
import { silentLog } from '../../../lib/log.ts';
import type { ExecuteContext } from './context.ts';
import { execute } from './execute.ts';
import type { LegFacts } from './facts.ts';
import { VolumeMemory } from './memory.ts';

let done: string[];
let memory: VolumeMemory;
let fresh: ReplicatedVolume;
/** Members of the array beside the one. */
let others: MdMember[];
/** The NVMe names of the legs that the API server lists. */
let listed: string[];
/** What was recorded of the leg last. */
let recorded: object | null | undefined;

function leg(...state: string[]): LegFacts {
  const member = { device: 'dm-b', slot: 1, state: new Set(state) };
  const valve = { name: 'valve-b', device: 'dm-b', devNo: '253:1', below: [] };
  return {
    replica: 'v-b',
    uid: 'b',
    nqn: 'b',
    recorded: false,
    desired: true,
    member,
    valve,
    quietMs: 0,
  } as unknown as LegFacts;
}

const volumeWith = (role: string): ReplicatedVolume =>
  ({
    metadata: { name: 'v', uid: 'u', resourceVersion: '1' },
    spec: {},
    status: {
      attachment: { node: 'c1', hostNqn: '', epoch: 7, clean: false },
      inSync: ['v-a'],
      replicas: [
        { name: 'v-a', role: 'Member' },
        { name: 'v-b', role },
      ],
    },
  }) as unknown as ReplicatedVolume;

function contextOf(one: LegFacts): ExecuteContext {
  const act = (what: string) => Promise.resolve(void done.push(what));
  return {
    node: 'c1',
    memory,
    volume: fresh,
    volumes: {
      get: () => Promise.resolve(fresh),
      patch: (_: string, { status }: { status: { inSync: string[]; outOfSync: Record<string, object | null> } }) => {
        done.push(`record ${status.inSync.join()}`);
        recorded = status.outOfSync['v-b'];
        return Promise.resolve({ ...fresh, status: { ...fresh.status, inSync: status.inSync } });
      },
    },
    connections: {
      get: (name: string) =>
        Promise.resolve(name === 'v.c1' ? { spec: { legs: listed.map((nqn) => ({ nqn })) } } : undefined),
    },
    connection: { metadata: { name: 'v.c1' }, spec: { volume: 'v', volumeUid: 'u', epoch: 7, legs: [one] } },
    facts: { legTimeoutMs: 3000, legs: [one], continueAfterMs: undefined, unrecordableForMs: 0 },
    log: silentLog,
    recorded: () => undefined,
    changed: () => undefined,
    event: () => undefined,
    ports: {
      clock: { now: () => 0, monotonicMs: () => 0, setTimeout: () => () => undefined },
      md: {
        readArray: () => ({ syncAction: 'idle', members: [one.member, ...others] }),
        removeMember: () => act('remove member'),
        failMember: () => act('fail'),
        unblockMember: () => act('unblock'),
        activate: () => act('active'),
      },
      valves: { open: () => act('open valve'), remove: () => act('remove valve') },
      sysfs: { readAttribute: () => undefined },
      readDevice: () => Promise.resolve('\0'.repeat(8192)),
      writeDevice: () => Promise.resolve(),
      flushDevice: () => act('flush'),
    },
  } as unknown as ExecuteContext;
}

beforeEach(() => {
  done = [];
  recorded = undefined;
  listed = ['a', 'b'];
  others = [];
  memory = new VolumeMemory();
  memory.learn({ replica: 'v-b', uid: 'b', nqn: 'b', address: '', port: 0 }, 0);
  fresh = volumeWith('Member');
});

// md flushes nothing at the end of a copy: what a user has flushed long ago would be in a volatile cache of its disks.
test('a leg that md has brought up to date enters the record once its disks have all of it', async () => {
  await execute({ kind: 'RecordJoined', nqn: 'b' }, contextOf(leg('in_sync')));
  expect(done).toEqual(['flush', 'record v-a,v-b']);
});

// Found by the simulation: the volume had replaced the replica and forgotten it, and the connection still listed its leg.
test('a leg whose replica leaves the volume does not enter the record any more', async () => {
  fresh = volumeWith('Leaving');
  await execute({ kind: 'RecordJoined', nqn: 'b' }, contextOf(leg('in_sync')));
  expect(done).toEqual(['flush']);
});

// Found by the simulation: after a restore another, empty replica had been made under the name of the one that was copied.
test('a leg that the API server no longer lists does not enter the record, whatever its name', async () => {
  listed = ['a', 'another b'];
  await execute({ kind: 'RecordJoined', nqn: 'b' }, contextOf(leg('in_sync')));
  expect(done).toEqual(['flush']);
});

// Found by the simulation: md ends all writes that it holds at once, also those that a third leg failed while the second was recorded.
test('md goes on only when no other leg has failed meanwhile', async () => {
  const dropB = { kind: 'Drop', legs: [{ nqn: 'b', reason: 'no answer' }], record: true } as const;
  const third = { device: 'dm-c', slot: 2, state: new Set(['in_sync', 'blocked', 'write_error']) };
  others = [third];
  await execute(dropB, contextOf(leg('in_sync')));
  expect(done).toEqual(['fail', 'unblock', 'open valve']);
  await execute({ kind: 'MarkActive' }, contextOf(leg('in_sync')));
  expect(done).not.toContain('active');
  third.state.delete('blocked');
  await execute({ kind: 'MarkActive' }, contextOf(leg('in_sync')));
  expect(done).toContain('active');
});

// Found by the simulation (seed 30003387): what waited for the leg went out to a third one, failed there, and was ended with the rest.
test('md is let go on before what waits for the leg goes out to the others', async () => {
  const dropB = { kind: 'Drop', legs: [{ nqn: 'b', reason: 'no answer' }], record: true } as const;
  await execute(dropB, contextOf(leg('in_sync')));
  expect(done).toEqual(['fail', 'unblock', 'active', 'open valve']);
});

// Found by the simulation (seed 40000244): md, about to grow, waited for a leg whose drop had broken off after its record.
test('md that waits for all I/O gets that of every leg that is given up ended before it is told anything', async () => {
  const dropB = { kind: 'Drop', legs: [{ nqn: 'b', reason: 'no answer' }], record: true } as const;
  const context = contextOf({ ...leg('in_sync'), recorded: true });
  const left = { ...leg('in_sync'), nqn: 'c', valve: { name: 'valve-c' } } as unknown as LegFacts;
  const works = { ...left, nqn: 'a', recorded: true, valve: { name: 'valve-a' } } as unknown as LegFacts;
  memory.learn({ replica: 'v-a', uid: 'a', nqn: 'a', address: '', port: 0 }, 0);
  memory.reshaping = 'Grow';
  Object.assign(context.facts, { legs: [...context.facts.legs, left, works] });
  Object.assign(context.ports.valves, { open: (name: string) => Promise.resolve(void done.push(`open ${name}`)) });
  Object.assign(context.ports.md, { readArray: () => ({ members: [] }) });
  await execute(dropB, context);
  expect(done).toEqual(['open valve-b', 'open valve-c', 'fail', 'unblock', 'active', 'open valve-b']);
});

test('a drop that broke off before its valve was opened is carried to its end', async () => {
  await execute({ kind: 'AskDrain', nqn: 'b' }, contextOf(leg('faulty')));
  expect(done).toEqual(['open valve']);
});

// Found by the simulation: a valve that was closed (again) after the drop kept the member's I/O, and md the member.
test('a member is removed with its valve open, so that its I/O ends', async () => {
  await execute({ kind: 'RemoveMember', nqn: 'b' }, contextOf(leg('faulty')));
  await new Promise((resolve) => setImmediate(resolve));
  expect(done).toEqual(['open valve', 'remove member', 'remove valve']);
});

// Found by the simulation (seed 40002872): md waited for the I/O of the second leg, and that leg for its own removal.
test('a member is removed with the valves of all failed ones open', async () => {
  const context = contextOf(leg('faulty'));
  const other = { ...leg('faulty'), nqn: 'c', valve: { name: 'valve-c' } } as unknown as LegFacts;
  const works = { ...leg('in_sync'), nqn: 'a', recorded: true, valve: { name: 'valve-a' } } as unknown as LegFacts;
  Object.assign(context.facts, { legs: [...context.facts.legs, other, works] });
  Object.assign(context.ports.valves, { open: (name: string) => Promise.resolve(void done.push(`open ${name}`)) });
  await execute({ kind: 'RemoveMember', nqn: 'b' }, context);
  await new Promise((resolve) => setImmediate(resolve));
  expect(done).toEqual(['open valve-b', 'open valve-c', 'remove member', 'remove valve']);
});

describe('what the bitmap knows of a leg that is lost', () => {
  const header = (generation: number, inSync: readonly string[]) => ({
    lineage: 1,
    epoch: 7,
    generation,
    inSync,
    sizes: [],
    volume: 'v',
    volumeUid: 'u',
    replica: 'v-a',
    replicaUid: 'a',
  });
  const lost = async (state: string, knownTo: number): Promise<unknown> => {
    fresh = { ...fresh, status: { ...fresh.status, recordGeneration: 3, inSync: ['v-a', 'v-b'] } };
    const context = contextOf({ ...leg(state), recorded: true });
    const works = { ...leg('in_sync'), nqn: 'a', replica: 'v-a', recorded: true, valve: { device: 'dm-a' } };
    memory.learn({ replica: 'v-a', uid: 'a', nqn: 'a', address: '', port: 0 }, 0);
    const known = encodeLegHeader(header(knownTo, ['v-a', 'v-b']), 1).toString('latin1');
    Object.assign(context.facts, { legs: [...context.facts.legs, works] });
    Object.assign(context.ports, { bootId: 'boot', readDevice: () => Promise.resolve(known.padEnd(8192, '\0')) });
    await execute({ kind: 'Drop', legs: [{ nqn: 'b', reason: 'no answer' }], record: true }, context).catch(
      () => undefined,
    );
    return recorded;
  };
  const covered = { bootId: 'boot', nqn: 'b' };

  test('is all that it lacks, when it was in sync until then', async () => {
    expect(await lost('in_sync', 3)).toMatchObject(covered);
    expect(await lost('faulty', 3)).toMatchObject(covered);
  });

  // Given an API server that was restored from a backup, when its record calls a leg in sync that md was copying to.
  test('is not, when md was copying to it', async () => {
    expect(await lost('spare', 3)).not.toMatchObject({ nqn: 'b' });
  });

  test('is not, when this process has not seen it work, and the others know a later record', async () => {
    expect(await lost('faulty', 4)).not.toMatchObject({ nqn: 'b' });
    memory.leg('b').wasInSync = true;
    expect(await lost('faulty', 4)).toMatchObject(covered);
  });
});

describe('a leg that is lost while it is brought up to date', () => {
  const drop = (...state: string[]): Promise<void> =>
    execute({ kind: 'Drop', legs: [{ nqn: 'b', reason: 'no answer' }], record: false }, contextOf(leg(...state)));
  const lostAt = '1969-12-31T20:00:00.000Z';
  beforeEach(() => {
    const entry = { epoch: 6, at: lostAt, bootId: 'boot', nqn: 'b', reason: 'no answer' };
    fresh = { ...fresh, status: { ...fresh.status, outOfSync: { 'v-b': entry } } };
  });

  // Given a copy of hours that a hiccup of the network ends, then the replica was not away for those hours: it is not overdue.
  test('is away from then on, and what the bitmap knows of it stays so', async () => {
    await drop('spare');
    expect(done.slice(0, 4)).toEqual(['fail', 'unblock', 'active', 'open valve']);
    expect(recorded).toEqual({
      epoch: 6,
      at: '1970-01-01T00:00:00.000Z',
      bootId: 'boot',
      nqn: 'b',
      reason: 'no answer',
    });
  });

  test('by an error of its own has been no use since it was lost first', async () => {
    await drop('spare', 'blocked', 'write_error');
    expect(recorded).toBeUndefined();
  });

  test('is let go all the same when that can not be recorded', async () => {
    fresh = volumeWith('Leaving');
    await drop('spare');
    expect(done).toEqual(['fail', 'unblock', 'active', 'open valve']);
  });
});

// Found by the simulation: since the backup every leg had been in sync, and the bitmap had been cleared.
describe('after the API server has been restored from a backup, what it says of the bitmap counts no more', () => {
  const away = { epoch: 7, at: '', bootId: 'boot', nqn: 'b' };

  test('once the record is told anew', async () => {
    fresh = volumeWith('Member');
    Object.assign(fresh.status ?? {}, { outOfSync: { 'v-b': away } });
    await execute({ kind: 'RecordAnew' }, contextOf(leg()));
    expect(recorded).toMatchObject({ epoch: 7, bootId: null, nqn: null });
  });

  test.each([
    ['a later record than the API server', 9, 'Full'],
    ['the record of the API server', 8, 'Bitmap'],
  ])('nor when a leg knows %s', async (_what, generation, kind) => {
    fresh = volumeWith('Member');
    Object.assign(fresh.status ?? {}, { recordGeneration: 8, outOfSync: { 'v-b': away } });
    const stamp = { lineage: 1, epoch: 7, generation, inSync: ['v-a'] };
    const header = encodeLegHeader({ ...stamp, volume: 'v', volumeUid: 'u', replica: 'v-a', replicaUid: 'a' }, 1);
    const source = { ...leg('in_sync'), replica: 'v-a', uid: 'a', nqn: 'a', recorded: true };
    memory.learn({ replica: 'v-a', uid: 'a', nqn: 'a', address: '', port: 0 }, 0);
    const context = contextOf({ ...leg(), namespace: { name: 'nvme1n1', devNo: '259:1' } } as unknown as LegFacts);
    const joins: string[] = [];
    Object.assign(context.facts, { legs: [...context.facts.legs, source] });
    Object.assign(context.ports, {
      readDevice: () => Promise.resolve(Buffer.concat([Buffer.alloc(4096), header]).toString('latin1')),
    });
    Object.assign(context.ports.md, {
      addMember: (_array: string, member: { readonly kind: string }) => Promise.resolve(void joins.push(member.kind)),
    });
    await execute({ kind: 'Join', nqn: 'b', slot: 1, sync: 'Bitmap' }, context);
    await new Promise((resolve) => setImmediate(resolve));
    expect(joins).toEqual([kind]);
    expect(memory.forgotten).toBe(kind === 'Full');
  });
});

describe('a leg that was in sync once is none to go on from as long as data is copied to it', () => {
  const joined = async (outOfSync: object, isAway = false): Promise<string[]> => {
    fresh = volumeWith('Member');
    Object.assign(fresh.status ?? {}, { outOfSync });
    const context = contextOf({ ...leg(), namespace: { name: 'nvme1n1', devNo: '259:1' } } as unknown as LegFacts);
    const addMember = () => Promise.resolve(void done.push('add member'));
    Object.assign(context.ports.md, { addMember });
    if (isAway) Object.assign(context.volumes, { patch: () => Promise.reject(new Error('no answer')) });
    await execute({ kind: 'Join', nqn: 'b', slot: 1, sync: 'Full' }, context);
    await new Promise((resolve) => setImmediate(resolve));
    return done;
  };

  test('which is recorded before the first block is copied', async () => {
    expect(await joined({ 'v-b': { epoch: 6, at: 'then' } })).toEqual(['record v-a', 'add member']);
    expect(recorded).toMatchObject({ at: 'then', mixedSince: '1970-01-01T00:00:00.000Z' });
  });

  test('and without that nothing is copied', async () => {
    expect(await joined({ 'v-b': { epoch: 6, at: 'then' } }, true)).toEqual([]);
  });

  test('once is enough, and a new replica was never anything to go on from', async () => {
    expect(await joined({ 'v-b': { epoch: 6, at: 'then', mixedSince: 'before' } })).toEqual(['add member']);
    done = [];
    expect(await joined({})).toEqual(['add member']);
  });
});
