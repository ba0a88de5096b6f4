import { describe, expect, test } from '@jest/globals';
import type { VolumeConnection } from '../../../lib/api/index.ts';
import { valveName } from '../../../lib/api/names.ts';
import { VolumeMemory } from './memory.ts';
import { observe, startedUnder, type HostFacts } from './observe.ts';
import { plan } from './plan.ts';
import type { AgentPorts } from './ports.ts';

const connection = (epoch: number, status?: object): Pick<VolumeConnection, 'spec' | 'status'> =>
  ({ spec: { epoch }, ...(status ? { status } : {}) }) as Pick<VolumeConnection, 'spec' | 'status'>;

/** Given a running array, whether it belongs to the epoch that the connection is for. */
describe('a running array', () => {
  test('is ours when this process started it under this epoch', () => {
    expect(startedUnder(connection(7), { startedEpoch: 7 }, 'boot')).toBe(true);
  });

  test('is ours when our predecessor in this boot reported it under this epoch', () => {
    expect(startedUnder(connection(7, { epoch: 7, bootId: 'boot' }), { startedEpoch: undefined }, 'boot')).toBe(true);
  });

  // Given c1 had the volume, then c2, then c1 again, when c1's array of the first time still runs, then it must go.
  test('is not ours when it was started under an earlier epoch', () => {
    expect(startedUnder(connection(9, { epoch: 7, bootId: 'boot' }), { startedEpoch: undefined }, 'boot')).toBe(false);
    expect(startedUnder(connection(9), { startedEpoch: 7 }, 'boot')).toBe(false);
  });

  test('is not ours when nobody reported it: it had no user yet', () => {
    expect(startedUnder(connection(9), { startedEpoch: undefined }, 'boot')).toBe(false);
    expect(startedUnder(connection(9, { epoch: 9, bootId: 'another' }), { startedEpoch: undefined }, 'boot')).toBe(
      false,
    );
  });
});

/** Storage nodes that were booted again offer their replicas under new NQNs, and the VolumeConnection follows a moment later. */
describe('a leg under an NQN of a former boot', () => {
  const leg = (replica: string, boot: string): VolumeConnection['spec']['legs'][number] => ({
    replica,
    uid: `uid-${replica}`,
    nqn: `nqn.2026-01.dev.holdfast:replica:uid-${replica}:${boot}`,
    address: '10.0.0.1',
    port: 4420,
  });
  const wanted = [leg('a', 'new'), leg('b', 'new')];
  const former = leg('a', 'old');
  const member = (replica: string): object => ({ device: `dm-${replica}`, slot: 0, state: new Set(['in_sync']) });
  const array = { state: 'write-pending', syncAction: 'idle', members: [member('a'), member('b')] };
  const ports = {
    bootId: 'boot',
    md: { readArray: () => array },
    links: { read: () => '/dev/md_hf_uid' },
    sysfs: { readAttribute: () => '0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0' },
    valves: { status: () => Promise.resolve({ pathFailed: false }) },
  } as unknown as AgentPorts;
  const host = {
    controllers: wanted.map(({ nqn }) => ({ nqn, name: 'nvme0', state: 'live' })),
    namespaces: new Map(wanted.map(({ nqn }) => [nqn, { name: 'nvme0n1' }])),
    valves: new Map(
      wanted.map(({ nqn, replica }) => [
        valveName(nqn),
        { name: valveName(nqn), device: `dm-${replica}`, below: ['nvme0n1'], sizeBytes: 2 ** 21 },
      ]),
    ),
  } as unknown as HostFacts;
  const look = (memory: VolumeMemory, kernel = host): ReturnType<typeof observe> =>
    observe({
      node: 'c1',
      ports,
      connection: {
        metadata: { name: 'v.c1' },
        spec: {
          volume: 'v',
          volumeUid: 'uid',
          epoch: 7,
          legTimeout: '3s',
          onControlPlaneLoss: 'Wait',
          onSlowLeg: 'Report',
          raidDisks: 2,
          legs: wanted,
        },
      } as unknown as VolumeConnection,
      volume: {
        status: { inSync: ['a', 'b'], attachment: { node: 'c1', epoch: 7, clean: false } },
      } as unknown as Parameters<typeof observe>[0]['volume'],
      host: kernel,
      memory,
      nowMs: 5000,
    });
  const remembering = (): VolumeMemory => {
    const memory = new VolumeMemory();
    memory.startedEpoch = 7;
    memory.learn(former, 0);
    return memory;
  };

  // Otherwise it counts as a recorded leg that is no member, and is dropped: the record loses a replica that is in sync.
  test('is forgotten when the kernel has nothing of it, and writes go on', async () => {
    const facts = await look(remembering());
    expect(facts.legs.map(({ nqn }) => nqn)).toEqual(wanted.map(({ nqn }) => nqn));
    const kinds = plan(facts).actions.map(({ kind }) => kind);
    expect(kinds).toContain('MarkActive');
    expect(kinds).not.toContain('Drop');
  });

  // Found by the simulation: by the replica's name the old member's error took the new one out of the record.
  test('is not what the record means once the leg of now is a member, although md still has it', async () => {
    const place = { device: 'dm-old', devNo: '253:9', below: [], sizeBytes: 2 ** 21, suspended: false };
    const old = { name: valveName(former.nqn), ...place };
    const kernel = { ...host, valves: new Map([...host.valves, [old.name, old]]) } as unknown as HostFacts;
    const faulty = { device: 'dm-old', slot: undefined, state: new Set(['faulty', 'blocked']) };
    array.members.push(faulty);
    try {
      const facts = await look(remembering(), kernel);
      expect(facts.legs.map(({ nqn, recorded }) => [nqn, recorded])).toContainEqual([former.nqn, false]);
      expect(plan(facts).actions).toMatchObject([{ kind: 'Drop', legs: [{ nqn: former.nqn }], record: false }]);
    } finally {
      array.members.pop();
    }
  });

  test('is remembered while its controller stands, or is coming or going', async () => {
    const controllers = [...host.controllers, { nqn: former.nqn, name: 'nvme9', state: 'connecting' }];
    const standing = await look(remembering(), { ...host, controllers });
    expect(standing.legs).toHaveLength(3);
    const busy = remembering();
    busy.leg(former.nqn).busy = true;
    expect((await look(busy)).legs).toHaveLength(3);
  });
});
