import { describe, expect, test } from '@jest/globals';
import type { WorldSketch } from '../testing/world.ts';
import { ago, connectionObject, facts, nowMs } from '../testing/world.ts';
import { legsOf } from './connection.ts';
import { fence, release, released, sweepConnections } from './detach.ts';

/** c1 has the volume under epoch 4 and is to have it no longer. */
function unwanted(more: WorldSketch = {}): WorldSketch {
  return { attachment: { node: 'c1', epoch: 4, clean: false }, ...more, spec: { attachTo: '', ...more.spec } };
}
const deadClient = { dead: { c1: nowMs - 20_000 } };
const closed = (fencedEpoch: number) => ({ spec: { hostNqn: '', epoch: 5 }, status: { fencedEpoch } });
const going = { connection: { metadata: connectionObject('c1', 4, [], true).metadata } };

describe('a client that lives lets go by itself', () => {
  test('its connection is deleted, once', () => {
    expect(release(facts(unwanted())).actions).toMatchObject([{ kind: 'deleteConnection', name: 'v.c1' }]);
    expect(release(facts(unwanted(going))).actions).toEqual([]);
  });

  // Given the storage node of the last in-sync leg is booted again while the client lets go, when it were not told of the new
  // name, then its I/O would wait for the old one for ever, and so would the release.
  test('it is told of a leg that came back under another name', () => {
    const { metadata, spec } = connectionObject('c1', 4, [...legsOf(facts(unwanted()))], true);
    const sketch = unwanted({
      connection: { metadata, spec },
      replicas: [{}, { status: { nqn: 'nqn:r1:booted-again' } }],
    });
    const { actions = [] } = release(facts(sketch));
    expect(actions).toMatchObject([
      { kind: 'updateConnection', spec: { epoch: 4, legs: [{ nqn: 'nqn:r0' }, { nqn: 'nqn:r1:booted-again' }] } },
    ]);
  });

  test('it is waited for, however slow, and the message says for what', () => {
    const status = { phase: 'Releasing' as const, message: 'waiting for the unmount of /data' };
    const decision = release(facts(unwanted({ connection: { ...going.connection, status } })));
    expect(decision.record).toBeUndefined();
    expect(decision.notes?.[0]?.message).toMatch(/waits until c1 has stopped the array.*unmount of \/data/);
  });

  test('when its connection is gone and it said that the array is clean, nobody has the volume', () => {
    const sketch = unwanted({ attachment: { node: 'c1', epoch: 4, clean: true }, connection: null });
    expect(released(facts(sketch)).record).toMatchObject({
      kind: 'released',
      attachment: { node: '', hostNqn: '', epoch: 4, clean: true },
    });
  });

  test('a connection that vanished without that word proves nothing: its client is fenced', () => {
    const sketch = unwanted({ connection: null });
    expect(released(facts(sketch))).toEqual({});
    expect(fence(facts(sketch)).actions).toMatchObject([{ kind: 'setAccess' }, { kind: 'setAccess' }]);
  });
});

describe('a dead client is fenced', () => {
  test('its connection is deleted and every replica is closed under the next epoch', () => {
    expect(fence(facts(unwanted(deadClient))).actions).toMatchObject([
      { kind: 'deleteConnection' },
      { kind: 'setAccess', name: 'v-r0', hostNqn: '', epoch: 5 },
      { kind: 'setAccess', name: 'v-r1', hostNqn: '', epoch: 5 },
    ]);
  });

  test('when the in-sync replicas have confirmed, nobody has the volume, and the array was not stopped in order', () => {
    const sketch = unwanted({ ...deadClient, ...going, replicas: [closed(5), closed(5)] });
    expect(fence(facts(sketch)).record).toMatchObject({
      kind: 'fenced',
      attachment: { node: '', hostNqn: '', epoch: 5, clean: false },
    });
  });

  test('a dead storage node is not waited for when another in-sync replica has confirmed', () => {
    const dead = { c1: 0, s2: 0 };
    const sketch = unwanted({ dead, ...going, replicas: [closed(5), closed(4)] });
    expect(fence(facts(sketch)).record?.kind).toBe('fenced');
  });

  test('without any confirmation it waits, and says for which replica', () => {
    const dead = { c1: 0, s1: 0, s2: 0 };
    const decision = fence(facts(unwanted({ dead, ...going, replicas: [closed(4), closed(4)] })));
    expect(decision.record).toBeUndefined();
    expect(decision.notes?.[0]).toMatchObject({ blocked: true, reason: 'Fencing' });
  });

  test('a fence that has begun is carried to its end although the client is back and the volume is meant for it again', () => {
    const sketch = unwanted({ ...going, spec: { attachTo: 'c1' }, replicas: [closed(5), closed(5)] });
    expect(fence(facts(sketch)).record?.kind).toBe('fenced');
  });

  test('a dead client that is to keep the volume is left alone', () => {
    const sketch = { attachment: { node: 'c1', epoch: 4 }, ...deadClient };
    expect([release, released, fence].map((rule) => rule(facts(sketch)))).toEqual([{}, {}, {}]);
  });
});

const old = (deleted: boolean) => ({
  attachment: { node: '', epoch: 5 },
  moreConnections: [connectionObject('c1', 4, [], deleted)],
});

describe('connections of earlier attachments', () => {
  test.each<[string, WorldSketch, readonly object[]]>([
    ['are deleted', old(false), [{ kind: 'deleteConnection' }]],
    ['are left to their client while it lives', old(true), []],
    [
      // Found by the simulation: let in again under its name, what was left of its old array wrote on.
      'are left to their client although it is dead and fenced: it cleans up before it is let in again',
      { ...old(true), ...deadClient },
      [],
    ],
    [
      'are given up when their client is dead and fenced, and the volume goes as well',
      { ...old(true), ...deadClient, metadata: { deletionTimestamp: ago(1) } },
      [{ kind: 'releaseConnection', epoch: 5 }],
    ],
    [
      'are not given up before the fence is recorded',
      { ...unwanted({ ...deadClient, ...going }), attachment: { node: 'c1', epoch: 4 } },
      [],
    ],
  ])('%s', (_what, sketch, actions) => {
    expect(sweepConnections(facts(sketch)).actions).toMatchObject(actions);
  });
});
