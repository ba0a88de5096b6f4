import { describe, expect, test } from '@jest/globals';
import { hostNqn } from '../../../lib/api/names.ts';
import type { WorldSketch } from '../testing/world.ts';
import { connectionObject, facts, nowMs } from '../testing/world.ts';
import { attach } from './attach.ts';

const c1 = hostNqn('c1');
const opened = (epoch: number, fencedEpoch = epoch) => ({ spec: { hostNqn: c1, epoch }, status: { fencedEpoch } });

/** A detached volume that c1 is to get; its last epoch was 4. */
function wanted(replicas: WorldSketch['replicas'], more: WorldSketch = {}): WorldSketch {
  return {
    attachment: { node: '', epoch: 4 },
    spec: { attachTo: 'c1' },
    ...(replicas === undefined ? {} : { replicas }),
    ...more,
  };
}

describe('before a client gets the volume, earlier hosts are fenced', () => {
  test('every replica is opened to it alone, under the next epoch', () => {
    const { actions, record } = attach(facts(wanted([{}, {}])));
    expect(record).toBeUndefined();
    expect(actions).toEqual([
      { kind: 'setAccess', name: 'v-r0', uid: 'uid-r0', hostNqn: c1, epoch: 5 },
      { kind: 'setAccess', name: 'v-r1', uid: 'uid-r1', hostNqn: c1, epoch: 5 },
    ]);
  });

  // Found by the simulation: what c1 had left of the array of an earlier epoch connected again, as the replicas were opened to
  // c1, and its user's write was acknowledged.
  test('not before that client has cleaned up after its last attachment', () => {
    const { actions, record, notes } = attach(
      facts(wanted([{}, {}], { moreConnections: [connectionObject('c1', 4, [], true)] })),
    );
    expect({ actions, record }).toEqual({ actions: undefined, record: undefined });
    expect(notes?.[0]?.message).toContain('cleaned up');
    expect(attach(facts(wanted([{}], { moreConnections: [connectionObject('c2', 4)] }))).actions).toHaveLength(1);
  });

  test('also one on a dead node, and one that leaves', () => {
    const { actions } = attach(facts(wanted([{}, { role: 'Leaving' }, {}], { dead: { s1: 0 }, inSync: ['v-r0'] })));
    expect(actions?.map((action) => 'name' in action && action.name)).toEqual(['v-r0', 'v-r2', 'v-r1']);
  });

  test('an attempt for the same client that was begun is carried on under its epoch', () => {
    const { actions } = attach(facts(wanted([opened(7), {}])));
    expect(actions).toMatchObject([{ name: 'v-r1', epoch: 7 }]);
  });

  test('an attempt for another client is not: its epoch is used up', () => {
    const other = { spec: { hostNqn: hostNqn('c2'), epoch: 7 }, status: { fencedEpoch: 7 } };
    expect(attach(facts(wanted([other, {}]))).actions).toMatchObject([{ epoch: 8 }, { epoch: 8 }]);
  });

  test('the epoch of the last attachment is never used again, also for the same client', () => {
    const { actions } = attach(facts(wanted([opened(4), opened(4)])));
    expect(actions).toMatchObject([{ epoch: 5 }, { epoch: 5 }]);
  });
});

describe('the volume is granted', () => {
  test.each<[string, WorldSketch]>([
    ['all in-sync replicas have confirmed', wanted([opened(5), opened(5)])],
    [
      'the one that lives has confirmed, and the other is on a dead node',
      wanted([opened(5), opened(5, 4)], { dead: { s2: 0 } }),
    ],
    ['a replica that is out of sync has not confirmed', wanted([opened(5), opened(5, 4)], { inSync: ['v-r0'] })],
    [
      'the one that has failed can not confirm',
      wanted([opened(5), { spec: { hostNqn: c1, epoch: 5 }, status: { fencedEpoch: 4, phase: 'Failed' } }]),
    ],
  ])('when %s', (_when, sketch) => {
    expect(attach(facts(sketch)).record).toMatchObject({
      kind: 'grant',
      attachment: { node: 'c1', hostNqn: c1, epoch: 5, clean: true },
    });
  });

  test('and the new client learns whether the array was stopped in order', () => {
    const sketch = { ...wanted([opened(5), opened(5)]), attachment: { node: '', epoch: 4, clean: false } };
    expect(attach(facts(sketch)).record).toMatchObject({ attachment: { clean: false } });
  });
});

describe('the volume is not granted', () => {
  test.each<[string, WorldSketch, string, boolean]>([
    [
      'while a living in-sync replica has not confirmed',
      wanted([opened(5), opened(5, 4)]),
      'waits until v-r1 on s2',
      false,
    ],
    [
      'when no in-sync replica can be reached: it waits, and says for which',
      wanted([opened(5, 4), opened(5, 4)], { dead: { s1: nowMs - 1, s2: nowMs - 1 } }),
      'waits for v-r0 on s1 or v-r1 on s2',
      true,
    ],
    [
      'from a replica that is not in sync, though it is the only one that answers',
      wanted([opened(5, 4), opened(5)], { inSync: ['v-r0'], dead: { s1: 0 } }),
      'waits for v-r0 on s1',
      true,
    ],
  ])('%s', (_when, sketch, message, blocked) => {
    const decision = attach(facts(sketch));
    expect(decision.record).toBeUndefined();
    expect(decision.notes?.[0]?.message).toMatch(message);
    expect(decision.notes?.[0]?.blocked).toBe(blocked);
  });

  test.each<[string, WorldSketch]>([
    ['nobody wants it', { attachment: { node: '', epoch: 4 } }],
    ['somebody has it', { attachment: { node: 'c2', epoch: 4 }, spec: { attachTo: 'c1' } }],
    ['it holds no data yet', { attachment: null, spec: { attachTo: 'c1' } }],
    ['it is being deleted', wanted([{}, {}], { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } })],
  ])('nothing happens when %s', (_when, sketch) => {
    expect(attach(facts(sketch))).toEqual({});
  });
});
