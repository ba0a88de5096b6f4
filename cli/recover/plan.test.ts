import { describe, expect, test } from '@jest/globals';
import type { ReplicatedVolume, StorageNode, VolumeReplica } from '../../lib/api/index.ts';
import type { Evidence } from './evidence.ts';
import { planRecovery, type Outcome } from './plan.ts';

const now = new Date('2026-01-01T12:00:00Z');
const MIB = 1024 * 1024;
const UID = 'uid-pg';

type Disk = NonNullable<NonNullable<VolumeReplica['status']>['disk']>;
type Unknown = NonNullable<NonNullable<StorageNode['status']>['unknownReplicas']>[number];

const stamp = (generation: number, inSync: string[], epoch = 7, lineage = 1) => ({
  lineage,
  epoch,
  generation,
  inSync,
});

function volume(status: ReplicatedVolume['status'], metadata: object = {}): ReplicatedVolume {
  return {
    metadata: { name: 'pg', uid: UID, ...metadata },
    spec: {} as ReplicatedVolume['spec'],
    ...(status && { status }),
  };
}

function old(inSync: string[], epoch: number, generation: number): ReplicatedVolume {
  return volume({
    attachment: { node: 'c1', hostNqn: 'h', epoch, clean: false },
    inSync,
    recordGeneration: generation,
    replicas: inSync.map((name, at) => ({ name, storageNode: `s${at + 1}`, pool: 'p', role: 'Member' as const })),
    nextReplica: 2,
  });
}

function replica(
  name: string,
  node: string,
  epoch: number,
  disk?: Disk,
  adopt?: VolumeReplica['spec']['adopt'],
): VolumeReplica {
  return {
    metadata: { name, uid: `uid-${name}` },
    spec: {
      volume: 'pg',
      volumeUid: UID,
      storageNode: node,
      pool: 'p',
      sizeBytes: 64 * MIB,
      provisioning: 'Thin',
      state: 'Active',
      hostNqn: '',
      epoch,
      drain: 0,
      lineage: 1,
      ...(adopt && { adopt }),
    },
    ...(disk && { status: { disk } }),
  };
}

function onDisk(name: string, disk: Disk, more: Partial<Unknown> = {}): Unknown {
  return {
    logicalVolume: `hf-p/hf-uid-${name}`,
    pool: 'p',
    volume: 'pg',
    volumeUid: UID,
    replica: name,
    replicaUid: `uid-${name}`,
    sizeBytes: 64 * MIB,
    provisioning: 'Thin',
    ...disk,
    ...more,
  };
}

function node(name: string, ...unknownReplicas: Unknown[]): StorageNode {
  return { metadata: { name }, spec: {} as StorageNode['spec'], status: { unknownReplicas } };
}

function plan(evidence: Partial<Evidence>, without: readonly string[] = [], keep?: string): Outcome[] {
  return planRecovery({ volumes: [], replicas: [], nodes: [], silent: [], ...evidence }, { without, keep, now });
}

describe('objects of an old backup', () => {
  test('get the record of the disk that knows the last one, closed to everybody', () => {
    const replicas = [
      replica('pg-r0', 's1', 3, { lineage: 1, epoch: 7, record: stamp(12, ['pg-r0']) }),
      replica('pg-r1', 's2', 3, { lineage: 1, epoch: 5, record: stamp(9, ['pg-r0', 'pg-r1'], 5) }),
    ];
    expect(plan({ volumes: [old(['pg-r0', 'pg-r1'], 3, 4)], replicas })).toMatchObject([
      {
        kind: 'recover',
        recovery: {
          create: undefined,
          status: {
            inSync: ['pg-r0'],
            recordGeneration: 13,
            lineage: 1,
            attachment: { node: '', hostNqn: '', epoch: 8, clean: false },
            outOfSync: { 'pg-r0': null, 'pg-r1': { epoch: 8, bootId: null, nqn: null } },
          },
          raise: [
            { name: 'pg-r0', epoch: 8, lineage: 1 },
            { name: 'pg-r1', epoch: 8, lineage: 1 },
          ],
          adopt: [],
        },
      },
    ]);
  });

  // Found by the simulation: the restored API server had made an object of that name anew, and each try raised the epoch.
  // Found by the simulation: the restored API server had made an object of that name anew, and each try raised the epoch.
  test('an empty object under the name of a replica on a disk makes room for it', () => {
    const known = { lineage: 1, epoch: 7, record: stamp(12, ['pg-r0', 'pg-r2']) };
    const made = replica('pg-r2', 's3', 3);
    const other = { ...made, metadata: { ...made.metadata, uid: 'another', resourceVersion: '77' } };
    const nodes = [node('s3', onDisk('pg-r2', known))];
    const evidence = (second: VolumeReplica): Partial<Evidence> => ({
      volumes: [old(['pg-r0'], 3, 4)],
      replicas: [replica('pg-r0', 's1', 3, known), second],
      nodes,
    });
    expect(plan(evidence(other))).toMatchObject([
      {
        recovery: {
          status: { inSync: ['pg-r0', 'pg-r2'] },
          remove: [{ name: 'pg-r2', uid: 'another', resourceVersion: '77' }],
          adopt: [{ name: 'pg-r2', spec: { adopt: { replicaUid: 'uid-pg-r2' } } }],
        },
      },
    ]);
    // It may hold what was written.
    const used = { ...other, status: { nqn: 'n' } };
    expect(plan(evidence(used))).toMatchObject([{ why: expect.stringContaining('it has been exported') }]);
  });

  // Found by the simulation: its storage agent made nothing of the object, and nothing else was wrong.
  test('also when the record does not count on that replica', () => {
    const agreed = { lineage: 1, epoch: 3, record: stamp(4, ['pg-r0'], 3) };
    const replicas = [replica('pg-r0', 's1', 3, agreed), replica('pg-r2', 's3', 3)];
    const nodes = [node('s3', onDisk('pg-r2', agreed, { replicaUid: 'old' }))];
    expect(plan({ volumes: [old(['pg-r0'], 3, 4)], replicas, nodes })).toMatchObject([
      { recovery: { status: { inSync: ['pg-r0'] }, remove: [{ name: 'pg-r2' }], adopt: [{ name: 'pg-r2' }] } },
    ]);
  });

  test('a replica that was made since is taken over', () => {
    const replicas = [replica('pg-r0', 's1', 3, { lineage: 1, epoch: 7, record: stamp(12, ['pg-r0', 'pg-r2']) })];
    const nodes = [node('s3', onDisk('pg-r2', { lineage: 1, epoch: 7, record: stamp(12, ['pg-r0', 'pg-r2']) }))];
    const [outcome] = plan({ volumes: [old(['pg-r0', 'pg-r1'], 3, 4)], replicas, nodes });
    expect(outcome).toMatchObject({
      recovery: {
        status: {
          inSync: ['pg-r0', 'pg-r2'],
          nextReplica: 3,
          replicas: [
            { name: 'pg-r1', storageNode: 's2' },
            { name: 'pg-r0', storageNode: 's1' },
            { name: 'pg-r2', storageNode: 's3', pool: 'p', role: 'Member' },
          ],
        },
        adopt: [
          {
            name: 'pg-r2',
            spec: { storageNode: 's3', epoch: 8, hostNqn: '', adopt: { replicaUid: 'uid-pg-r2', volumeUid: UID } },
          },
        ],
      },
    });
  });

  test('a forced start since then is not undone', () => {
    const replicas = [
      replica('pg-r0', 's1', 5, { lineage: 1, epoch: 5, record: stamp(20, ['pg-r0'], 5) }),
      replica('pg-r1', 's2', 5, { lineage: 2, epoch: 6, record: stamp(15, ['pg-r1'], 6, 2) }),
    ];
    const [outcome] = plan({ volumes: [old(['pg-r0', 'pg-r1'], 5, 20)], replicas });
    expect(outcome).toMatchObject({
      recovery: {
        status: { lineage: 2, inSync: ['pg-r1'], recordGeneration: 21 },
        raise: [
          { name: 'pg-r0', lineage: 1 },
          { name: 'pg-r1', lineage: 2 },
        ],
      },
    });
  });

  test('a volume on which disks and record agree is left alone', () => {
    const replicas = [replica('pg-r0', 's1', 7, { lineage: 1, epoch: 7, record: stamp(3, ['pg-r0']) })];
    const stray = node('s4', onDisk('pg-r9', { lineage: 1, epoch: 2 }));
    expect(plan({ volumes: [old(['pg-r0'], 7, 4)], replicas, nodes: [stray] })).toEqual([]);
  });
});

describe('objects that are lost', () => {
  const record = stamp(12, ['pg-r0', 'pg-r1']);
  const nodes = [
    node('s1', onDisk('pg-r0', { lineage: 1, epoch: 7, record })),
    node('s2', onDisk('pg-r1', { lineage: 1, epoch: 7, record })),
  ];

  test('are made anew, and take the logical volumes over', () => {
    const [outcome] = plan({ nodes, silent: ['s3'] });
    expect(outcome).toMatchObject({
      recovery: {
        create: { spec: { capacityBytes: 64 * MIB, replicas: 2, provisioning: 'Thin' } },
        status: { inSync: ['pg-r0', 'pg-r1'], attachment: { epoch: 8, clean: false }, nextReplica: 2 },
        adopt: [{ name: 'pg-r0' }, { name: 'pg-r1' }],
        warnings: [expect.stringContaining('placement'), expect.stringContaining('s3')],
      },
    });
  });

  test('a run that broke off after the volume was made goes on with it', () => {
    const annotations = { 'holdfast.dev/recovering': 'x' };
    const begun = { ...old(['pg-r0', 'pg-r1'], 8, 13), metadata: { name: 'pg', uid: 'new', annotations } };
    const adopted = replica('pg-r0', 's1', 8, undefined, { replicaUid: 'uid-pg-r0', volumeUid: UID });
    const half = { ...adopted, spec: { ...adopted.spec, volumeUid: 'new' } };
    for (const replicas of [[], [half]]) {
      const outcomes = plan({ volumes: [begun], replicas, nodes });
      expect(outcomes).toHaveLength(1);
      expect(outcomes).toMatchObject([
        { recovery: { create: undefined, status: { inSync: ['pg-r0', 'pg-r1'], recordGeneration: 14 } } },
      ]);
    }
  });

  test('a volume that was never handed out is whole with all that there is', () => {
    const blank = [
      node('s1', onDisk('pg-r0', { lineage: 1, epoch: 0 })),
      node('s2', onDisk('pg-r1', { lineage: 1, epoch: 0 })),
    ];
    expect(plan({ nodes: blank })).toMatchObject([{ recovery: { status: { inSync: ['pg-r0', 'pg-r1'] } } }]);
  });
});

describe('a volume that was handed out and never started', () => {
  const blank = { lineage: 1, epoch: 1, blank: true };
  const init = volume({
    replicas: ['pg-r0', 'pg-r1'].map((name, at) => ({ name, storageNode: `s${at + 1}`, pool: 'p', role: 'Member' })),
    nextReplica: 2,
  });

  // Found by the simulation: seeds 961114, 961668, 20002145.
  test('is whole with all that there is, when no disk carries a record', () => {
    const replicas = [replica('pg-r0', 's1', 0, blank), replica('pg-r1', 's2', 0, blank)];
    expect(plan({ volumes: [init], replicas })).toMatchObject([
      { recovery: { status: { inSync: ['pg-r0', 'pg-r1'], attachment: { epoch: 2 } } } },
    ]);
  });

  // Found by the simulation: seed 74002450. Its volume was gone, and data had been copied to it from others.
  test.each<[string, Partial<Evidence>]>([
    ['it replaced another one', { nodes: [node('s3', onDisk('pg-r22', blank))] }],
    ['a storage node is away', { nodes: [node('s1', onDisk('pg-r0', blank))], silent: ['s2'] }],
  ])('nothing is made of what is left when the volume is unknown, and %s', (_, evidence) => {
    expect(plan(evidence)).toMatchObject([{ kind: 'refused' }]);
  });

  test('of one that begins with a snapshot only those are in sync that were made from its copies', () => {
    const filled = onDisk('pg-r0', blank, { beganWithCopy: true });
    const nodes = [node('s1', filled), node('s2', onDisk('pg-r1', blank))];
    expect(plan({ nodes })).toMatchObject([{ recovery: { status: { inSync: ['pg-r0'] } } }]);
    const wanted = { ...init, spec: { source: { kind: 'Snapshot' } } as unknown as ReplicatedVolume['spec'] };
    const replicas = [replica('pg-r0', 's1', 0, blank), replica('pg-r1', 's2', 0, blank)];
    expect(plan({ volumes: [wanted], replicas })).toMatchObject([{ kind: 'refused' }]);
  });

  test('waits while a header can not be read', () => {
    const replicas = [replica('pg-r0', 's1', 0, blank), replica('pg-r1', 's2', 0, { lineage: 1, epoch: 1 })];
    expect(plan({ volumes: [init], replicas })).toMatchObject([
      { why: expect.stringContaining('no disk that can be seen carries its record') },
    ]);
  });

  // Found by the simulation: seed 20000564. The other disk may carry a record.
  test('waits for a replica that has not been told of yet', () => {
    const replicas = [replica('pg-r0', 's1', 0), replica('pg-r1', 's2', 0, blank)];
    const evidence = { volumes: [init], replicas };
    expect(plan(evidence)).toMatchObject([{ why: expect.stringContaining('--without pg-r0') }]);
    expect(plan(evidence, ['pg-r0'])).toMatchObject([{ recovery: { status: { inSync: ['pg-r1'] } } }]);
  });

  // Found by the simulation: seed 8001771.
  test('an epoch that the disk knows under another host is raised', () => {
    const handed = { lineage: 1, epoch: 3, host: 'c1' };
    const replicas = [replica('pg-r0', 's1', 3, handed)];
    expect(plan({ volumes: [old(['pg-r0'], 3, 4)], replicas })).toMatchObject([
      { recovery: { status: { attachment: { epoch: 4 } }, raise: [{ name: 'pg-r0', epoch: 4 }] } },
    ]);
  });
});

describe('a person decides', () => {
  // c1 went on without the API server and died; the volume was started from the other replica, and users wrote.
  const apart: Partial<Evidence> = {
    volumes: [old(['pg-r1'], 7, 3)],
    replicas: [
      replica('pg-r0', 's1', 7, { lineage: 1, epoch: 7, record: { ...stamp(6, ['pg-r0']), base: 2 } }),
      replica('pg-r1', 's2', 7, { lineage: 1, epoch: 7, record: stamp(3, ['pg-r1']) }),
    ],
  };

  test('which of two histories counts, and a lineage begins with it', () => {
    expect(plan(apart)).toMatchObject([{ kind: 'refused', choices: ['pg-r0', 'pg-r1'] }]);
    expect(plan(apart, [], 'pg-r1')).toMatchObject([
      {
        recovery: {
          status: {
            lineage: 2,
            inSync: ['pg-r1'],
            recordGeneration: 7,
            attachment: { node: '', epoch: 8 },
            outOfSync: { 'pg-r0': { bootId: null, nqn: null }, 'pg-r1': null },
          },
          raise: [
            { name: 'pg-r0', lineage: 1, epoch: 8 },
            { name: 'pg-r1', lineage: 2, epoch: 8 },
          ],
          lost: expect.arrayContaining([expect.stringContaining('pg-r0 on s1 knows lineage 1, epoch 7, record 6')]),
        },
      },
    ]);
  });

  test('not where nothing has to be given up, nor for what never was in sync', () => {
    const whole = { ...apart, replicas: apart.replicas?.slice(1) ?? [], volumes: [old(['pg-r1'], 6, 2)] };
    expect(plan(whole, [], 'pg-r1')).toMatchObject([{ why: expect.stringContaining('nothing has to be given up') }]);
    const third = replica('pg-r2', 's3', 7, { lineage: 1, epoch: 7, blank: true });
    const evidence = { ...apart, replicas: [...(apart.replicas ?? []), third] };
    expect(plan(evidence, [], 'pg-r2')).toMatchObject([
      {
        kind: 'refused',
        why: expect.stringContaining('is not known to have been in sync'),
        choices: ['pg-r0', 'pg-r1'],
      },
    ]);
    expect(plan(evidence, [], 'pg-r9')).toMatchObject([{ why: expect.stringContaining('is on no disk') }]);
  });

  test('which of two replicas of one name is it; the other keeps the name that it has', () => {
    const volumes = [old(['pg-r0'], 3, 4)];
    const replicas = [replica('pg-r0', 's1', 3, { lineage: 1, epoch: 3, record: stamp(4, ['pg-r0'], 3) })];
    const nodes = [
      node('s2', onDisk('pg-r0', { lineage: 1, epoch: 7, record: stamp(12, ['pg-r0']) }, { replicaUid: 'b' })),
    ];
    const evidence = { volumes, replicas, nodes };
    expect(plan(evidence)).toMatchObject([{ kind: 'refused', choices: ['pg-r0@s1', 'pg-r0@s2'] }]);
    expect(plan(evidence, [], 'pg-r0')).toMatchObject([{ why: expect.stringContaining('two replicas have the name') }]);
    expect(plan(evidence, [], 'pg-r0@s1')).toMatchObject([
      {
        recovery: {
          status: { inSync: ['pg-r0'], lineage: 2 },
          adopt: [],
          remove: [],
          lost: expect.arrayContaining([expect.stringMatching(/pg-r0 on s2 .* it stays on its disk/)]),
        },
      },
    ]);
    expect(plan(evidence, [], 'pg-r0@s2')).toMatchObject([
      {
        recovery: {
          status: { inSync: ['pg-r2'], lineage: 2, nextReplica: 3 },
          adopt: [{ name: 'pg-r2', spec: { storageNode: 's2', adopt: { replicaUid: 'b' } } }],
          raise: [{ name: 'pg-r0', lineage: 1 }],
          remove: [],
        },
      },
    ]);
  });
});

describe('nothing is guessed', () => {
  const record = stamp(12, ['pg-r0', 'pg-r1']);
  const one = [node('s1', onDisk('pg-r0', { lineage: 1, epoch: 7, record }))];

  test('a replica of the last in-sync set that is not seen may know more', () => {
    expect(plan({ nodes: one })).toMatchObject([{ kind: 'refused', why: expect.stringContaining('--without pg-r1') }]);
    expect(plan({ nodes: one }, ['pg-r1'])).toMatchObject([
      { kind: 'recover', recovery: { status: { inSync: ['pg-r0'] } } },
    ]);
  });

  test.each<[string, Partial<Evidence>, string]>([
    [
      'no disk carries a record',
      { nodes: [node('s1', onDisk('pg-r0', { lineage: 1, epoch: 7 }))] },
      'no disk that can be seen carries its record',
    ],
    [
      'two histories',
      {
        nodes: [
          node('s1', onDisk('pg-r0', { lineage: 1, epoch: 7, record: stamp(12, ['pg-r0']) })),
          node('s2', onDisk('pg-r1', { lineage: 1, epoch: 7, record: stamp(12, ['pg-r1']) })),
        ],
      },
      'two histories contradict each other',
    ],
    // c1 went on without the API server and died; the volume was started from the other replica, and users wrote.
    [
      'a record that was written without the API server, and one that it has accepted since',
      {
        volumes: [old(['pg-r1'], 7, 3)],
        replicas: [
          replica('pg-r0', 's1', 7, { lineage: 1, epoch: 7, record: { ...stamp(6, ['pg-r0']), base: 2 } }),
          replica('pg-r1', 's2', 7, { lineage: 1, epoch: 7, record: stamp(3, ['pg-r1']) }),
        ],
      },
      'two histories contradict each other',
    ],
    [
      'two replicas of one name',
      {
        nodes: [
          node('s1', onDisk('pg-r0', { lineage: 1, epoch: 7, record: stamp(12, ['pg-r0']) })),
          node('s2', onDisk('pg-r0', { lineage: 1, epoch: 5 }, { replicaUid: 'b' })),
        ],
      },
      'two replicas have the same name',
    ],
    [
      'the name is taken',
      { volumes: [{ ...old(['pg-r0'], 1, 1), metadata: { name: 'pg', uid: 'other' } }], nodes: one },
      'another volume of this name is in use',
    ],
  ])('%s', (_what, evidence, why) => {
    expect(plan(evidence)).toMatchObject([{ kind: 'refused', why: expect.stringContaining(why) }]);
  });
});

// Found by the simulation (seed 53040942): once a person had decided, the copy that was given up made them decide again, each time.
test('a copy that a person has decided against is no reason to decide again', () => {
  const decided = (lineage: number, inSync: string[]): ReplicatedVolume => {
    const { status, ...rest } = old(['pg-r0', 'pg-r1'], 9, 14);
    return { ...rest, status: { ...status, lineage, inSync } };
  };
  const disk = { lineage: 2, epoch: 9, record: stamp(14, ['pg-r0'], 9, 2) };
  const replicas = [replica('pg-r0', 's1', 9, disk), replica('pg-r1', 's2', 9, { lineage: 2, epoch: 9 })].map(
    (each) => ({
      ...each,
      spec: { ...each.spec, lineage: 2 },
    }),
  );
  const left = onDisk('pg-r1', { lineage: 1, epoch: 7, record: stamp(12, ['pg-r0', 'pg-r1']) }, { replicaUid: 'left' });
  const nodes = [node('s3', left)];
  expect(plan({ volumes: [decided(2, ['pg-r0'])], replicas, nodes })).toEqual([]);
  // What the record counts on is not there: the decision was not carried to its end.
  expect(plan({ volumes: [decided(2, ['pg-r2'])], replicas, nodes })).not.toEqual([]);
  // Nobody has decided.
  expect(plan({ volumes: [decided(1, ['pg-r0', 'pg-r1'])], replicas, nodes })).not.toEqual([]);
});
