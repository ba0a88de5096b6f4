import { describe, expect, test } from '@jest/globals';
import { CreateVolumeRequest, type DeepPartial } from '../generated/csi.ts';
import { callContext, fakeCluster, mountCapability } from '../testing/fake-controller.ts';
import { controllerService } from './service.ts';

const GIB = 1024n ** 3n;

function request(changes: DeepPartial<CreateVolumeRequest> = {}): CreateVolumeRequest {
  return CreateVolumeRequest.fromPartial({
    name: 'pvc-1',
    capacityRange: { requiredBytes: GIB },
    volumeCapabilities: [mountCapability()],
    parameters: { replicas: '2', placement: 'distinct(zone)', 'csi.storage.k8s.io/pvc/name': 'data' },
    ...changes,
  });
}

/** The service, with an operator that has replicas in sync as soon as a volume appears. */
function setup({ places = true } = {}) {
  const cluster = fakeCluster();
  const { createVolume } = controllerService(cluster);
  if (createVolume === undefined) throw new Error('no createVolume');
  const create = async (asked: CreateVolumeRequest, ms?: number) => {
    const answer = createVolume(asked, callContext(ms));
    answer.catch(() => undefined);
    if (places) {
      // As in life, the replicas come a moment after the volume.
      setTimeout(() => {
        if (cluster.volumes.peek('pvc-1')) cluster.setStatus('pvc-1', { inSync: ['pvc-1-r0', 'pvc-1-r1'] });
      }, 20);
    }
    return await answer;
  };
  return { cluster, create };
}

describe('CreateVolume', () => {
  test('creates the ReplicatedVolume and answers when its replicas are in sync', async () => {
    const { cluster, create } = setup();
    const { volume } = await create(request());
    expect(volume).toMatchObject({ volumeId: 'pvc-1', capacityBytes: GIB });
    expect(cluster.volumes.peek('pvc-1')?.spec).toMatchObject({
      capacityBytes: 1024 ** 3,
      replicas: 2,
      placement: { constraints: [{ distinct: { label: 'zone' } }] },
    });
  });

  test('asks for nothing that it has been told', async () => {
    const { cluster, create } = setup();
    const asked: string[] = [];
    const { get } = cluster.volumes;
    cluster.volumes.get = async (name) => (asked.push(name), await get(name));
    await create(request());
    expect(asked).toEqual([]);
    expect(cluster.volumes.peek('pvc-1')?.metadata.finalizers).toEqual(['holdfast.dev/operator']);
    // What a cache has may be gone: the same request again is another matter.
    await create(request());
    expect(asked).toEqual(['pvc-1']);
  });

  test('Given the same request again, Then it finds the same volume and writes nothing', async () => {
    const { cluster, create } = setup();
    await create(request());
    const { volume } = await create(request({ parameters: { placement: 'distinct(zone)', replicas: '2' } }));
    expect(volume?.volumeId).toBe('pvc-1');
    expect(cluster.volumes.writes).toHaveLength(1);
  });

  test('Given another creator was faster, Then its volume is taken', async () => {
    const { cluster, create } = setup();
    await create(request());
    const first = cluster.volumes.peek('pvc-1');
    cluster.volumes.remove('pvc-1');
    cluster.volumes.beforeWrite(() => first && cluster.volumes.put(first));
    await expect(create(request())).resolves.toMatchObject({ volume: { volumeId: 'pvc-1' } });
  });

  test.each([
    ['another size', { capacityRange: { requiredBytes: 2n * GIB } }, 'its size is'],
    ['a limit below its size', { capacityRange: { requiredBytes: GIB / 4n, limitBytes: GIB / 2n } }, 'its size is'],
    ['other parameters', { parameters: { replicas: '3' } }, 'its parameters are'],
  ])('Given the name with %s, Then ALREADY_EXISTS', async (_, changes, message) => {
    const { create } = setup();
    await create(request());
    await expect(create(request(changes))).rejects.toMatchObject({
      status: 'ALREADY_EXISTS',
      message: expect.stringContaining(message),
    });
  });

  test('a larger range that the volume lies in is the same volume', async () => {
    const { create } = setup();
    await create(request());
    const range = { requiredBytes: GIB / 2n, limitBytes: 2n * GIB };
    await expect(create(request({ capacityRange: range }))).resolves.toMatchObject({ volume: { capacityBytes: GIB } });
  });

  test('Given a volume that no CreateVolume made, Then it is not handed out', async () => {
    const { cluster, create } = setup();
    await create(request());
    const mine = cluster.volumes.peek('pvc-1');
    if (mine) cluster.volumes.put({ ...mine, metadata: { ...mine.metadata, annotations: {} } });
    await expect(create(request())).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
  });

  test('Given no node fits, Then DEADLINE_EXCEEDED says why, and the volume stays to be placed later', async () => {
    const { cluster, create } = setup({ places: false });
    setTimeout(() => cluster.setStatus('pvc-1', { phase: 'Pending', message: '0 of 3 storage nodes fit' }), 20);
    await expect(create(request(), 150)).rejects.toMatchObject({
      status: 'DEADLINE_EXCEEDED',
      message: expect.stringContaining('0 of 3 storage nodes fit'),
    });
    expect(cluster.volumes.peek('pvc-1')).toBeDefined();
  });

  test('Given the volume is being deleted, Then ABORTED', async () => {
    const { cluster, create } = setup();
    await create(request());
    const mine = cluster.volumes.peek('pvc-1');
    if (mine) cluster.volumes.put({ ...mine, metadata: { ...mine.metadata, deletionTimestamp: 'now' } });
    await expect(create(request())).rejects.toMatchObject({ status: 'ABORTED' });
  });

  test('Given a call for the name is under way, Then another one is ABORTED, and so is DeleteVolume', async () => {
    const cluster = fakeCluster();
    const service = controllerService(cluster);
    const first = service.createVolume?.(request(), callContext(100));
    await expect(service.createVolume?.(request(), callContext())).rejects.toMatchObject({ status: 'ABORTED' });
    await expect(service.deleteVolume?.({ volumeId: 'pvc-1', secrets: {} }, callContext())).rejects.toMatchObject({
      status: 'ABORTED',
      message: expect.stringContaining('createVolume is still under way'),
    });
    await expect(first).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED' });
  });

  const zones = (...values: readonly string[]) => values.map((zone) => ({ segments: { zone, region: 'r' } }));

  test('Given goals near the client, Then the volume knows where its first pod is to run', async () => {
    const { cluster, create } = setup();
    const parameters = { placement: 'prefer near(client)' };
    await create(request({ parameters, accessibilityRequirements: { requisite: zones('b'), preferred: zones('b') } }));
    expect(cluster.volumes.peek('pvc-1')?.spec.clientLabels).toEqual({ zone: 'b', region: 'r' });
  });

  test('a volume can be used from everywhere, whatever topology is asked for', async () => {
    const { create } = setup();
    const { volume } = await create(request({ accessibilityRequirements: { requisite: zones('b') } }));
    expect(volume?.accessibleTopology).toEqual([]);
  });

  test('Given accessFrom, Then it can be used from there, and so it stays when it is asked for again', async () => {
    const { create } = setup();
    const parameters = { accessFrom: 'zone' };
    const asked = request({ parameters, accessibilityRequirements: { requisite: zones('b') } });
    await expect(create(asked)).resolves.toMatchObject({
      volume: { accessibleTopology: [{ segments: { zone: 'b' } }] },
    });
    const again = request({ parameters, accessibilityRequirements: { requisite: zones('c') } });
    await expect(create(again)).resolves.toMatchObject({
      volume: { accessibleTopology: [{ segments: { zone: 'b' } }] },
    });
  });

  describe('a claim that sets parameters for itself', () => {
    const claim = (annotations: Record<string, string>) => ({ metadata: { name: 'data', uid: '1', annotations } });
    const parameters = {
      replicas: '2',
      allowOverride: 'replicas',
      'csi.storage.k8s.io/pvc/name': 'data',
      'csi.storage.k8s.io/pvc/namespace': 'ns',
    };

    test('gets them, and its volume stays the same when the annotations change', async () => {
      const { cluster, create } = setup();
      cluster.allClaims.put(claim({ 'holdfast.dev/replicas': '3' }));
      await create(request({ parameters }));
      expect(cluster.volumes.peek('pvc-1')?.spec.replicas).toBe(3);
      cluster.allClaims.remove('data');
      await expect(create(request({ parameters }))).resolves.toMatchObject({ volume: { volumeId: 'pvc-1' } });
      expect(cluster.volumes.writes).toHaveLength(1);
    });

    test('is refused what its StorageClass does not let it set', async () => {
      const { cluster, create } = setup();
      cluster.allClaims.put(claim({ 'holdfast.dev/provisioning': 'Thick' }));
      await expect(create(request({ parameters }))).rejects.toMatchObject({
        status: 'INVALID_ARGUMENT',
        code: 'HF420',
      });
      expect(cluster.volumes.writes).toHaveLength(0);
    });
  });

  test.each<[string, DeepPartial<CreateVolumeRequest>, string]>([
    ['no name', { name: '' }, 'name is missing'],
    ['no capability', { volumeCapabilities: [] }, 'volume_capabilities is missing'],
    ['a source that is none', { volumeContentSource: {} }, 'volume_content_source'],
    [
      'a snapshot without an id',
      { volumeContentSource: { type: { $case: 'snapshot', value: { snapshotId: '' } } } },
      'snapshot_id',
    ],
    ['mutable parameters that are none', { mutableParameters: { iops: '5' } }, "iops can't be changed"],
    ['an unknown parameter', { parameters: { replica: '2' } }, 'the known ones are replicas, placement'],
  ])('Given %s, Then INVALID_ARGUMENT', async (_, changes, message) => {
    const { cluster, create } = setup();
    await expect(create(request(changes))).rejects.toMatchObject({
      status: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message),
    });
    expect(cluster.volumes.writes).toHaveLength(0);
  });
});
