import { describe, expect, test } from '@jest/globals';
import type { WorldSketch } from '../testing/world.ts';
import { ago, connectionObject, facts, world } from '../testing/world.ts';
import { deleteVolume, holdVolume } from './delete.ts';
import { retire, sweepStrangers } from './orphans.ts';

const attachment = { node: 'c1', epoch: 3 };
const out = (...names: readonly string[]) => ({
  outOfSync: Object.fromEntries(names.map((name) => [name, { epoch: 3, at: ago(1) }])),
});
/** r1 leaves, r2 came for it. */
function healing(more: WorldSketch): WorldSketch {
  return { attachment, replicas: [{}, { role: 'Leaving' }, {}], status: out('v-r1'), ...more };
}

describe('a replica that leaves', () => {
  test.each<[string, WorldSketch, readonly object[]]>([
    [
      'is orphaned and deleted once the members hold the data',
      healing({ inSync: ['v-r0', 'v-r2'] }),
      [
        { kind: 'orphanReplica', name: 'v-r1' },
        { kind: 'deleteReplica', name: 'v-r1' },
      ],
    ],
    ['is kept while the new one is not in sync: it is the next best copy', healing({ inSync: ['v-r0'] }), []],
    ['is kept while it is in sync itself', healing({ inSync: ['v-r0', 'v-r1', 'v-r2'] }), []],
    [
      'is not kept when it never held data',
      healing({ inSync: ['v-r0'], status: {} }),
      [{ kind: 'orphanReplica' }, { kind: 'deleteReplica' }],
    ],
    [
      'is deleted when it is an orphan already',
      healing({ inSync: ['v-r0', 'v-r2'], replicas: [{}, { role: 'Leaving', spec: { state: 'Orphan' } }, {}] }),
      [{ kind: 'deleteReplica' }],
    ],
  ])('%s', (_what, sketch, actions) => {
    const decision = retire(facts(sketch));
    expect(decision.record).toBeUndefined();
    expect(decision.actions).toMatchObject(actions);
  });

  test('is forgotten by the record once it is marked, and its old time with it', () => {
    const marked = { role: 'Leaving' as const, spec: { state: 'Orphan' as const }, deleted: true };
    const { record } = retire(facts(healing({ inSync: ['v-r0', 'v-r2'], replicas: [{}, marked, {}] })));
    expect(record).toMatchObject({ kind: 'forget', names: ['v-r1'] });
    expect(record?.kind === 'forget' && record.replicas.map(({ name }) => name)).toEqual(['v-r0', 'v-r2']);
  });

  test('is not forgotten while it is only deleted and not an orphan', () => {
    const replicas = [{}, { role: 'Leaving' as const, deleted: true }, {}];
    expect(retire(facts(healing({ inSync: ['v-r0', 'v-r2'], replicas }))).record).toBeUndefined();
  });
});

function never(): never {
  throw new Error('the world has replicas');
}

describe('an object that the record does not name', () => {
  const stranger = { ...(world().replicas[0] ?? never()), metadata: { name: 'v-r7', uid: 'uid-r7' } };

  test('is an orphan', () => {
    expect(sweepStrangers(facts({ moreReplicas: [stranger] })).actions).toMatchObject([
      { kind: 'orphanReplica', name: 'v-r7' },
      { kind: 'deleteReplica', name: 'v-r7' },
    ]);
  });

  test('is an orphan also when it belongs to an earlier volume of the same name', () => {
    const earlier = { ...stranger, spec: { ...stranger.spec, volumeUid: 'uid-old' } };
    expect(sweepStrangers(facts({ moreReplicas: [earlier] })).actions).toHaveLength(2);
  });
});

describe('a volume that is deleted', () => {
  const metadata = { deletionTimestamp: ago(1) };

  test('is kept while it is attached, and says so', () => {
    const decision = deleteVolume(facts({ metadata, attachment }));
    expect(decision.actions).toBeUndefined();
    expect(decision.notes?.[0]?.message).toBe('deletion waits: the volume is attached to c1; detach it first');
  });

  test('waits for a client that has not let go yet', () => {
    const sketch = { metadata, moreConnections: [connectionObject('c1', 0, [], true)] };
    expect(deleteVolume(facts(sketch)).notes).toMatchObject([{ reason: 'Connected' }]);
  });

  test('goes when nobody has it, before its replicas and whether their nodes live or not', () => {
    expect(deleteVolume(facts({ metadata, dead: { s1: 0 } })).actions).toEqual([{ kind: 'removeFinalizer' }]);
  });

  test('is held by the finalizer from the beginning, and never given one while it goes', () => {
    expect(holdVolume(facts({ metadata: { finalizers: [] } })).actions).toEqual([{ kind: 'addFinalizer' }]);
    expect(holdVolume(facts({ metadata: { finalizers: [], ...metadata } }))).toEqual({});
  });
});
