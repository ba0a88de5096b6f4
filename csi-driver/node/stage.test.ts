import { describe, expect, test } from '@jest/globals';
import {
  NodeStageVolumeRequest,
  VolumeCapability_AccessMode_Mode as Mode,
  type DeepPartial,
} from '../generated/csi.ts';
import { blockCapability, callContext, mountCapability } from '../testing/fake-controller.ts';
import { fakeNode, Killed, type FakeNode, type Kill } from '../testing/fake-node.ts';
import { nodeService } from './service.ts';

const STAGING = '/var/lib/kubelet/plugins/kubernetes.io/csi/csi.holdfast.dev/x/globalmount';

const stage = (node: FakeNode, changes: DeepPartial<NodeStageVolumeRequest> = {}) =>
  // A new service for each call, as after a restart of the program.
  nodeService(node.deps).nodeStageVolume?.(
    NodeStageVolumeRequest.fromPartial({
      volumeId: 'vol',
      stagingTargetPath: STAGING,
      volumeCapability: mountCapability(),
      publishContext: { devicePath: '/dev/holdfast/vol', epoch: '3' },
      ...changes,
    }),
    callContext(),
  );

const unstage = (node: FakeNode) =>
  nodeService(node.deps).nodeUnstageVolume?.({ volumeId: 'vol', stagingTargetPath: STAGING }, callContext());

const kills = (effects: number): Kill[] =>
  Array.from({ length: effects }, (_, index) => index + 1).flatMap((effect) =>
    (['before', 'middle', 'after'] as const).map((when) => ({ effect, when })),
  );

describe('NodeStageVolume', () => {
  test('a blank device is recorded, formatted, recorded again and mounted, in this order', async () => {
    const node = fakeNode();
    await stage(node);
    expect(node.effects).toEqual(['mkdir', 'record begin', 'make', 'finish', 'record finish', 'mount', 'grow']);
    expect(node.mounts).toMatchObject([{ target: STAGING, fsType: 'ext4', device: '9:127' }]);
    expect(node.mounts[0]?.options).toContain('errors=remount-ro');
  });

  test('Given it is staged already, Then only its size is looked at', async () => {
    const node = fakeNode();
    await stage(node);
    node.effects.length = 0;
    await stage(node);
    expect(node.effects).toEqual(['mkdir', 'grow']);
  });

  test.each(kills(6))(
    'Given it is killed $when effect $effect of the first time, Then the next call completes it',
    async (kill) => {
      const node = fakeNode();
      node.kill = kill;
      await expect(stage(node)).rejects.toThrow(Killed);
      node.kill = undefined;
      await stage(node);
      expect(node.mounts).toHaveLength(1);
      expect(node.content).toEqual({ kind: 'filesystem', type: 'ext4', unfinished: false });
      expect(node.unfinished).toBe(false);
    },
  );

  test.each(kills(6))(
    'Given it is killed twice, the first time $when effect $effect, Then the third call completes it',
    async (kill) => {
      for (const second of kills(6)) {
        const node = fakeNode();
        node.kill = kill;
        await expect(stage(node)).rejects.toThrow(Killed);
        node.kill = second;
        await Promise.resolve(stage(node)).catch((error: unknown) => expect(error).toBeInstanceOf(Killed));
        node.kill = undefined;
        await stage(node);
        expect(node.mounts).toHaveLength(1);
        expect(node.unfinished).toBe(false);
      }
    },
  );

  test.each(kills(3))(
    'Given a filesystem with data and a kill $when effect $effect, Then it is never formatted',
    async (kill) => {
      const node = fakeNode();
      await stage(node);
      node.hasData = true;
      await unstage(node);
      node.effects.length = 0;
      node.kill = kill;
      await expect(stage(node)).rejects.toThrow(Killed);
      node.kill = undefined;
      await stage(node);
      expect(node.effects).not.toContain('make');
      expect(node.effects).toContain('check');
      expect(node.mounts).toHaveLength(1);
    },
  );

  test('Given a crash in mkfs on another node, Then this node makes the filesystem anew', async () => {
    const node = fakeNode();
    node.unfinished = true;
    node.content = 'half-made';
    await stage(node, { volumeCapability: mountCapability('xfs') });
    expect(node.content).toEqual({ kind: 'filesystem', type: 'xfs', unfinished: false });
  });

  // Given an API server restored from a backup that was taken during the format, when users have written since, then the
  // record says that it is unfinished, and the disk that it is not.
  test('Given a record from before the format was done, Then what is there stays, and the record is put right', async () => {
    const node = fakeNode();
    await stage(node);
    node.hasData = true;
    await unstage(node);
    node.unfinished = true;
    node.effects.length = 0;
    await stage(node);
    expect(node.effects).toEqual(['mkdir', 'check', 'record finish', 'mount', 'grow']);
    expect(node.unfinished).toBe(false);
  });

  test('Given a filesystem that was never finished, Then it is made anew, whatever the record says', async () => {
    const node = fakeNode();
    node.content = { kind: 'filesystem', type: 'ext4', unfinished: true };
    await stage(node);
    expect(node.effects).toEqual(['mkdir', 'record begin', 'make', 'finish', 'record finish', 'mount', 'grow']);
  });

  test("Given somebody else's signature, Then not even an unfinished format goes on", async () => {
    const node = fakeNode();
    node.unfinished = true;
    node.content = { kind: 'other', what: 'LVM2_member (raid)' };
    await expect(stage(node)).rejects.toMatchObject({ message: expect.stringContaining('never formatted') });
    expect(node.effects).toEqual(['mkdir']);
  });

  test.each([
    [
      'a filesystem of another type',
      { kind: 'filesystem', type: 'xfs', unfinished: false },
      'holds a filesystem of type xfs, where ext4 was asked for',
    ],
    ['a filesystem that is not ours', { kind: 'filesystem', type: 'vfat', unfinished: false }, 'type vfat'],
    ['an LVM signature', { kind: 'other', what: 'LVM2_member (raid)' }, 'holds LVM2_member (raid)'],
    ['unknown bytes', 'half-made', 'holds data of an unknown kind'],
  ] as const)('Given %s, Then it is refused and nothing is written', async (_, content, message) => {
    const node = fakeNode();
    node.content = content;
    await expect(stage(node)).rejects.toMatchObject({
      status: 'FAILED_PRECONDITION',
      message: expect.stringContaining(message),
    });
    expect(node.effects).toEqual(['mkdir']);
  });

  test('Given the device is too small for the filesystem, Then it is refused before anything is recorded', async () => {
    const node = fakeNode();
    node.sizeBytes = 200 * 2 ** 20;
    await expect(stage(node, { volumeCapability: mountCapability('xfs') })).rejects.toMatchObject({
      status: 'OUT_OF_RANGE',
      message: expect.stringContaining('200Mi is too small for xfs, which needs 300Mi'),
    });
    expect(node.effects).toEqual(['mkdir']);
  });

  test('Given no filesystem is named, Then the one that is there is mounted', async () => {
    const node = fakeNode();
    node.content = { kind: 'filesystem', type: 'xfs', unfinished: false };
    await stage(node, { volumeCapability: mountCapability('') });
    // A clone has the UUID of its source, and may be mounted beside it.
    expect(node.mounts).toMatchObject([{ fsType: 'xfs', options: expect.arrayContaining(['nouuid']) }]);
  });

  test('Given the staging path holds another mount, Then it is refused and left alone', async () => {
    const node = fakeNode();
    await stage(node);
    node.mounts = node.mounts.map((mount) => ({ ...mount, device: '9:126' }));
    await expect(stage(node)).rejects.toMatchObject({ status: 'FAILED_PRECONDITION', code: 'HF412' });
    expect(node.mounts).toHaveLength(1);
  });

  test('Given the device is mounted elsewhere, Then it is neither checked nor formatted', async () => {
    const node = fakeNode();
    await stage(node);
    node.mounts = node.mounts.map((mount) => ({ ...mount, target: '/elsewhere' }));
    node.effects.length = 0;
    await stage(node);
    expect(node.effects).toEqual(['mkdir', 'mount']);
    await unstage(node);
    await expect(stage(node, { volumeCapability: mountCapability('xfs') })).rejects.toMatchObject({ code: 'HF410' });
  });

  test("a tool's failure is INTERNAL in the tool's words", async () => {
    const node = fakeNode();
    node.content = { kind: 'filesystem', type: 'ext4', unfinished: false };
    node.broken.set('check', 'UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY');
    await expect(stage(node)).rejects.toMatchObject({
      status: 'INTERNAL',
      message: expect.stringContaining('UNEXPECTED INCONSISTENCY'),
    });
    expect(node.mounts).toHaveLength(0);
  });

  test('a reader gets the filesystem read-only, with the mount flags of the class', async () => {
    const node = fakeNode();
    const volumeCapability = mountCapability('ext4', Mode.SINGLE_NODE_READER_ONLY);
    await stage(node, { volumeCapability });
    expect(node.mounts[0]?.options).toEqual(['ro']);
  });

  test('a block volume only waits for its device', async () => {
    const node = fakeNode();
    await stage(node, { volumeCapability: blockCapability() });
    expect(node.effects).toEqual([]);
    node.attached = false;
    await expect(stage(node, { volumeCapability: blockCapability() })).rejects.toMatchObject({ code: 'HF413' });
  });

  test.each<[string, DeepPartial<NodeStageVolumeRequest>, string]>([
    ['no volume id', { volumeId: '' }, 'volume_id is missing'],
    ['a volume id that climbs', { volumeId: '../../sda' }, 'volume_id is "../../sda"'],
    ['no staging path', { stagingTargetPath: '' }, 'staging_target_path is missing'],
    ['a relative staging path', { stagingTargetPath: 'a' }, 'staging_target_path is "a"'],
    ['no capability', { volumeCapability: undefined }, 'volume_capability is missing'],
    ['another device', { publishContext: { devicePath: '/dev/sda' } }, 'publish_context.devicePath is "/dev/sda"'],
    ['a wrong epoch', { publishContext: { epoch: 'x' } }, 'publish_context.epoch is "x"'],
  ])('Given %s, Then INVALID_ARGUMENT', async (_, changes, message) => {
    const node = fakeNode();
    await expect(stage(node, changes)).rejects.toMatchObject({
      status: 'INVALID_ARGUMENT',
      message: expect.stringContaining(message),
    });
    expect(node.effects).toEqual([]);
  });
});

describe('NodeUnstageVolume', () => {
  test('unmounts, and is content when nothing is mounted', async () => {
    const node = fakeNode();
    await stage(node);
    await unstage(node);
    await unstage(node);
    expect(node.mounts).toEqual([]);
    expect(node.effects.filter((effect) => effect === 'unmount')).toHaveLength(1);
  });

  test('takes away mounts that are stacked', async () => {
    const node = fakeNode();
    await stage(node);
    node.mounts = [...node.mounts, ...node.mounts];
    await unstage(node);
    expect(node.mounts).toEqual([]);
  });

  test('Given it is in use, Then FAILED_PRECONDITION', async () => {
    const node = fakeNode();
    await stage(node);
    node.broken.set('unmount', 'target is busy');
    await expect(unstage(node)).rejects.toMatchObject({
      status: 'FAILED_PRECONDITION',
      message: expect.stringContaining('target is busy'),
    });
  });
});
