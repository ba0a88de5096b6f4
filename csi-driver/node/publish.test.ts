import { beforeEach, describe, expect, test } from '@jest/globals';
import {
  NodePublishVolumeRequest,
  NodeStageVolumeRequest,
  VolumeCapability_AccessMode_Mode as Mode,
  type DeepPartial,
} from '../generated/csi.ts';
import { blockCapability, callContext, mountCapability } from '../testing/fake-controller.ts';
import { fakeNode, Killed, type FakeNode } from '../testing/fake-node.ts';
import { nodeService } from './service.ts';
import { parseUsage } from './stats.ts';

const STAGING = '/staging/vol';
const TARGET = '/pods/a/mount';

let node: FakeNode;

beforeEach(async () => {
  node = fakeNode();
  const request = { volumeId: 'vol', stagingTargetPath: STAGING, volumeCapability: mountCapability() };
  await nodeService(node.deps).nodeStageVolume?.(NodeStageVolumeRequest.fromPartial(request), callContext());
  node.effects.length = 0;
});

const publish = (changes: DeepPartial<NodePublishVolumeRequest> = {}) =>
  nodeService(node.deps).nodePublishVolume?.(
    NodePublishVolumeRequest.fromPartial({
      volumeId: 'vol',
      stagingTargetPath: STAGING,
      targetPath: TARGET,
      volumeCapability: mountCapability(),
      ...changes,
    }),
    callContext(),
  );

const unpublish = (targetPath = TARGET) =>
  nodeService(node.deps).nodeUnpublishVolume?.({ volumeId: 'vol', targetPath }, callContext());

const at = (target: string) => node.mounts.filter((mount) => mount.target === target);

describe('NodePublishVolume', () => {
  test('binds the staged filesystem, once', async () => {
    await publish();
    await publish();
    expect(at(TARGET)).toMatchObject([{ device: '9:127', options: expect.not.arrayContaining(['ro']) }]);
  });

  test('read-only leaves the staging mount writable', async () => {
    await publish({ readonly: true });
    expect(at(TARGET)).toMatchObject([{ options: ['ro'] }]);
    expect(at(STAGING)[0]?.options).not.toContain('ro');
  });

  test('Given it was killed between bind and remount, Then the next call makes it read-only', async () => {
    node.kill = { effect: 2, when: 'after' };
    await expect(publish({ readonly: true })).rejects.toThrow(Killed);
    expect(at(TARGET)[0]?.options).not.toContain('ro');
    node.kill = undefined;
    await publish({ readonly: true });
    expect(at(TARGET)).toMatchObject([{ options: ['ro'] }]);
  });

  test('Given it is published read-only, Then a writable publish there is ALREADY_EXISTS', async () => {
    await publish({ readonly: true });
    await expect(publish()).rejects.toMatchObject({ status: 'ALREADY_EXISTS' });
  });

  test('Given it is not staged, Then FAILED_PRECONDITION', async () => {
    for (const stagingTargetPath of ['/staging/other', '/missing/vol']) {
      await expect(publish({ stagingTargetPath })).rejects.toMatchObject({
        status: 'FAILED_PRECONDITION',
        code: 'HF413',
      });
    }
  });

  test('Given another mount at the target, Then it is refused and left alone', async () => {
    await publish();
    node.mounts = node.mounts.map((mount) => (mount.target === TARGET ? { ...mount, device: '8:1' } : mount));
    await expect(publish()).rejects.toMatchObject({ status: 'FAILED_PRECONDITION', code: 'HF412' });
    expect(at(TARGET)).toHaveLength(1);
  });

  test('a second workload may have it, unless the mode says one', async () => {
    await publish();
    await publish({ targetPath: '/pods/b/mount' });
    const single = mountCapability('ext4', Mode.SINGLE_NODE_SINGLE_WRITER);
    await expect(publish({ targetPath: '/pods/c/mount', volumeCapability: single })).rejects.toMatchObject({
      status: 'FAILED_PRECONDITION',
      message: expect.stringContaining('already published at /pods/a/mount'),
    });
    // What is refused leaves nothing behind.
    expect([...node.folders]).not.toContain('/pods/c/mount');
    await unpublish();
    await unpublish('/pods/b/mount');
    await publish({ targetPath: '/pods/c/mount', volumeCapability: single });
    await publish({ targetPath: '/pods/c/mount', volumeCapability: single });
    expect(at('/pods/c/mount')).toHaveLength(1);
  });

  test('a block volume appears as a device node', async () => {
    await publish({ volumeCapability: blockCapability() });
    await publish({ volumeCapability: blockCapability() });
    expect(node.files).toContain(TARGET);
    expect(at(TARGET)).toMatchObject([{ root: '/md127', fsType: 'devtmpfs' }]);
  });

  test('a block volume can not be published read-only', async () => {
    const volumeCapability = blockCapability();
    await expect(publish({ volumeCapability, readonly: true })).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
    expect(node.effects).toEqual([]);
  });

  test.each<[string, DeepPartial<NodePublishVolumeRequest>, string]>([
    ['no volume id', { volumeId: '' }, 'volume_id is missing'],
    ['no target path', { targetPath: '' }, 'target_path is missing'],
    ['no staging path', { stagingTargetPath: '' }, 'staging_target_path is missing'],
    ['no capability', { volumeCapability: undefined }, 'volume_capability is missing'],
  ])('Given %s, Then INVALID_ARGUMENT', async (_, changes, message) => {
    await expect(publish(changes)).rejects.toMatchObject({
      status: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message),
    });
  });
});

describe('NodeUnpublishVolume', () => {
  test('unmounts and removes the target; the staging mount stays', async () => {
    await publish();
    await unpublish();
    await unpublish();
    expect(at(TARGET)).toEqual([]);
    expect(node.folders).not.toContain(TARGET);
    expect(at(STAGING)).toHaveLength(1);
  });

  test('Given it was killed after the unmount, Then the next call removes the folder', async () => {
    await publish();
    node.kill = { effect: 1, when: 'after' };
    await expect(unpublish()).rejects.toThrow(Killed);
    node.kill = undefined;
    await unpublish();
    expect(node.folders).not.toContain(TARGET);
  });
});

const stats = (volumePath: string) =>
  nodeService(node.deps).nodeGetVolumeStats?.({ volumeId: 'vol', volumePath, stagingTargetPath: '' }, callContext());

describe('NodeGetVolumeStats', () => {
  test('bytes and inodes of a filesystem', async () => {
    await publish();
    await expect(stats(TARGET)).resolves.toMatchObject({
      usage: [
        { unit: 1, total: 4_096_000n, used: 2_457_600n, available: 1_228_800n },
        { unit: 2, total: 500n, used: 50n, available: 450n },
      ],
    });
  });

  test('the size of a block volume', async () => {
    await publish({ volumeCapability: blockCapability() });
    await expect(stats(TARGET)).resolves.toMatchObject({ usage: [{ unit: 1, total: 1_073_741_824n }] });
  });

  test('Given it is not mounted there, Then NOT_FOUND', async () => {
    await expect(stats(TARGET)).rejects.toMatchObject({ status: 'NOT_FOUND' });
    await expect(stats('/missing/x')).rejects.toMatchObject({ status: 'NOT_FOUND' });
    node.attached = false;
    await expect(stats(STAGING)).rejects.toMatchObject({ status: 'NOT_FOUND' });
  });

  test('what stat printed must be understood', () => {
    expect(() => parseUsage('stat: cannot read')).toThrow("can't be understood");
  });
});

test('NodeGetInfo gives the node name, how many volumes it takes and where it is', async () => {
  await expect(nodeService(node.deps).nodeGetInfo?.({}, callContext())).resolves.toMatchObject({
    nodeId: 'n1',
    maxVolumesPerNode: 10n,
    accessibleTopology: { segments: { zone: 'a' } },
  });
});
