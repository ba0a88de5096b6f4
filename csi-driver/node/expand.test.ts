import { beforeEach, describe, expect, test } from '@jest/globals';
import {
  NodeExpandVolumeRequest,
  NodePublishVolumeRequest,
  NodeStageVolumeRequest,
  type DeepPartial,
} from '../generated/csi.ts';
import { blockCapability, callContext, mountCapability } from '../testing/fake-controller.ts';
import { fakeNode, Killed, type FakeNode } from '../testing/fake-node.ts';
import { nodeService } from './service.ts';

const STAGING = '/staging/vol';
const TARGET = '/pods/a/mount';
const GIB = 2 ** 30;
let node: FakeNode;

const service = () => nodeService(node.deps);
const stage = (capability = mountCapability()) =>
  service().nodeStageVolume?.(
    NodeStageVolumeRequest.fromPartial({ volumeId: 'vol', stagingTargetPath: STAGING, volumeCapability: capability }),
    callContext(),
  );
const publish = (changes: DeepPartial<NodePublishVolumeRequest> = {}) =>
  service().nodePublishVolume?.(
    NodePublishVolumeRequest.fromPartial({
      volumeId: 'vol',
      stagingTargetPath: STAGING,
      targetPath: TARGET,
      volumeCapability: mountCapability(),
      ...changes,
    }),
    callContext(),
  );
const expand = (changes: DeepPartial<NodeExpandVolumeRequest> = {}) =>
  service().nodeExpandVolume?.(
    NodeExpandVolumeRequest.fromPartial({
      volumeId: 'vol',
      volumePath: TARGET,
      capacityRange: { requiredBytes: BigInt(2 * GIB) },
      ...changes,
    }),
    callContext(),
  );

beforeEach(() => {
  node = fakeNode();
  node.sizeBytes = 2 * GIB;
});

describe('NodeExpandVolume', () => {
  test('grows the filesystem of a volume that has its size, as often as it is asked', async () => {
    await stage();
    await publish();
    node.effects.length = 0;
    await expect(expand()).resolves.toEqual({ capacityBytes: BigInt(2 * GIB) });
    await expect(expand({ volumePath: STAGING })).resolves.toEqual({ capacityBytes: BigInt(2 * GIB) });
    expect(node.effects).toEqual(['grow', 'grow']);
  });

  test('of a pod that may only read grows the filesystem over the mount that may write', async () => {
    await stage();
    await publish({ readonly: true });
    await expect(expand()).resolves.toBeDefined();
    expect(node.effects.at(-1)).toBe('grow');
  });

  test('has nothing to do for a block volume', async () => {
    await stage(blockCapability());
    await publish({ volumeCapability: blockCapability() });
    node.effects.length = 0;
    await expect(expand()).resolves.toEqual({ capacityBytes: BigInt(2 * GIB) });
    expect(node.effects).toEqual([]);
  });

  test('Given a device that is not as large, or larger than it may be, Then nothing is grown', async () => {
    await stage();
    await publish();
    node.effects.length = 0;
    const range = (requiredBytes: number, limitBytes = 0) => ({
      capacityRange: { requiredBytes: BigInt(requiredBytes), limitBytes: BigInt(limitBytes) },
    });
    await expect(expand(range(3 * GIB))).rejects.toMatchObject({ status: 'DEADLINE_EXCEEDED', code: 'HF406' });
    await expect(expand(range(GIB, GIB))).rejects.toMatchObject({ status: 'OUT_OF_RANGE' });
    expect(node.effects).toEqual([]);
    await expect(expand({ capacityRange: undefined })).resolves.toEqual({ capacityBytes: BigInt(2 * GIB) });
  });

  test('Given nothing is mounted there, Then NOT_FOUND', async () => {
    await expect(expand()).rejects.toMatchObject({ status: 'NOT_FOUND' });
    await expect(expand({ volumePath: '' })).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
    await expect(expand({ volumeId: '' })).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
  });

  test('Given a tool that fails, Then its words are told', async () => {
    await stage();
    await publish();
    node.broken.set('grow', 'resize2fs: Permission denied to resize filesystem');
    await expect(expand()).rejects.toMatchObject({ status: 'INTERNAL', code: 'HF411', message: /Permission denied/ });
  });
});

describe('a filesystem that was made on a smaller volume', () => {
  test('is grown when it is mounted next, also when the first try was cut off', async () => {
    node.content = { kind: 'filesystem', type: 'ext4', unfinished: false };
    node.kill = { effect: 3, when: 'after' };
    await expect(stage()).rejects.toThrow(Killed);
    expect(node.effects).toEqual(['mkdir', 'check', 'mount']);
    node.kill = undefined;
    await stage();
    expect(node.effects.at(-1)).toBe('grow');
  });
});
