import { describe, expect, test } from '@jest/globals';
import { objectToAction } from '../guard.ts';
import type { WorldSketch } from '../testing/world.ts';
import { connectionObject, facts, world } from '../testing/world.ts';
import { connect, legsOf } from './connection.ts';
import { drain } from './drain.ts';

/** c1 has the volume; r1 was lost and c1 waits for a drain of it. */
function asking(asked: number | undefined, more: WorldSketch = {}, replica: object = {}): WorldSketch {
  const legs = [
    { replica: 'v-r0', state: 'InSync' as const },
    { replica: 'v-r1', state: 'Connecting' as const, ...(asked === undefined ? {} : { drain: asked }) },
  ];
  const { spec } = connectionObject('c1', 3, [...legsOf(facts({ attachment: { node: 'c1', epoch: 3 } }))]);
  return {
    attachment: { node: 'c1', epoch: 3 },
    inSync: ['v-r0'],
    replicas: [{}, replica],
    connection: { spec, status: { legs } },
    ...more,
  };
}

describe('a drain that the client asks for', () => {
  test('is asked of the storage agent', () => {
    expect(drain(facts(asking(2))).actions).toEqual([{ kind: 'setDrain', name: 'v-r1', uid: 'uid-r1', drain: 2 }]);
  });

  test.each<[string, WorldSketch]>([
    ['was asked for already', asking(2, {}, { spec: { drain: 2 } })],
    ['was never asked for', asking(undefined)],
    ['is asked for by a client that is to let go', asking(2, { spec: { attachTo: '' } })],
  ])('changes nothing when it %s', (_when, sketch) => {
    expect(drain(facts(sketch)).actions ?? []).toEqual([]);
  });

  test('is answered with the legs, once it is proved', () => {
    expect(connect(facts(asking(2))).actions).toEqual([]);
    const proved = asking(2, {}, { spec: { drain: 2 }, status: { drained: 2 } });
    expect(connect(facts(proved)).actions).toMatchObject([
      { kind: 'updateConnection', spec: { legs: [{ replica: 'v-r0' }, { replica: 'v-r1', drained: 2 }] } },
    ]);
  });
});

describe('the guard', () => {
  const fresh = (sketch: WorldSketch) => {
    const { volume, replicas, connections } = world(sketch);
    return { volume, replicas, connections };
  };
  const set = { kind: 'setDrain', name: 'v-r1', uid: 'uid-r1', drain: 2 } as const;

  test('lets through what the client asks for', () => {
    expect(objectToAction(set, fresh(asking(2)))).toBeUndefined();
  });

  test('refuses what it has not asked for, and what would fall', () => {
    expect(objectToAction(set, fresh(asking(1)))).toMatch('has not asked');
    expect(objectToAction(set, fresh(asking(2, {}, { spec: { drain: 3 } })))).toMatch('only grows');
  });

  test('tells no client that a leg is drained before its agent has said so', () => {
    const sketch = asking(2, {}, { spec: { drain: 2 }, status: { drained: 1 } });
    const legs = legsOf(facts(sketch)).map((leg) => ({ ...leg, drained: 2 }));
    const { legTimeout, onControlPlaneLoss, onSlowLeg } = world(sketch).volume.spec.healing;
    const spec = { sizeBytes: 2 ** 30, raidDisks: 2, legs, legTimeout, onControlPlaneLoss, onSlowLeg, epoch: 3 };
    const update = { kind: 'updateConnection', name: 'v.c1', uid: 'uid-v.c1', spec, why: '' } as const;
    expect(objectToAction(update, fresh(sketch))).toMatch('or its drain');
  });
});
