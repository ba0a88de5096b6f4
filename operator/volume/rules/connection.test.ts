import { describe, expect, test } from '@jest/globals';
import type { WorldSketch } from '../testing/world.ts';
import { connectionObject, facts } from '../testing/world.ts';
import { connect, legsOf } from './connection.ts';

const attached = { attachment: { node: 'c1', epoch: 3 } };
const legNames = (sketch: WorldSketch) => legsOf(facts(sketch)).map(({ replica }) => replica);

function leg(i: number) {
  return { replica: `v-r${i}`, uid: `uid-r${i}`, nqn: `nqn:r${i}`, address: `10.0.0.${i + 1}`, port: 4420 };
}

function silent() {
  return { status: { phase: 'Pending' as const, fencedEpoch: 0 } };
}

describe('the legs that a client may use', () => {
  test.each<[string, WorldSketch, readonly string[]]>([
    ['are all members that have fenced earlier hosts', attached, ['v-r0', 'v-r1']],
    [
      'are not those that have not confirmed',
      { ...attached, connection: null, replicas: [{}, { status: { fencedEpoch: 2 } }] },
      ['v-r0'],
    ],
    [
      'are not those whose address is not known yet',
      { ...attached, connection: null, replicas: [{}, {}, { object: false }] },
      ['v-r0', 'v-r1'],
    ],
    ['are not those that leave', { ...attached, replicas: [{}, { role: 'Leaving' }, {}] }, ['v-r0', 'v-r2']],
    [
      'stay listed when their agent says nothing for a moment',
      { ...attached, connection: { spec: connectionObject('c1', 3, [leg(0), leg(1)]).spec }, replicas: [{}, silent()] },
      ['v-r0', 'v-r1'],
    ],
    [
      'do not stay listed from an earlier epoch',
      { ...attached, connection: { spec: connectionObject('c1', 2, [leg(0), leg(1)]).spec }, replicas: [{}, silent()] },
      ['v-r0'],
    ],
  ])('%s', (_what, sketch, names) => {
    expect(legNames(sketch)).toEqual(names);
  });
});

describe('the connection of an attached volume', () => {
  test('is made when an in-sync leg is there', () => {
    expect(connect(facts({ ...attached, connection: null })).actions).toMatchObject([
      { kind: 'createConnection', name: 'v.c1', spec: { node: 'c1', epoch: 3, raidDisks: 2, legTimeout: '3s' } },
    ]);
  });

  test('waits for an in-sync leg: others alone are no start', () => {
    const replicas = [{ status: { fencedEpoch: 2 } }, {}];
    const decision = connect(facts({ ...attached, connection: null, replicas, inSync: ['v-r0'] }));
    expect(decision.actions).toEqual([]);
    expect(decision.notes).toMatchObject([{ topic: 'attach', blocked: true }]);
  });

  test('waits until the client has cleaned up after its last attachment', () => {
    const moreConnections = [connectionObject('c1', 2, [], true)];
    const decision = connect(facts({ ...attached, connection: null, moreConnections }));
    expect(decision.actions).toEqual([]);
    expect(decision.notes?.[0]?.message).toMatch('cleaned up');
  });

  test('is left alone when it is right', () => {
    expect(connect(facts(attached)).actions).toEqual([]);
  });

  test('follows a leg whose node has rebooted and exports it under a new name', () => {
    const sketch: WorldSketch = { ...attached, replicas: [{}, { status: { nqn: 'nqn:r1:boot2' } }] };
    const old = connectionObject('c1', 3, [...legsOf(facts(attached))]).spec;
    const { actions } = connect(facts({ ...sketch, connection: { spec: old } }));
    expect(actions).toMatchObject([
      { kind: 'updateConnection', spec: { legs: [{ replica: 'v-r0' }, { replica: 'v-r1', nqn: 'nqn:r1:boot2' }] } },
    ]);
  });

  test('follows the volume: what to do without the API server, and with a slow leg', () => {
    const old = connectionObject('c1', 3, [...legsOf(facts(attached))]).spec;
    const healing = { onControlPlaneLoss: 'Continue after 30s', onSlowLeg: 'Drop after 1m' };
    const sketch: WorldSketch = { ...attached, spec: { healing }, connection: { spec: old } };
    expect(connect(facts(sketch)).actions).toMatchObject([{ kind: 'updateConnection', spec: healing }]);
    expect(connect(facts({ ...sketch, connection: { spec: { ...old, ...healing } } })).actions).toEqual([]);
  });

  test('follows the volume: legTimeout, a leg that leaves', () => {
    const old = connectionObject('c1', 3, [...legsOf(facts(attached))]).spec;
    const sketch: WorldSketch = {
      ...attached,
      spec: { healing: { legTimeout: '7s' } },
      replicas: [{}, { role: 'Leaving' }],
      connection: { spec: old },
    };
    expect(connect(facts(sketch)).actions).toMatchObject([
      { kind: 'updateConnection', spec: { legTimeout: '7s', legs: [{ replica: 'v-r0' }] }, why: 'c1 is to drop v-r1' },
    ]);
  });

  test('a replica that was closed in the meantime is opened to the client again, under its epoch', () => {
    const replicas = [{}, { spec: { epoch: 2, hostNqn: '' } }];
    expect(connect(facts({ ...attached, replicas, connection: null })).actions).toMatchObject([
      { kind: 'setAccess', name: 'v-r1', epoch: 3 },
      { kind: 'createConnection', spec: { legs: [{ replica: 'v-r0' }] } },
    ]);
  });
});
