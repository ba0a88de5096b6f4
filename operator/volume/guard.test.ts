import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import { describe, expect, test } from '@jest/globals';
import { hostNqn } from '../../lib/api/names.ts';
import type { Action, RecordChange } from './actions.ts';
import type { Fresh } from './guard.ts';
import { objectToAction, objectToRecord } from './guard.ts';
import { neededForAction, neededForRecord, type Names, type Needed } from './needed.ts';
import type { ReplicaRecord } from './model.ts';
import type { WorldSketch } from './testing/world.ts';
import { ago, connectionObject, world } from './testing/world.ts';

const event = { type: 'Normal', reason: 'X', message: '' } as const;

/** What is read for a guard: it must not ask for more. */
function only(needed: Needed, sketch: WorldSketch): Fresh {
  const { volume, replicas, connections } = world(sketch);
  return {
    volume,
    get replicas() {
      return named(needed.replicas, replicas);
    },
    get connections() {
      return named(needed.connections, connections);
    },
  };
}

function named<T extends { metadata: { name: string } }>(names: Names | undefined, all: readonly T[]): readonly T[] {
  if (names === undefined) return notRead();
  return names === 'all' ? all : all.filter(({ metadata }) => names.includes(metadata.name));
}

function notRead(): never {
  throw new Error('the guard asks for what is not read');
}

const judgeRecord = (change: RecordChange, sketch: WorldSketch) =>
  objectToRecord(change, only(neededForRecord(change, world(sketch).volume), sketch));
const judge = (action: Action, sketch: WorldSketch) =>
  objectToAction(action, only(neededForAction(action, world(sketch).volume), sketch));

const c1 = hostNqn('c1');
const free = { attachment: { node: '', epoch: 4 }, spec: { attachTo: 'c1' } };
const attached = { attachment: { node: 'c1', epoch: 4, clean: false } };
const open = (epoch: number, fencedEpoch = epoch) => ({ spec: { hostNqn: c1, epoch }, status: { fencedEpoch } });
const shut = (epoch: number, fencedEpoch = epoch) => ({ spec: { hostNqn: '', epoch }, status: { fencedEpoch } });
const marked = { role: 'Leaving', spec: { state: 'Orphan' }, deleted: true } as const;
const ending = { metadata: { deletionTimestamp: ago(1), finalizers: ['holdfast.dev/operator'] } };
const out = (...names: readonly string[]) => ({
  outOfSync: Object.fromEntries(names.map((name) => [name, { epoch: 3, at: ago(1) }])),
});

function record(name: string, role: ReplicaRecord['role'] = 'Member'): ReplicaRecord {
  return { name, storageNode: 's1', pool: 'main', role };
}

function grant(change: object = {}): RecordChange {
  const attachment = { node: 'c1', hostNqn: c1, epoch: 5, clean: true, ...change };
  return { kind: 'grant', attachment, event };
}

function fenced(change: object = {}): RecordChange {
  return { kind: 'fenced', attachment: { node: '', hostNqn: '', epoch: 5, clean: false, ...change }, event };
}

function replace(names: readonly ReplicaRecord[], leaving: readonly string[], nextReplica = 3): RecordChange {
  return { kind: 'replace', replicas: names, leaving, nextReplica, event };
}

const forget: RecordChange = { kind: 'forget', replicas: [record('v-r0')], names: ['v-r1'], event };
const released: RecordChange = {
  kind: 'released',
  attachment: { node: '', hostNqn: '', epoch: 4, clean: true },
  event,
};
const initialise: RecordChange = { kind: 'initialise', inSync: ['v-r0', 'v-r1'], event };
const place: RecordChange = { kind: 'place', replicas: [record('v-r0')], nextReplica: 1, event };
const healed = [record('v-r0'), record('v-r2'), record('v-r1', 'Leaving')];

describe('changes of the record that keep the laws are let through', () => {
  test.each<[string, RecordChange, WorldSketch]>([
    ['place', place, { attachment: null, replicas: [] }],
    ['initialise', initialise, { attachment: null }],
    ['grant', grant(), { ...free, replicas: [open(5), open(5)] }],
    ['grant with one dead replica', grant(), { ...free, replicas: [open(5), open(5, 4)] }],
    ['released', released, { attachment: { node: 'c1', epoch: 4, clean: true }, connection: null }],
    ['fenced', fenced(), { ...attached, replicas: [shut(5), shut(5, 4)] }],
    ['replace', replace(healed, ['v-r1']), { ...attached, inSync: ['v-r0'] }],
    ['forget', forget, { ...attached, replicas: [{}, marked], inSync: ['v-r0'] }],
  ])('%s', (_what, change, sketch) => {
    expect(judgeRecord(change, sketch)).toBeUndefined();
  });
});

describe('changes of the record that break a law are refused, whatever was planned', () => {
  test.each<[RecordChange, WorldSketch, string]>([
    [place, {}, 'placed already'],
    [place, { attachment: null, replicas: [], ...ending }, 'being deleted'],
    [initialise, {}, 'once only'],
    [initialise, { attachment: null, replicas: [{}, {}, {}] }, 'all members'],
    [initialise, { attachment: null, replicas: [{}, { status: { phase: 'Pending' } }] }, 'as it was made'],
    [initialise, { attachment: null, replicas: [{}, open(1)] }, 'as it was made'],
    [grant(), { ...free, replicas: [open(5, 4), open(5, 4)] }, 'no in-sync replica has confirmed'],
    [grant(), { ...free, replicas: [open(5, 4), open(5)], inSync: ['v-r0'] }, 'no in-sync replica has confirmed'],
    [grant(), { ...free, replicas: [open(5), open(4)] }, 'v-r1 is not closed to earlier hosts'],
    [grant(), { ...free, replicas: [open(5), shut(5)] }, 'v-r1 is not closed to earlier hosts'],
    [grant({ epoch: 4 }), { ...free, replicas: [open(4), open(4)] }, 'epoch only grows'],
    [grant({ clean: false }), { ...free, replicas: [open(5), open(5)] }, 'not for the operator'],
    [grant(), { ...attached, replicas: [open(5), open(5)] }, 'attached to c1'],
    [grant(), { ...free, spec: { attachTo: 'c2' }, replicas: [open(5), open(5)] }, 'another node'],
    [grant({ hostNqn: hostNqn('c2') }), { ...free, replicas: [open(5), open(5)] }, 'not that of the node'],
    [grant(), { ...free, ...ending, replicas: [open(5), open(5)] }, 'being deleted'],
    [fenced(), { ...attached, replicas: [shut(5, 4), shut(5, 4)] }, 'no in-sync replica has confirmed'],
    [fenced(), { ...attached, replicas: [shut(5), {}] }, 'v-r1 is not closed'],
    [fenced({ clean: true }), { ...attached, replicas: [shut(5), shut(5)] }, 'not stopped its array'],
    [fenced({ epoch: 4 }), { ...attached, replicas: [shut(4), shut(4)] }, 'epoch only grows'],
    [released, attached, 'has not said'],
    [released, { attachment: { node: 'c1', epoch: 4, clean: true } }, 'still has its connection'],
    [replace(healed, ['v-r1']), attached, 'in sync does not leave'],
    [replace([record('v-r0'), record('v-r2')], []), { ...attached, inSync: ['v-r0'] }, 'before another is removed'],
    [replace(healed, ['v-r1'], 1), { ...attached, inSync: ['v-r0'] }, 'never used twice'],
    [replace(healed, ['v-r1']), { ...attached, inSync: ['v-r9'] }, 'no in-sync replica would be left'],
    [forget, { ...attached, replicas: [{}, marked] }, 'in-sync replica is never forgotten'],
    [forget, { ...attached, replicas: [{}, { role: 'Leaving' }], inSync: ['v-r0'] }, 'once it is marked'],
    [forget, { ...attached, replicas: [{}, marked, {}], inSync: ['v-r0'] }, 'other replicas'],
  ])('%j', (change, sketch, objection) => {
    expect(judgeRecord(change, sketch)).toMatch(objection);
  });
});

const access = (hostNqn: string, epoch: number): Action => ({
  kind: 'setAccess',
  name: 'v-r0',
  uid: 'uid-r0',
  hostNqn,
  epoch,
});
const create: Action = {
  kind: 'createReplica',
  name: 'v-r1',
  spec: world().replicas[0]?.spec ?? ({} as never),
};
const orphan: Action = { kind: 'orphanReplica', name: 'v-r1', uid: 'uid-r1', why: '' };
const remove: Action = { kind: 'deleteReplica', name: 'v-r1', uid: 'uid-r1' };
const legs = [0, 1].map((i) => ({
  replica: `v-r${i}`,
  uid: `uid-r${i}`,
  nqn: `nqn:r${i}`,
  address: `10.0.0.${i + 1}`,
  port: 4420,
}));
const connect: Action = { kind: 'createConnection', name: 'v.c1', spec: connectionObject('c1', 4, legs).spec };
const update: Action = {
  kind: 'updateConnection',
  name: 'v.c1',
  uid: 'uid-v.c1',
  spec: { sizeBytes: 2 ** 30, raidDisks: 2, legs, legTimeout: '3s', ...DEFAULT_STALL_POLICY, epoch: 4 },
  why: '',
};
const disconnect: Action = { kind: 'deleteConnection', name: 'v.c1', uid: 'uid-v.c1', why: '' };
const giveUp: Action = { kind: 'releaseConnection', name: 'v.c1', uid: 'uid-v.c1', epoch: 5 };
const letGo: Action = { kind: 'removeFinalizer' };
const leaves = { replicas: [{}, { role: 'Leaving' }, {}] } satisfies WorldSketch;

describe('effects that keep the laws are let through', () => {
  test.each<[Action, WorldSketch]>([
    [create, { attachment: null, replicas: [{}, { object: false }] }],
    [access(c1, 5), free],
    [access(c1, 4), { ...attached, replicas: [shut(3), {}] }],
    [access('', 5), attached],
    [orphan, { ...attached, ...leaves, inSync: ['v-r0', 'v-r2'], status: out('v-r1') }],
    [orphan, { ...attached, ...leaves, inSync: ['v-r0'] }],
    [remove, { ...attached, replicas: [{}, { ...marked, deleted: false }], inSync: ['v-r0'] }],
    [connect, attached],
    [update, attached],
    [disconnect, { ...attached, spec: { attachTo: '' } }],
    [giveUp, { attachment: { node: '', epoch: 5 }, moreConnections: [connectionObject('c1', 4, [], true)] }],
    [letGo, ending],
    [letGo, { ...ending, attachment: { epoch: 3 } }],
  ])('%j', (action, sketch) => {
    expect(judge(action, sketch)).toBeUndefined();
  });
});

describe('effects that break a law are refused, whatever was planned', () => {
  test.each<[Action, WorldSketch, string]>([
    [create, { attachment: null, replicas: [{}] }, 'does not name'],
    [create, {}, 'held data'],
    [create, { inSync: ['v-r0'], status: out('v-r1') }, 'held data'],
    [access(c1, 5), { ...free, spec: { attachTo: 'c2' } }, 'host is not the one'],
    [access(hostNqn('c2'), 5), attached, 'host is not the one'],
    [access(c1, 5), attached, 'host is not the one'],
    [access('', 4), { ...attached, replicas: [open(3), {}] }, 'host is not the one'],
    [access(c1, 5), { ...free, replicas: [open(6), {}] }, 'only grows'],
    [access(c1, 5), { attachment: null }, 'no data yet'],
    [orphan, { ...attached, ...leaves }, 'in-sync replica is never removed'],
    [orphan, { ...attached, inSync: ['v-r0'] }, 'member of the volume is never removed'],
    [orphan, { ...attached, ...leaves, inSync: ['v-r0'], status: out('v-r1') }, 'old copy is kept'],
    [orphan, { ...attached, ...ending }, 'in-sync replica is never removed'],
    [orphan, ending, 'in-sync replica is never removed'],
    [remove, { ...attached, ...leaves, inSync: ['v-r0', 'v-r2'] }, 'marked as an orphan before'],
    [connect, { ...attached, replicas: [{}, open(4, 3)] }, 'v-r1 has not confirmed'],
    [connect, { attachment: { node: 'c1', epoch: 5 } }, 'epoch is not that'],
    [connect, { attachment: { node: 'c2', epoch: 4 } }, 'not attached to this node'],
    [update, { ...attached, replicas: [{}, { role: 'Leaving' }] }, 'v-r1 has not confirmed'],
    [update, { ...attached, connection: null }, 'connection is gone'],
    [disconnect, attached, 'meant for this node'],
    [giveUp, { ...attached, connection: { spec: connectionObject('c1', 4).spec } }, 'not fenced'],
    [letGo, {}, 'not being deleted'],
    [letGo, { ...ending, ...attached }, 'or attached'],
    [letGo, { ...ending, attachment: { epoch: 4 }, moreConnections: [connectionObject('c1', 4)] }, 'connection'],
  ])('%j', (action, sketch, objection) => {
    expect(judge(action, sketch)).toMatch(objection);
  });
});
