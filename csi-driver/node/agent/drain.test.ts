import { describe, expect, test } from '@jest/globals';
import { valveName } from '../../../lib/api/names.ts';
import type { VolumeConnection } from '../../../lib/api/index.ts';
import { VolumeMemory } from './memory.ts';
import { observe, type HostFacts } from './observe.ts';
import { plan } from './plan.ts';
import { connectionStatus } from './status.ts';

const PREFIX = 'nqn.2026-01.dev.holdfast:replica:';
const legs = ['a', 'b'].map((replica) => ({
  replica,
  uid: `uid-${replica}`,
  nqn: `${PREFIX}${replica}:b1`,
  address: '10.0.0.1',
  port: 4420,
}));

const SIZE = 2 ** 26;

/** A node of which one program looks at volume v: `array` runs with both legs, of which `b` is as said. */
function world(options: { array: boolean; b?: string; inSync?: string[] }) {
  const member = (replica: string, ...state: string[]) => ({ device: `dm-${replica}`, slot: 0, state: new Set(state) });
  const array = {
    state: 'active',
    syncAction: 'idle',
    raidDisks: 2,
    sizeBytes: SIZE,
    members: [member('a', 'in_sync')],
  };
  if (options.b !== undefined) array.members.push(member('b', options.b));
  const memory = new VolumeMemory();
  const clock = { now: () => 0, monotonicMs: () => 5000 };
  let status: VolumeConnection['status'];
  let drained: Record<string, number> = {};
  const ports = {
    bootId: 'boot-2',
    clock,
    md: { readArray: () => (options.array ? array : undefined), deviceNumber: () => undefined },
    sysfs: { readAttribute: () => undefined },
    links: { read: () => '/dev/md_hf_uid' },
    valves: { status: () => Promise.resolve(undefined) },
  } as unknown as Parameters<typeof observe>[0]['ports'];
  const host = {
    controllers: legs.map(({ nqn }, i) => ({ nqn, name: `nvme${i}`, state: 'live' })),
    namespaces: new Map(
      legs.map(({ nqn }, i) => [nqn, { nqn, name: `nvme${i}n1`, devNo: `259:${i}`, sizeBytes: 2 * SIZE }]),
    ),
    valves: new Map(
      legs.map(({ nqn, replica }, i) => [
        valveName(nqn),
        { name: valveName(nqn), device: `dm-${replica}`, below: [`nvme${i}n1`], sizeBytes: 2 * SIZE },
      ]),
    ),
  } as unknown as HostFacts;
  const connection = () =>
    ({
      metadata: { name: 'v.c1' },
      spec: {
        volume: 'v',
        volumeUid: 'uid',
        epoch: 7,
        sizeBytes: SIZE,
        legTimeout: '3s',
        onControlPlaneLoss: 'Wait',
        onSlowLeg: 'Report',
        raidDisks: 2,
        legs: legs.map((leg) => ({ ...leg, ...(drained[leg.replica] ? { drained: drained[leg.replica] } : {}) })),
      },
      status,
    }) as unknown as VolumeConnection;
  const inSync = options.inSync ?? ['a', 'b'];
  const volume = { status: { inSync, attachment: { node: 'c1', epoch: 7, clean: false } } };
  const look = async () => {
    const facts = await observe({
      node: 'c1',
      ports,
      connection: connection(),
      volume: volume as unknown as NonNullable<Parameters<typeof observe>[0]['volume']>,
      host,
      memory,
      nowMs: 5000,
    });
    return { facts, planned: plan(facts), kinds: plan(facts).actions.map(({ kind }) => kind) };
  };
  return {
    memory,
    array,
    look,
    /** The API server has accepted the status. */
    publish: async () => {
      const { facts, planned } = await look();
      status = connectionStatus(connection(), facts, planned, memory, ports);
    },
    setStatus: (value: object) => {
      status = value as VolumeConnection['status'];
    },
    setDrained: (value: Record<string, number>) => {
      drained = value;
    },
  };
}

describe('the first start under an epoch', () => {
  test('waits for no drain, but until the API server knows this boot', async () => {
    const it = world({ array: false });
    expect((await it.look()).kinds).toEqual([]);
    await it.publish();
    expect((await it.look()).kinds).toEqual(['Assemble']);
  });
});

describe('a later start under the same epoch', () => {
  test.each<[string, object]>([
    ['after a boot of this node', { bootId: 'boot-1', epoch: 7 }],
    ['after a boot before the array was reported', { bootId: 'boot-1' }],
    ['after the array was stopped', { bootId: 'boot-2', epoch: 7 }],
  ])('%s, uses a leg only once its storage node has drained it', async (_when, status) => {
    const it = world({ array: false });
    it.setDrained({ a: 4 });
    it.setStatus(status);
    const first = await it.look();
    expect(first.facts.legs.map(({ drained }) => drained)).toEqual([false, false]);
    await it.publish();
    const asked = await it.look();
    expect(asked.kinds).toEqual([]);
    expect(asked.planned.message).toContain('has not yet proved that I/O');
    it.setDrained({ a: 5 });
    expect((await it.look()).kinds).toEqual([]);
    it.setDrained({ a: 5, b: 1 });
    expect((await it.look()).kinds).toEqual(['Assemble']);
  });
});

describe('a leg that has left the array', () => {
  const dropped = async () => {
    const it = world({ array: true, b: 'faulty', inSync: ['a'] });
    it.memory.startedEpoch = 7;
    await it.publish();
    return it;
  };

  test('is removed from it, the last witness, only after its drain was asked for', async () => {
    const it = await dropped();
    expect((await it.look()).kinds).toEqual(['AskDrain']);
    it.memory.askDrain({ replica: 'b' });
    it.memory.leg(legs[1]!.nqn).drainAsked = true;
    expect((await it.look()).kinds).toEqual([]);
    await it.publish();
    expect((await it.look()).kinds).toEqual(['RemoveMember']);
  });

  test('joins only once it is drained, and says so', async () => {
    const it = await dropped();
    it.memory.askDrain({ replica: 'b' });
    await it.publish();
    it.array.members.pop();
    const waiting = await it.look();
    expect(waiting.kinds).toEqual([]);
    expect(waiting.planned.message).toContain('b may not join until earlier I/O');
    it.setDrained({ b: 1 });
    expect((await it.look()).kinds).toEqual(['Join']);
  });
});

describe('what was asked for', () => {
  test('is above what the leg was drained for, and above itself', () => {
    const memory = new VolumeMemory();
    memory.askDrain({ replica: 'a', drained: 3 });
    expect(memory.drain('a')).toBe(4);
    memory.askDrain({ replica: 'a', drained: 3 });
    expect(memory.drain('a')).toBe(5);
  });

  test('outlives the process', () => {
    const memory = new VolumeMemory();
    memory.recallDrains([{ replica: 'a', drain: 3 }]);
    expect(memory.drain('a')).toBe(3);
  });

  // Given a cache that was behind when this process asked, the request of its predecessor may be answered already.
  test('is made anew above a request of a predecessor that shows up later', () => {
    const memory = new VolumeMemory();
    memory.askDrain({ replica: 'a', drained: 3 });
    memory.recallDrains([{ replica: 'a', drain: 6 }]);
    expect(memory.drain('a')).toBe(7);
    memory.recallDrains([{ replica: 'a', drain: 7 }]);
    expect(memory.drain('a')).toBe(7);
  });
});
