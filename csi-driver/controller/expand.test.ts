import { beforeEach, describe, expect, test } from '@jest/globals';
import type { ReplicatedVolume } from '../../lib/api/index.ts';
import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import { ControllerExpandVolumeRequest, ControllerModifyVolumeRequest } from '../generated/csi.ts';
import {
  blockCapability,
  callContext,
  fakeCluster,
  mountCapability,
  type FakeCluster,
} from '../testing/fake-controller.ts';
import { controllerService } from './service.ts';

const GIB = 2 ** 30;
let cluster: FakeCluster;
/** The volume follows what is wanted of it. */
let grows: boolean;

beforeEach(() => {
  grows = true;
  cluster = fakeCluster(({ metadata, spec, status }) => {
    if (!grows || status?.capacityBytes === spec.capacityBytes) return;
    queueMicrotask(() => cluster.setStatus(metadata.name, { capacityBytes: spec.capacityBytes }));
  });
  const replicas = (['a', 'b'] as const).map((zone, at) => ({
    name: `vol-r${at}`,
    storageNode: `storage-${zone}`,
    pool: 'pool',
    role: 'Member' as const,
  }));
  cluster.volumes.put({
    metadata: { name: 'vol', uid: 'uid-vol' },
    spec: {
      capacityBytes: GIB,
      replicas: 2,
      placement: { constraints: [], goals: [] },
      healing: { replicaTimeout: '10m', legTimeout: '3s', ...DEFAULT_STALL_POLICY, paused: false },
      provisioning: 'Thin',
      attachTo: '',
    },
    status: {
      inSync: ['vol-r0', 'vol-r1'],
      replicas,
      capacityBytes: GIB,
      message: 'grows to 2.0 GiB: waits for vol-r1',
    },
  });
});

const spec = (): ReplicatedVolume['spec'] | undefined => cluster.volumes.peek('vol')?.spec;

const expand = (requiredBytes: number, limitBytes = 0, changes = {}, ms?: number) =>
  controllerService(cluster).controllerExpandVolume?.(
    ControllerExpandVolumeRequest.fromPartial({
      volumeId: 'vol',
      capacityRange: { requiredBytes: BigInt(requiredBytes), limitBytes: BigInt(limitBytes) },
      volumeCapability: mountCapability(),
      ...changes,
    }),
    callContext(ms),
  );

describe('ControllerExpandVolume', () => {
  test('writes the size, in whole MiB, and answers when the volume has it', async () => {
    await expect(expand(2 * GIB - 1)).resolves.toEqual({ capacityBytes: BigInt(2 * GIB), nodeExpansionRequired: true });
    expect(spec()?.capacityBytes).toBe(2 * GIB);
    await expect(expand(2 * GIB, 0, { volumeCapability: blockCapability() })).resolves.toMatchObject({
      capacityBytes: BigInt(2 * GIB),
    });
  });

  test('leaves a volume alone that is large enough', async () => {
    await expect(expand(GIB / 2)).resolves.toMatchObject({ capacityBytes: BigInt(GIB) });
    await expect(expand(0, 2 * GIB)).resolves.toMatchObject({ capacityBytes: BigInt(GIB) });
    expect(cluster.volumes.writes.filter((write) => 'spec' in write)).toHaveLength(0);
  });

  test('never makes one smaller', async () => {
    await expect(expand(1, GIB / 2)).rejects.toMatchObject({
      status: 'OUT_OF_RANGE',
      message: expect.stringContaining('no volume is made smaller'),
    });
    await expect(expand(2 ** 47)).rejects.toMatchObject({ status: 'OUT_OF_RANGE', code: 'HF403' });
  });

  test('says what it waits for when it takes too long, and the same call goes on', async () => {
    grows = false;
    await expect(expand(2 * GIB, 0, {}, 50)).rejects.toMatchObject({
      status: 'DEADLINE_EXCEEDED',
      message: expect.stringContaining('waits for vol-r1'),
    });
    cluster.setStatus('vol', { capacityBytes: 2 * GIB });
    await expect(expand(2 * GIB)).resolves.toMatchObject({ capacityBytes: BigInt(2 * GIB) });
  });

  test('names the pool that has no room, and the bytes, before anything is written', async () => {
    const pools = [{ name: 'pool', capacityBytes: 10 * GIB, usedBytes: 0, provisionedBytes: 99 * GIB }];
    cluster.candidates = () => [
      { name: 'storage-b', labels: {}, cordoned: false, draining: false, alive: true, pools, replicaCount: 1 },
    ];
    await expect(expand(3 * GIB)).rejects.toMatchObject({
      status: 'OUT_OF_RANGE',
      code: 'HF422',
      message: expect.stringMatching(/pool pool of storage-b would promise .* \(2147483648 bytes more/),
    });
    expect(spec()?.capacityBytes).toBe(GIB);
    await expect(expand(2 * GIB)).resolves.toBeDefined();
  });

  test('needs no room for what the volume has already, as after a restore of the API server from a backup', async () => {
    const pools = [{ name: 'pool', capacityBytes: 10 * GIB, usedBytes: 0, provisionedBytes: 100 * GIB }];
    cluster.candidates = () => [
      { name: 'storage-b', labels: {}, cordoned: false, draining: false, alive: true, pools, replicaCount: 1 },
    ];
    grows = false;
    cluster.setStatus('vol', { capacityBytes: 2 * GIB });
    await expect(expand(2 * GIB)).resolves.toMatchObject({ capacityBytes: BigInt(2 * GIB) });
    await expect(expand(3 * GIB)).rejects.toMatchObject({ code: 'HF422' });
  });

  test('refuses what is no request for a volume that is there', async () => {
    await expect(expand(1, 0, { volumeId: '' })).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
    await expect(expand(1, 0, { capacityRange: undefined })).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
    await expect(expand(1, 0, { volumeId: 'other' })).rejects.toMatchObject({ status: 'NOT_FOUND' });
    const volume = cluster.volumes.peek('vol');
    if (volume) cluster.volumes.put({ ...volume, metadata: { ...volume.metadata, deletionTimestamp: 'now' } });
    await expect(expand(2 * GIB)).rejects.toMatchObject({ status: 'FAILED_PRECONDITION' });
  });
});

describe('ControllerModifyVolume', () => {
  const modify = (mutableParameters: Record<string, string>, volumeId = 'vol') =>
    controllerService(cluster).controllerModifyVolume?.(
      ControllerModifyVolumeRequest.fromPartial({ volumeId, mutableParameters }),
      callContext(),
    );

  test('changes what it names and nothing else, once', async () => {
    const before = spec();
    await modify({ legTimeout: '6s', replicas: '3', onSlowLeg: 'Drop after 30s' });
    await modify({ legTimeout: '6s', replicas: '3', onSlowLeg: 'Drop after 30s' });
    expect(spec()).toEqual({
      ...before,
      replicas: 3,
      healing: { ...before?.healing, legTimeout: '6s', onSlowLeg: 'Drop after 30s' },
    });
    expect(cluster.volumes.writes).toHaveLength(1);
    await expect(modify({})).resolves.toEqual({});
  });

  test.each([
    [
      'placement',
      'distinct(zone)',
      /placement can't be changed by a VolumeAttributesClass; what can is replicas, legTimeout/,
    ],
    ['legTimeout', 'soon', /legTimeout is "soon": expected a duration/],
    ['replicas', '9', /replicas is "9": expected a number from 1 to 8/],
    ['iops', '5', /iops can't be changed/],
  ])('names %s as the field that is wrong', async (name, value, message) => {
    await expect(modify({ [name]: value })).rejects.toMatchObject({
      status: 'INVALID_ARGUMENT',
      code: 'HF402',
      field: `mutable_parameters.${name}`,
      message: expect.stringMatching(message),
    });
    expect(cluster.volumes.writes).toHaveLength(0);
  });

  test('refuses a volume that is not there', async () => {
    await expect(modify({ replicas: '2' }, '')).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
    await expect(modify({ replicas: '2' }, 'other')).rejects.toMatchObject({ status: 'NOT_FOUND' });
  });
});
