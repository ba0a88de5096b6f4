import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { ReplicatedVolume, VolumeConnection } from '../../lib/api/index.ts';
import {
  ControllerPublishVolumeRequest,
  ControllerUnpublishVolumeRequest,
  type DeepPartial,
} from '../generated/csi.ts';
import { callContext, fakeCluster, mountCapability, type FakeCluster } from '../testing/fake-controller.ts';
import { controllerService } from './service.ts';

let cluster: FakeCluster;

beforeEach(() => {
  cluster = fakeCluster();
  cluster.volumes.put({
    metadata: { name: 'vol', uid: 'uid-vol' },
    spec: {
      capacityBytes: 1 << 30,
      replicas: 2,
      placement: { constraints: [], goals: [] },
      healing: { replicaTimeout: '10m', legTimeout: '3s', ...DEFAULT_STALL_POLICY, paused: false },
      provisioning: 'Thin',
      attachTo: '',
    },
    status: { inSync: ['vol-r0', 'vol-r1'], attachment: { node: '', hostNqn: '', epoch: 0, clean: true } },
  });
  cluster.leases.put({ metadata: { name: 'client-n1' } });
  cluster.leases.put({ metadata: { name: 'client-n2' } });
});

const volume = (): ReplicatedVolume => {
  const found = cluster.volumes.peek('vol');
  if (found === undefined) throw new Error('the volume is gone');
  return found;
};

const publish = (changes: DeepPartial<ControllerPublishVolumeRequest> = {}, context = callContext()) =>
  controllerService(cluster).controllerPublishVolume?.(
    ControllerPublishVolumeRequest.fromPartial({
      volumeId: 'vol',
      nodeId: 'n1',
      volumeCapability: mountCapability(),
      ...changes,
    }),
    context,
  );

const unpublish = (nodeId: string, ms?: number) =>
  controllerService(cluster).controllerUnpublishVolume?.(
    ControllerUnpublishVolumeRequest.fromPartial({ volumeId: 'vol', nodeId }),
    callContext(ms),
  );

/** Where the volume's replicas are to be placed near its client. */
const nearClient = (): void => {
  const { spec, ...rest } = volume();
  const placement = { constraints: [], goals: [{ weight: 10, near: {} }] };
  cluster.volumes.put({ ...rest, spec: { ...spec, placement, clientLabels: { zone: 'b', rack: 'r7' } } });
};

/** What the operator and the client agent do in answer to `attachTo`. */
function grant(node: string, epoch: number): void {
  cluster.setStatus('vol', { attachment: { node, hostNqn: `nqn:${node}`, epoch, clean: true } });
}

function connected(node: string, epoch: number, changes: Partial<VolumeConnection['spec']> = {}): void {
  cluster.connections.put({
    metadata: { name: `vol.${node}` },
    spec: {
      volume: 'vol',
      volumeUid: 'uid-vol',
      node,
      epoch,
      sizeBytes: 1 << 30,
      legTimeout: '3s',
      ...DEFAULT_STALL_POLICY,
      raidDisks: 2,
      legs: [],
      ...changes,
    },
    status: { phase: 'Connected', epoch, devicePath: '/dev/holdfast/vol' },
  });
}

describe('ControllerPublishVolume', () => {
  test('writes attachTo and answers when the client agent has the device under the granted epoch', async () => {
    const answer = publish();
    setTimeout(() => {
      expect(volume().spec.attachTo).toBe('n1');
      grant('n1', 1);
      setTimeout(() => connected('n1', 1), 10);
    }, 10);
    await expect(answer).resolves.toEqual({ publishContext: { devicePath: '/dev/holdfast/vol', epoch: '1' } });
  });

  test('Given it is attached already, Then it answers at once and writes nothing', async () => {
    cluster.volumes.put({ ...volume(), spec: { ...volume().spec, attachTo: 'n1' } });
    grant('n1', 4);
    connected('n1', 4);
    await expect(publish()).resolves.toMatchObject({ publishContext: { epoch: '4' } });
    expect(cluster.volumes.writes).toHaveLength(0);
  });

  test.each([
    ['is of an earlier epoch', () => connected('n1', 3)],
    ['belongs to an earlier volume of this name', () => connected('n1', 4, { volumeUid: 'uid-before' })],
  ])('Given the connection %s, Then it goes on waiting', async (_, stale) => {
    grant('n1', 4);
    stale();
    await expect(publish({}, callContext(100))).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED' });
  });

  test('Given it is attached elsewhere, Then FAILED_PRECONDITION names that node, and nothing is written', async () => {
    cluster.volumes.put({ ...volume(), spec: { ...volume().spec, attachTo: 'n2' } });
    await expect(publish()).rejects.toMatchObject({
      status: 'FAILED_PRECONDITION',
      message: expect.stringContaining('attached to node n2'),
    });
    expect(volume().spec.attachTo).toBe('n2');
  });

  test('Given two publish at the same moment, Then the one that comes second is refused', async () => {
    cluster.volumes.beforeWrite(() => cluster.volumes.put({ ...volume(), spec: { ...volume().spec, attachTo: 'n2' } }));
    await expect(publish()).rejects.toMatchObject({ status: 'FAILED_PRECONDITION' });
    expect(volume().spec.attachTo).toBe('n2');
  });

  test('Given another writer changed something else, Then the write is decided again and made', async () => {
    cluster.volumes.beforeWrite(() => cluster.setStatus('vol', { message: 'fine' }));
    const answer = publish({}, callContext(60));
    await expect(answer).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    expect(volume().spec.attachTo).toBe('n1');
  });

  test('Given no in-sync replica can be reached, Then DEADLINE_EXCEEDED carries what the volume says', async () => {
    cluster.setStatus('vol', { phase: 'Waiting', message: 'waiting for vol-r0 on s1' });
    await expect(publish({}, callContext(60))).rejects.toMatchObject({
      status: 'DEADLINE_EXCEEDED',
      message: expect.stringContaining('waiting for vol-r0 on s1'),
    });
  });

  test('Given the caller goes away, Then the waiting ends', async () => {
    const context = callContext(60_000);
    const answer = publish({}, context);
    setTimeout(() => context.cancel(), 10);
    await expect(answer).rejects.toMatchObject({ status: 'UNAVAILABLE' });
  });

  test.each<[string, DeepPartial<ControllerPublishVolumeRequest>, string, string]>([
    ['no volume id', { volumeId: '' }, 'INVALID_ARGUMENT', 'volume_id is missing'],
    ['no node id', { nodeId: '' }, 'INVALID_ARGUMENT', 'node_id is missing'],
    ['no capability', { volumeCapability: undefined }, 'INVALID_ARGUMENT', 'volume_capability is missing'],
    ['readonly', { readonly: true }, 'INVALID_ARGUMENT', 'readonly is true'],
    ['an unknown volume', { volumeId: 'other' }, 'NOT_FOUND', 'no volume "other"'],
    ['an id that is no name', { volumeId: '../vol' }, 'NOT_FOUND', 'no volume "../vol"'],
    ['an unknown node', { nodeId: 'n9' }, 'NOT_FOUND', 'no client agent has ever reported'],
  ])('Given %s, Then it is refused', async (_, changes, status, message) => {
    await expect(publish(changes)).rejects.toMatchObject({ status, message: expect.stringContaining(message) });
    expect(volume().spec.attachTo).toBe('');
  });
});

describe('ControllerUnpublishVolume', () => {
  beforeEach(() => {
    cluster.volumes.put({ ...volume(), spec: { ...volume().spec, attachTo: 'n1' } });
    grant('n1', 1);
  });

  test('clears attachTo and answers when the node has no longer the attachment', async () => {
    const answer = unpublish('n1');
    setTimeout(() => {
      expect(volume().spec.attachTo).toBe('');
      grant('', 2);
    }, 10);
    await expect(answer).resolves.toEqual({});
  });

  test('Given no node is named, Then it is detached from whichever has it', async () => {
    setTimeout(() => grant('', 2), 10);
    await expect(unpublish('')).resolves.toEqual({});
    expect(volume().spec.attachTo).toBe('');
  });

  test('Given another node has it, Then that one keeps it', async () => {
    await expect(unpublish('n2')).resolves.toEqual({});
    expect(volume().spec.attachTo).toBe('n1');
  });

  test('Given it is detached or deleted already, Then success', async () => {
    cluster.volumes.put({ ...volume(), spec: { ...volume().spec, attachTo: '' } });
    grant('', 2);
    await expect(unpublish('n1')).resolves.toEqual({});
    cluster.volumes.remove('vol');
    await expect(unpublish('n1')).resolves.toEqual({});
  });

  test('Given the node does not release it, Then DEADLINE_EXCEEDED, never success', async () => {
    await expect(unpublish('n1', 60)).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    expect(volume().spec.attachTo).toBe('');
  });
});

const remove = (volumeId: string, ms?: number) =>
  controllerService(cluster).deleteVolume?.({ volumeId, secrets: {} }, callContext(ms));

describe('DeleteVolume', () => {
  test('deletes, and answers when the volume is gone', async () => {
    cluster.volumes.put({ ...volume(), metadata: { ...volume().metadata, finalizers: ['holdfast.dev/operator'] } });
    const answer = remove('vol');
    setTimeout(() => {
      expect(volume().metadata.deletionTimestamp).toBeDefined();
      cluster.volumes.remove('vol');
    }, 10);
    await expect(answer).resolves.toEqual({});
  });

  test('Given it is gone, or was never there, Then success', async () => {
    await expect(remove('other')).resolves.toEqual({});
    await expect(remove('no/name')).resolves.toEqual({});
  });

  test.each([
    ['is to be attached', () => cluster.volumes.put({ ...volume(), spec: { ...volume().spec, attachTo: 'n1' } })],
    ['is still attached', () => grant('n1', 1)],
  ])('Given it %s, Then FAILED_PRECONDITION and it stays', async (_, attached) => {
    attached();
    await expect(remove('vol')).rejects.toMatchObject({ status: 'FAILED_PRECONDITION' });
    expect(volume().metadata.deletionTimestamp).toBeUndefined();
  });

  test('Given it is attached just as we delete it, Then it stays', async () => {
    cluster.volumes.beforeWrite(() => cluster.volumes.put({ ...volume(), spec: { ...volume().spec, attachTo: 'n1' } }));
    await expect(remove('vol')).rejects.toMatchObject({ status: 'FAILED_PRECONDITION' });
    expect(volume().metadata.deletionTimestamp).toBeUndefined();
  });
});

describe('near(client)', () => {
  const labels = { zone: 'a', 'kubernetes.io/os': 'linux' };

  test('is near the node that gets the volume, by the labels that storage nodes have', async () => {
    nearClient();
    cluster.nodes.put({ metadata: { name: 'n1', labels } });
    await expect(publish({}, callContext(50))).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    expect(volume().spec).toMatchObject({ attachTo: 'n1', clientLabels: { zone: 'a' } });
    expect(volume().spec.clientLabels).not.toHaveProperty('rack');
  });

  test('keeps what it had where Kubernetes does not know the node', async () => {
    nearClient();
    await expect(publish({}, callContext(50))).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    expect(volume().spec).toMatchObject({ attachTo: 'n1', clientLabels: { zone: 'b', rack: 'r7' } });
  });

  test('costs nothing where no goal asks for it', async () => {
    cluster.nodes.put({ metadata: { name: 'n1', labels } });
    await expect(publish({}, callContext(50))).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    expect(volume().spec.clientLabels).toBeUndefined();
  });
});

describe('a node that takes one volume', () => {
  beforeEach(() => {
    cluster.leases.put({ metadata: { name: 'client-n1', annotations: { 'csi.holdfast.dev/max-volumes': '1' } } });
  });

  test('gets no second one', async () => {
    const { metadata, ...other } = volume();
    cluster.volumes.put({
      ...other,
      metadata: { ...metadata, name: 'other' },
      spec: { ...other.spec, attachTo: 'n1' },
    });
    await expect(publish()).rejects.toMatchObject({
      status: 'RESOURCE_EXHAUSTED',
      message: 'HF421: node n1 has 1 volumes and takes no more than 1',
    });
    expect(volume().spec.attachTo).toBe('');
  });

  test('gets its one again', async () => {
    await expect(publish({}, callContext(50))).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    await expect(publish({}, callContext(50))).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED' });
    expect(volume().spec.attachTo).toBe('n1');
  });
});
