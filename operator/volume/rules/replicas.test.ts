import { describe, expect, test } from '@jest/globals';
import type { Decision } from '../decision.ts';
import { objectToAction } from '../guard.ts';
import { plan } from '../plan.ts';
import type { WorldSketch } from '../testing/world.ts';
import { candidate, connectionObject, facts, legOf, nowMs, world } from '../testing/world.ts';
import { adjustReplicas, dismissed } from './replicas.ts';

const note = (decision: Decision) => decision.notes?.[0];
const attached = { attachment: { node: 'c1', epoch: 3 } };
const three = { ...attached, replicas: [{}, {}, {}], spec: { replicas: 2 } } satisfies WorldSketch;
const names = (sketch: WorldSketch): readonly string[] => dismissed(facts(sketch)).map(({ name }) => name);

describe('spec.replicas is raised', () => {
  test.each([
    ['a detached volume, which are filled when it is attached next', {}],
    ['an attached one, which its client fills', attached],
  ])('more members are placed: %s', (_, sketch) => {
    const { record } = adjustReplicas(facts({ spec: { replicas: 3 }, ...sketch }));
    expect(record).toMatchObject({ kind: 'replace', leaving: [], event: { reason: 'ReplicasAdded' } });
    expect(record?.kind === 'replace' && record.replicas.map(({ role }) => role)).toEqual([
      'Member',
      'Member',
      'Member',
    ]);
  });

  test('but not while it changes hands, or healing is paused, or there is no place', () => {
    const spec = { replicas: 3 };
    expect(note(adjustReplicas(facts({ spec, ...attached, connection: null })))?.reason).toBe('TooFew');
    expect(note(adjustReplicas(facts({ spec: { ...spec, healing: { paused: true } } })))?.reason).toBe('Paused');
    const nowhere = adjustReplicas(facts({ spec, candidates: [candidate('s1', 'a')] }));
    expect(note(nowhere)).toMatchObject({ reason: 'NoPlace', blocked: true });
    expect(nowhere.lookAgainMs).toBeGreaterThan(0);
  });

  test('the array gets a place for each member', () => {
    const sketch = { ...attached, replicas: [{}, {}, {}], spec: { replicas: 3, attachTo: 'c1' } };
    const action = plan(world(sketch), nowMs).actions.find(({ kind }) => kind === 'updateConnection');
    expect(action).toMatchObject({ spec: { raidDisks: 3 } });
  });
});

describe('spec.replicas is lowered', () => {
  test('the client lets go of as many as are too many, the youngest first', () => {
    expect(names(three)).toEqual(['v-r2']);
    expect(names({ ...three, spec: { replicas: 1 } })).toEqual(['v-r2', 'v-r1']);
    expect(note(adjustReplicas(facts(three)))?.message).toContain('c1 is to let go of v-r2');
    const action = plan(world({ ...three, spec: { replicas: 2, attachTo: 'c1' } }), nowMs).actions.find(
      ({ kind }) => kind === 'updateConnection',
    );
    expect(action?.kind === 'updateConnection' && action.spec.legs.map(({ replica }) => replica)).toEqual([
      'v-r0',
      'v-r1',
    ]);
  });

  test('before those whose storage node does not answer, or is to be emptied', () => {
    expect(names({ ...three, dead: { s1: 0 } })).toEqual(['v-r0']);
    const candidates = ['s1', 's2', 's3'].map((name, at) => ({ ...candidate(name, name), cordoned: at === 1 }));
    expect(names({ ...three, candidates })).toEqual(['v-r1']);
  });

  test('of none while no more are in sync than are wanted, or nobody uses the volume', () => {
    expect(names({ ...three, inSync: ['v-r0', 'v-r2'] })).toEqual([]);
    expect(names({ ...three, attachment: {} })).toEqual([]);
    expect(names({ ...three, spec: { replicas: 3 } })).toEqual([]);
    expect(note(adjustReplicas(facts({ spec: { replicas: 1 } })))?.reason).toBe('TooMany');
  });

  // As after a recovery, which takes up whatever the disks hold.
  test('what holds nothing that is needed leaves once enough are in sync', () => {
    const members = { replicas: [{}, {}, {}, {}], spec: { replicas: 2 } };
    expect(note(adjustReplicas(facts({ ...members, inSync: ['v-r0'] })))?.reason).toBe('TooMany');
    const { record } = adjustReplicas(facts({ ...members, inSync: ['v-r0', 'v-r2'] }));
    expect(record).toMatchObject({ kind: 'replace', leaving: ['v-r1', 'v-r3'], nextReplica: 4 });
    const one = adjustReplicas(facts({ ...members, spec: { replicas: 3 }, inSync: ['v-r0', 'v-r1', 'v-r2'] }));
    expect(one.record).toMatchObject({ leaving: ['v-r3'] });
  });

  test('the guard lets no client let go of a replica that is needed', () => {
    const fresh = world(three);
    const { node: _, volume: _v, volumeUid: _u, ...spec } = connectionObject('c1', 3).spec;
    const legs = fresh.replicas.map(legOf);
    const without = (...gone: number[]) =>
      objectToAction(
        {
          kind: 'updateConnection',
          name: 'v.c1',
          uid: 'uid-v.c1',
          spec: { ...spec, legs: legs.filter((_leg, at) => !gone.includes(at)) },
          why: '',
        },
        fresh,
      );
    expect(without(2)).toBeUndefined();
    expect(without(1, 2)).toMatch('without v-r1, v-r2 fewer replicas are in sync than are wanted');
  });
});
