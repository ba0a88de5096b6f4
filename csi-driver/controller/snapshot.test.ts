import { beforeEach, describe, expect, test } from '@jest/globals';
import {
  CreateSnapshotRequest,
  CreateVolumeGroupSnapshotRequest,
  CreateVolumeRequest,
  ListSnapshotsRequest,
  type DeepPartial,
} from '../generated/csi.ts';
import { callContext, fakeCluster, mountCapability, type FakeCluster } from '../testing/fake-controller.ts';
import { groupControllerService } from './group-snapshot.ts';
import { controllerService } from './service.ts';

const GIB = 2 ** 30;

let cluster: FakeCluster;
let controller: Required<ReturnType<typeof controllerService>>;
let groups: Required<ReturnType<typeof groupControllerService>>;
beforeEach(() => {
  cluster = fakeCluster((volume) => {
    // The operator has its replicas in sync at once.
    if (volume.status === undefined) {
      queueMicrotask(() => cluster.setStatus(volume.metadata.name, { inSync: [`${volume.metadata.name}-r0`] }));
    }
  });
  controller = controllerService(cluster) as typeof controller;
  groups = groupControllerService(cluster) as typeof groups;
  for (const name of ['v', 'w']) {
    cluster.volumes.put({
      metadata: { name, uid: `uid-${name}` },
      spec: { capacityBytes: GIB, attachTo: '' },
    } as never);
  }
});

const snapshot = (name: string, sourceVolumeId: string) =>
  controller.createSnapshot(CreateSnapshotRequest.fromPartial({ name, sourceVolumeId }), callContext());
const volume = (changes: DeepPartial<CreateVolumeRequest>) =>
  controller.createVolume(
    CreateVolumeRequest.fromPartial({ name: 'new', volumeCapabilities: [mountCapability()], ...changes }),
    callContext(),
  );
const fromSnapshot = (snapshotId: string) =>
  ({ type: { $case: 'snapshot', value: { snapshotId } } }) as const satisfies DeepPartial<
    CreateVolumeRequest['volumeContentSource']
  >;

describe('a snapshot', () => {
  test('is taken once under one name', async () => {
    const first = await snapshot('snap', 'v');
    expect(first.snapshot).toMatchObject({
      snapshotId: 'snap',
      sourceVolumeId: 'v',
      sizeBytes: BigInt(GIB),
      readyToUse: true,
    });
    expect(cluster.snapshots.peek('snap')?.spec).toEqual({ volume: 'v', volumeUid: 'uid-v' });
    expect(await snapshot('snap', 'v')).toEqual(first);
    expect(cluster.snapshots.writes).toHaveLength(1);
    await expect(snapshot('snap', 'w')).rejects.toMatchObject({ status: 'ALREADY_EXISTS', code: 'HF431' });
    await expect(snapshot('snap2', 'x')).rejects.toMatchObject({ status: 'NOT_FOUND', code: 'HF405' });
  });

  test('that never will be taken says why', async () => {
    cluster.snapshots.put({
      metadata: { name: 'snap', annotations: { 'csi.holdfast.dev/name': 'snap' } },
      spec: { volume: 'v' },
      status: { phase: 'Failed', message: 'volume v is being deleted' },
    });
    await expect(snapshot('snap', 'v')).rejects.toMatchObject({
      status: 'FAILED_PRECONDITION',
      message: expect.stringContaining('volume v is being deleted'),
    });
  });

  test('is listed by volume and by id, and one of a clone is not', async () => {
    await snapshot('a', 'v');
    await snapshot('b', 'w');
    cluster.snapshots.put({
      metadata: { name: 'clone-x' },
      spec: { volume: 'v', forVolume: 'x' },
      status: { phase: 'Ready', sizeBytes: GIB },
    });
    const list = async (changes: DeepPartial<ListSnapshotsRequest>) => {
      const { entries } = await controller.listSnapshots(ListSnapshotsRequest.fromPartial(changes), callContext());
      return entries.map((entry) => entry.snapshot?.snapshotId);
    };
    expect(await list({})).toEqual(['a', 'b']);
    expect(await list({ sourceVolumeId: 'w' })).toEqual(['b']);
    expect(await list({ snapshotId: 'a' })).toEqual(['a']);
    expect(await list({ snapshotId: 'none' })).toEqual([]);
  });

  test('is deleted, also when it is gone already', async () => {
    await snapshot('snap', 'v');
    for (let times = 0; times < 2; times += 1) {
      await controller.deleteSnapshot({ snapshotId: 'snap', secrets: {} }, callContext());
    }
    expect(cluster.snapshots.all()).toEqual([]);
  });
});

describe('a volume that begins with something', () => {
  test('has its size, unless a larger one is wanted, and names its source', async () => {
    await snapshot('snap', 'v');
    const made = await volume({ volumeContentSource: fromSnapshot('snap') });
    expect(made.volume).toMatchObject({
      capacityBytes: BigInt(GIB),
      contentSource: { type: { $case: 'snapshot', value: { snapshotId: 'snap' } } },
    });
    expect(cluster.volumes.peek('new')?.spec.source).toEqual({ snapshot: 'snap' });
  });

  test('is made from another volume as it is now', async () => {
    await volume({ volumeContentSource: { type: { $case: 'volume', value: { volumeId: 'v' } } } });
    expect(cluster.volumes.peek('new')?.spec.source).toEqual({ volume: 'v' });
  });

  test.each<[string, DeepPartial<CreateVolumeRequest>, string]>([
    ['a snapshot that is not there', { volumeContentSource: fromSnapshot('x') }, 'NOT_FOUND'],
    [
      'a volume that is not there',
      { volumeContentSource: { type: { $case: 'volume', value: { volumeId: 'x' } } } },
      'NOT_FOUND',
    ],
    [
      'fewer bytes than the source has',
      { volumeContentSource: fromSnapshot('snap'), capacityRange: { requiredBytes: BigInt(GIB / 2) } },
      'OUT_OF_RANGE',
    ],
    [
      'thick blocks, which can not be shared',
      { volumeContentSource: fromSnapshot('snap'), parameters: { provisioning: 'Thick' } },
      'INVALID_ARGUMENT',
    ],
  ])('Given %s, Then it is refused', async (_, changes, status) => {
    await snapshot('snap', 'v');
    await expect(volume(changes)).rejects.toMatchObject({ status });
    expect(cluster.volumes.peek('new')).toBeUndefined();
  });

  test('is another volume than one of the same name from elsewhere', async () => {
    await snapshot('snap', 'v');
    await volume({ volumeContentSource: fromSnapshot('snap') });
    await expect(volume({})).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
  });
});

describe('a group', () => {
  const group = (name: string, ...sourceVolumeIds: string[]) =>
    groups.createVolumeGroupSnapshot(
      CreateVolumeGroupSnapshotRequest.fromPartial({ name, sourceVolumeIds }),
      callContext(),
    );

  test('is one snapshot of each volume, taken together', async () => {
    const { groupSnapshot } = await group('g', 'w', 'v');
    expect(groupSnapshot).toMatchObject({ groupSnapshotId: 'g', readyToUse: true });
    expect(groupSnapshot?.snapshots).toMatchObject([
      { sourceVolumeId: 'v', groupSnapshotId: 'g' },
      { sourceVolumeId: 'w', groupSnapshotId: 'g' },
    ]);
    expect((await group('g', 'v', 'w')).groupSnapshot).toEqual(groupSnapshot);
    await expect(group('g', 'v')).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
    await expect(group('h', 'v', 'x')).rejects.toMatchObject({ status: 'NOT_FOUND' });
    expect(cluster.snapshots.all()).toHaveLength(2);
  });

  test('goes as a whole', async () => {
    const { groupSnapshot } = await group('g', 'v', 'w');
    const snapshotIds = groupSnapshot?.snapshots.map(({ snapshotId }) => snapshotId) ?? [];
    const ids = { groupSnapshotId: 'g', snapshotIds, secrets: {} };
    expect((await groups.getVolumeGroupSnapshot(ids, callContext())).groupSnapshot?.snapshots).toHaveLength(2);
    await expect(
      controller.deleteSnapshot({ snapshotId: snapshotIds[0] ?? '', secrets: {} }, callContext()),
    ).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
    await groups.deleteVolumeGroupSnapshot(ids, callContext());
    await groups.deleteVolumeGroupSnapshot(ids, callContext());
    expect(cluster.snapshots.all()).toEqual([]);
    await expect(groups.getVolumeGroupSnapshot(ids, callContext())).rejects.toMatchObject({ status: 'NOT_FOUND' });
  });
});
