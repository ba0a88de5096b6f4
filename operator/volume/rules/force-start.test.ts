import { describe, expect, test } from '@jest/globals';
import { hostNqn } from '../../../lib/api/names.ts';
import { DEFAULT_STALL_POLICY } from '../../../lib/api/policy.ts';
import type { RecordChange } from '../actions.ts';
import { objectToAction, objectToRecord } from '../guard.ts';
import { plan } from '../plan.ts';
import { createCluster } from '../testing/cluster.ts';
import type { WorldSketch } from '../testing/world.ts';
import { ago, facts, nowMs, world } from '../testing/world.ts';
import { forceStart, setLineages } from './force-start.ts';

const left = { epoch: 4, at: ago(60_000), bootId: 'b', nqn: 'n' };
const request = { replica: 'v-r1', lineage: 2, recordGeneration: 7, acceptDataLoss: true };

/** r0 is in sync and its node is dead; r1 answers and lacks writes; a person has decided for r1. */
function lost(more: WorldSketch = {}, replicas: WorldSketch['replicas'] = [{}, {}]): WorldSketch {
  return {
    attachment: { node: '', epoch: 4 },
    inSync: ['v-r0'],
    replicas,
    dead: { s1: nowMs - 60_000 },
    ...more,
    spec: { forceStart: request, ...more.spec },
    status: { recordGeneration: 7, outOfSync: { 'v-r1': left }, ...more.status },
  };
}

const fresh = (sketch: WorldSketch) => {
  const { volume, replicas, connections } = world(sketch);
  return { volume, replicas, connections };
};

const shut = (epoch: number, fencedEpoch = epoch) => ({
  spec: { hostNqn: '', epoch },
  status: { fencedEpoch, phase: 'Ready' as const },
});

describe('a forced start', () => {
  test('begins a lineage from the one replica, and no bitmap counts any more', () => {
    const { record } = forceStart(facts(lost()));
    expect(record).toMatchObject({
      kind: 'forceStart',
      replica: 'v-r1',
      lineage: 2,
      recordGeneration: 8,
      attachment: { node: '', epoch: 4, clean: false },
      outOfSync: {
        'v-r1': null,
        'v-r0': { epoch: 4, reason: 'left behind by the forced start of lineage 2 from v-r1' },
      },
    });
    const patch = plan(world(lost()), nowMs).status;
    expect(patch).toMatchObject({ inSync: ['v-r1'], lineage: 2, recordGeneration: 8 });
  });

  // Given one that was refused when it was asked for, when more has been written since, then it must not happen by itself.
  test('is void once the record has changed', () => {
    const { record, notes } = forceStart(facts(lost({ status: { recordGeneration: 9 } })));
    expect(record).toBeUndefined();
    expect(notes?.[0]?.message).toContain('when the record was number 7, and that has changed to 9: ask again');
    const now = { ...request, recordGeneration: 9 };
    expect(
      forceStart(facts(lost({ status: { recordGeneration: 9 }, spec: { forceStart: now } }))).record,
    ).toBeDefined();
  });

  // Given r1, which r2 is being made to replace, when r1 is chosen, then r2, which never held anything, goes again.
  test('takes back who was being replaced, and lets go of who was being made', () => {
    const { record } = forceStart(facts(lost({}, [{}, { role: 'Leaving' }, {}])));
    const roles = record?.kind === 'forceStart' ? record.replicas.map(({ name, role }) => `${name} ${role}`) : [];
    expect(roles).toEqual(['v-r0 Member', 'v-r1 Member', 'v-r2 Leaving']);
  });

  test('of a lineage that has begun is done', () => {
    expect(forceStart(facts(lost({ status: { lineage: 2 } })))).toEqual({});
  });

  test.each<[string, WorldSketch, RegExp]>([
    [
      'an in-sync replica can be reached',
      lost({ dead: {} }),
      /v-r0 on s1 can be reached and has every acknowledged write/,
    ],
    ['its node is away', lost({ dead: { s1: 0, s2: 0 } }), /its storage node s2 does not answer/],
    ['it is in sync itself', lost({ inSync: ['v-r0', 'v-r1'] }), /it is in sync, so nothing has to be forced/],
    ['it never was in sync', lost({ status: { outOfSync: {} } }), /it never was in sync/],
    ['there is no such replica', lost({ spec: { forceStart: { ...request, replica: 'x' } } }), /are v-r0, v-r1/],
    [
      'the lineage is not the next one',
      lost({ spec: { forceStart: { ...request, lineage: 5 } } }),
      /the next one is 2/,
    ],
    ['it was deleted', lost({}, [{}, { deleted: true }]), /it was deleted/],
    ['it has failed', lost({}, [{}, { status: { phase: 'Failed', message: 'broken' } }]), /it is Failed: broken/],
    ['a client has the volume', lost({ attachment: { node: 'c1', epoch: 4 } }), /c1 has the volume; detach it first/],
  ])('is refused when %s', (_what, sketch, message) => {
    const { record, notes } = forceStart(facts(sketch));
    expect(record).toBeUndefined();
    expect(notes).toMatchObject([{ topic: 'force', reason: 'ForceStartRefused', blocked: true }]);
    expect(notes?.[0]?.message).toMatch(/^HF201: /);
    expect(notes?.[0]?.message).toMatch(message);
  });

  test('cuts a client off that can not be asked, from that replica, and gives the volume to nobody', () => {
    const dead = { s1: 0, c1: 0 };
    const more = { attachment: { node: 'c1', epoch: 4 }, spec: { attachTo: '', forceStart: request }, dead };
    const waiting = forceStart(facts(lost(more, [shut(5), shut(5, 4)])));
    expect(waiting.record).toBeUndefined();
    expect(waiting.notes?.[0]?.message).toBe('force-start waits until v-r1 on s2 has fenced earlier hosts');
    expect(forceStart(facts(lost(more, [shut(5), shut(5)]))).record).toMatchObject({
      attachment: { node: '', hostNqn: '', epoch: 5, clean: false },
    });
  });

  test('the lineage is told to the replica that has it, and to no other', () => {
    const after = lost({ inSync: ['v-r1'], status: { lineage: 2 } });
    expect(setLineages(facts(after)).actions).toEqual([
      { kind: 'setLineage', name: 'v-r1', uid: 'uid-r1', lineage: 2 },
    ]);
  });
});

describe('the guard', () => {
  const change = (more: object = {}): RecordChange => ({
    kind: 'forceStart',
    replica: 'v-r1',
    lineage: 2,
    recordGeneration: 8,
    replicas: [],
    attachment: { node: '', hostNqn: '', epoch: 4, clean: false },
    outOfSync: {},
    event: { type: 'Warning', reason: 'X', message: '' },
    ...more,
  });
  const ready = [{}, { status: { phase: 'Ready' as const } }];

  test('lets the one through that was asked for', () => {
    expect(objectToRecord(change(), fresh(lost({}, ready)))).toBeUndefined();
  });

  test.each<[string, RecordChange, WorldSketch]>([
    ['nobody asked', change(), lost({ spec: { forceStart: { ...request, replica: 'v-r0' } } }, ready)],
    [
      'the loss is not accepted',
      change(),
      lost({ spec: { forceStart: { ...request, acceptDataLoss: false } } }, ready),
    ],
    ['the replica is in sync', change(), lost({ inSync: ['v-r1'] }, ready)],
    [
      'a lineage is left out',
      change({ lineage: 3 }),
      lost({ spec: { forceStart: { ...request, lineage: 3 } } }, ready),
    ],
    ['the record falls', change({ recordGeneration: 7 }), lost({}, ready)],
    [
      'the record is another one than was decided on',
      change({ recordGeneration: 9 }),
      lost({ status: { recordGeneration: 8 } }, ready),
    ],
    ['a client has it', change(), lost({ attachment: { node: 'c1', epoch: 4 } }, ready)],
    [
      'a client has it and one replica is open to it',
      change({ attachment: { node: '', hostNqn: '', epoch: 5, clean: false } }),
      lost({ attachment: { node: 'c1', epoch: 4 } }, [{}, shut(5)]),
    ],
  ])('objects when %s', (_what, wrong, sketch) => {
    expect(objectToRecord(wrong, fresh(sketch))).toBeDefined();
  });

  test('objects to the lineage of a replica that is not in sync', () => {
    const action = { kind: 'setLineage', name: 'v-r0', uid: 'uid-r0', lineage: 2 } as const;
    expect(objectToAction(action, fresh(lost({ inSync: ['v-r1'], status: { lineage: 2 } })))).toBeDefined();
  });
});

describe('in a cluster', () => {
  test('the stale replica serves on, and the old one comes back by a copy, not with its data', async () => {
    const cluster = createCluster();
    for (const zone of ['a', 'b']) cluster.addNode(`s-${zone}`, { zone });
    await cluster.createVolume('pg', {
      healing: { ...DEFAULT_STALL_POLICY, replicaTimeout: '1h', legTimeout: '3s', paused: false },
    });
    await cluster.settle();
    await cluster.edit('pg', { attachTo: 'c1' });
    await cluster.settle();
    expect(cluster.write('pg')).toBe(true);
    const place = (name: string) =>
      cluster.volume('pg').status?.replicas?.find((each) => each.name === name)?.storageNode ?? '';

    cluster.power(place('pg-r1'), false);
    cluster.write('pg');
    await cluster.settle();
    expect(cluster.write('pg')).toBe(true);
    cluster.power(place('pg-r0'), false);
    cluster.power('c1', false);
    cluster.power(place('pg-r1'), true);
    await cluster.edit('pg', { attachTo: '' });
    await cluster.advance(11_000);
    await cluster.edit('pg', { attachTo: 'c2' });
    await cluster.settle();
    expect(cluster.volume('pg').status).toMatchObject({ phase: 'Waiting', inSync: ['pg-r0'] });
    expect(cluster.volume('pg').status?.message).toMatch(
      /waits for pg-r0 on s-.: no in-sync replica can be reached.*pg-r1 on s-. answers, but lacks what was written since 2026.*force-start/,
    );

    cluster.acceptLoss('pg', 'pg-r1');
    const { recordGeneration = 0 } = cluster.volume('pg').status ?? {};
    await cluster.edit('pg', {
      forceStart: { replica: 'pg-r1', lineage: 2, recordGeneration, acceptDataLoss: true },
    });
    await cluster.settle();
    expect(cluster.write('pg')).toBe(true);
    expect(cluster.volume('pg').status).toMatchObject({ lineage: 2, inSync: ['pg-r1'], attachment: { node: 'c2' } });
    expect(cluster.events.map(({ reason }) => reason)).toContain('ForceStarted');

    cluster.power(place('pg-r0'), true);
    cluster.power('c1', true);
    await cluster.advance(1_000);
    expect(cluster.write('pg')).toBe(true);
    expect(cluster.volume('pg').status).toMatchObject({ lineage: 2, phase: 'Healthy', inSyncSummary: '2/2' });
    const lineages = [...cluster.api.replicas.rows.values()].map(({ spec }) => spec.lineage);
    expect(lineages).toEqual([2, 2]);
  });
});

const conflict = {
  status: {
    conditions: [
      {
        type: 'Consistent',
        status: 'False' as const,
        reason: 'DiskKnowsBetter',
        message: 'HF315: epoch 7',
        lastTransitionTime: ago(0),
      },
    ],
  },
};

describe('a disk that knows more than the record', () => {
  const c1 = hostNqn('c1');
  const open = { spec: { hostNqn: c1, epoch: 5 }, status: { fencedEpoch: 5 } };

  test.each<[string, WorldSketch]>([
    [
      'the volume is not handed out',
      { attachment: { node: '', epoch: 4 }, spec: { attachTo: 'c1' }, replicas: [open, conflict] },
    ],
    [
      'nobody is fenced',
      { attachment: { node: 'c1', epoch: 4 }, spec: { attachTo: '' }, dead: { c1: 0 }, replicas: [{}, conflict] },
    ],
    ['nothing is erased', { replicas: [{}, {}, { role: 'Leaving', ...conflict }], inSync: ['v-r0', 'v-r1'] }],
  ])('stops the volume: %s', (_what, sketch) => {
    const { actions, record, status } = plan(world(sketch), nowMs);
    expect([actions, record]).toEqual([[], undefined]);
    expect(status).toMatchObject({ phase: 'Waiting' });
    expect((status as { message: string }).message).toMatch(/^HF200: v-r. on s.: HF315: epoch 7/);
  });

  test('also when it is not in sync, and is waited for until it has looked', () => {
    const stale = { spec: { hostNqn: c1, epoch: 5 }, status: { fencedEpoch: 4, phase: 'Ready' as const, message: '' } };
    const sketch = {
      attachment: { node: '', epoch: 4 },
      spec: { attachTo: 'c1' },
      inSync: ['v-r0'],
      status: { outOfSync: { 'v-r1': left } },
    };
    const waits = plan(world({ ...sketch, replicas: [open, stale] }), nowMs);
    expect(waits.record).toBeUndefined();
    expect((waits.status as { message: string }).message).toContain('v-r1 on s2 has compared its disk with the record');
    const troubled = { ...stale, status: { ...stale.status, message: 'HF304: the pool is gone' } };
    for (const other of [open, troubled]) {
      expect(plan(world({ ...sketch, replicas: [open, other] }), nowMs).record).toMatchObject({ kind: 'grant' });
    }
    expect(plan(world({ ...sketch, replicas: [open, stale], dead: { s2: 0 } }), nowMs).record?.kind).toBe('grant');
  });

  test('the guard objects as well', () => {
    const grant: RecordChange = {
      kind: 'grant',
      attachment: { node: 'c1', hostNqn: c1, epoch: 5, clean: true },
      event: { type: 'Normal', reason: 'X', message: '' },
    };
    const free = { attachment: { node: '', epoch: 4 }, spec: { attachTo: 'c1' } };
    expect(objectToRecord(grant, fresh({ ...free, replicas: [open, open] }))).toBeUndefined();
    const knows = { ...open, status: { ...open.status, ...conflict.status } };
    expect(objectToRecord(grant, fresh({ ...free, replicas: [open, knows] }))).toContain('knows more');
  });
});

describe('a new volume', () => {
  test('does not take the place of one whose replicas are on disk without objects', () => {
    const blank = { ...world({ attachment: null, replicas: [] }), unknownReplicas: () => ['v-r0 on s1'] };
    const { record, status } = plan(blank, nowMs);
    expect(record).toBeUndefined();
    expect((status as { message: string }).message).toMatch(/^HF200: .*v-r0 on s1.*holdfast recover/);
  });

  // Given an API server restored to a moment in which the volume was being made, when its disks hold data since, then
  // no empty replica is made, and none counts.
  test.each<[string, WorldSketch]>([
    ['placed', { attachment: null, replicas: [{ object: false }, { object: false }] }],
    ['made', { attachment: null, replicas: [{}, {}] }],
  ])('that has been %s goes no further then', (_what, sketch) => {
    const before = plan(world(sketch), nowMs);
    expect(before.record ?? before.actions[0]).toBeDefined();
    const { actions, record, status } = plan({ ...world(sketch), unknownReplicas: () => ['v-r0 on s1'] }, nowMs);
    expect([actions, record]).toEqual([[], undefined]);
    expect(status).toMatchObject({ phase: 'Waiting', message: expect.stringMatching(/^HF200: .*v-r0 on s1/) });
  });

  test('whose disks know of an attachment says so, and not that it is being made', () => {
    const { status } = plan(world({ attachment: null, replicas: [conflict, conflict] }), nowMs);
    expect(status).toMatchObject({ phase: 'Waiting', message: expect.stringMatching(/^HF200: .*HF315/) });
  });

  test('that is being recovered is left alone', () => {
    const { volume, ...rest } = world({ attachment: null, replicas: [] });
    const annotations = { 'holdfast.dev/recovering': 'x' };
    const held = { ...rest, volume: { ...volume, metadata: { ...volume.metadata, annotations } } };
    expect(plan(held, nowMs)).toMatchObject({ actions: [], status: undefined, record: undefined });
  });
});
