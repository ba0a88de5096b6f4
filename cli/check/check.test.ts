import { describe, expect, test } from '@jest/globals';
import {
  arrayName,
  hostNqn,
  logicalVolumeName,
  logicalVolumeTags,
  replicaModel,
  replicaNqn,
  valveName,
  type ReplicatedVolume,
  type VolumeConnection,
  type VolumeReplica,
} from '../../lib/api/index.ts';
import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import { checkNode, type NodeFacts } from './node.ts';
import { checkObjects, type Objects } from './objects.ts';

const MIB = 1024 * 1024;
const UID = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee';
const R0 = '11111111-2222-4333-8444-555555555555';
const BOOT = '0b000001-0000-4000-8000-000000000000';
const NQN = replicaNqn(R0, BOOT);

const volume: ReplicatedVolume = {
  metadata: { name: 'pg', uid: UID },
  spec: {} as ReplicatedVolume['spec'],
  status: {
    phase: 'Healthy',
    attachment: { node: 'c1', hostNqn: hostNqn('c1'), epoch: 4, clean: false },
    inSync: ['pg-r0'],
    replicas: [{ name: 'pg-r0', storageNode: 's1', pool: 'p', role: 'Member' }],
  },
};
const replica: VolumeReplica = {
  metadata: { name: 'pg-r0', uid: R0 },
  spec: {
    volume: 'pg',
    volumeUid: UID,
    storageNode: 's1',
    pool: 'p',
    sizeBytes: 64 * MIB,
    provisioning: 'Thin',
    state: 'Active',
    hostNqn: hostNqn('c1'),
    epoch: 4,
    drain: 0,
    lineage: 1,
  },
  status: { phase: 'Ready', fencedEpoch: 4 },
};
const connection: VolumeConnection = {
  metadata: { name: 'pg.c1' },
  spec: {
    volume: 'pg',
    volumeUid: UID,
    node: 'c1',
    epoch: 4,
    sizeBytes: 64 * MIB,
    legTimeout: '3s',
    raidDisks: 1,
    ...DEFAULT_STALL_POLICY,
    legs: [{ replica: 'pg-r0', uid: R0, nqn: NQN, address: '10.0.0.1', port: 4420 }],
  },
  status: { phase: 'Connected' },
};
const ready = { type: 'Ready', status: 'True', reason: 'x', message: '', lastTransitionTime: '' } as const;
const objects: Objects = {
  volumes: [volume],
  replicas: [replica],
  connections: [connection],
  snapshots: [],
  copies: [],
  nodes: [{ metadata: { name: 's1' }, spec: {} as Objects['nodes'][number]['spec'], status: { conditions: [ready] } }],
};

const nothing = {
  bootId: BOOT,
  logicalVolumes: undefined,
  exports: [],
  controllers: [],
  valves: [],
  arrays: [],
  mounts: [],
  links: [],
  problems: [],
};
const lv = { name: logicalVolumeName(R0), group: 'hf-p', sizeBytes: 68 * MIB, tags: logicalVolumeTags(UID, R0) };
const exported = {
  nqn: NQN,
  serial: '',
  model: replicaModel({ epoch: 4, drain: 0 }),
  allowAnyHost: false,
  allowedHosts: [hostNqn('c1')],
  namespaces: [],
  listeners: [],
};
const storage = { ...nothing, node: 's1', logicalVolumes: [lv], exports: [exported] } as unknown as NodeFacts;
const array = {
  name: arrayName(UID),
  state: 'clean',
  syncAction: 'idle',
  raidDisks: 1,
  sizeBytes: 0,
  unsyncedFromBytes: undefined,
  sync: undefined,
  members: [],
};
const client: NodeFacts = {
  ...nothing,
  node: 'c1',
  controllers: [{ name: 'nvme0', nqn: NQN, state: 'live' }],
  valves: [valveName(NQN)],
  arrays: [array],
  mounts: [{ target: '/mnt/data', array: array.name }],
  links: ['pg'],
};

const whats = (found: readonly { readonly what: string }[]): string => found.map(({ what }) => what).join(' | ');

test('where all is well nothing is found', () => {
  expect(checkObjects(objects)).toEqual([]);
  expect(checkNode(storage, objects)).toEqual([]);
  expect(checkNode(client, objects)).toEqual([]);
});

describe('what objects say against each other', () => {
  const status = (change: object): Objects => ({
    ...objects,
    volumes: [{ ...volume, status: { ...volume.status, ...change } }],
  });
  const conflict = { ...ready, type: 'Consistent', status: 'False' as const };
  test.each<[string, Objects, string]>([
    ['a record that names nobody', status({ replicas: [] }), 'is in sync by the record, which does not name it'],
    ['an object that is gone', { ...objects, replicas: [] }, 'pg-r0 on s1 has no object'],
    ['a volume that is gone', { ...objects, volumes: [] }, 'its volume pg is not there'],
    ['a volume that waits', status({ phase: 'Waiting', message: 'for pg-r0' }), 'Waiting: for pg-r0'],
    ['no connection', { ...objects, connections: [] }, 'is attached to c1, which has no connection'],
    [
      'a connection of before',
      status({ attachment: { node: 'c2', hostNqn: '', epoch: 5, clean: true } }),
      'waits for c1 to let go',
    ],
    [
      'a disk that knows more',
      { ...objects, replicas: [{ ...replica, status: { message: 'HF315: epoch 7', conditions: [conflict] } }] },
      'HF315: epoch 7',
    ],
    [
      'an orphan that is named',
      { ...objects, replicas: [{ ...replica, spec: { ...replica.spec, state: 'Orphan' } }] },
      'it is an orphan',
    ],
    [
      'an earlier epoch',
      { ...objects, replicas: [{ ...replica, spec: { ...replica.spec, epoch: 3 } }] },
      'epoch 4 was fenced',
    ],
    ['a silent storage node', { ...objects, nodes: [] }, 'its storage node s1 is not there'],
  ])('%s', (_what, wrong, what) => {
    expect(whats(checkObjects(wrong))).toContain(what);
  });
});

describe('what a machine has', () => {
  const gone: Objects = { ...objects, replicas: [], connections: [] };
  test.each<[string, NodeFacts, Objects, string]>([
    ['no logical volume', { ...storage, logicalVolumes: [] }, objects, 'is not on s1'],
    ['one of another', { ...storage, logicalVolumes: [{ ...lv, tags: ['x'] } as never] }, objects, 'has the tags x'],
    ['an unknown one', storage, gone, 'has no VolumeReplica'],
    ['a stray export', storage, gone, 'an earlier host may still write'],
    ['no export', { ...storage, exports: [] }, objects, 'it is reported as exported, and it is not'],
    [
      'an export of before',
      { ...storage, exports: [{ ...exported, model: replicaModel({ epoch: 3, drain: 0 }) }] },
      objects,
      'its export is of "Holdfast epoch 3"',
    ],
    ['another host', { ...storage, exports: [{ ...exported, allowedHosts: ['x'] }] }, objects, 'it admits x'],
    ['a stray controller', client, gone, 'the controller nvme0'],
    ['a stray valve', client, gone, 'the valve hf-valve-'],
    ['a stray array', client, gone, `the array ${array.name} (clean) has no connection`],
    ['a stray mount', client, gone, '/mnt/data is mounted from the array'],
    ['a stray link', client, gone, '/dev/holdfast/pg has no connection'],
    ['no array', { ...client, arrays: [] }, objects, 'there is no array'],
    ['a leg that is away', { ...client, controllers: [] }, objects, 'its leg pg-r0 has no live controller'],
    ['a problem', { ...client, problems: ['the mounts could not be read'] }, objects, 'could not be read'],
  ])('%s', (_what, facts, all, what) => {
    expect(whats(checkNode(facts, all))).toContain(what);
  });
});
