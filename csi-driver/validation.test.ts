import { describe, expect, test } from '@jest/globals';
import { VolumeCapability, VolumeCapability_AccessMode_Mode as Mode, type DeepPartial } from './generated/csi.ts';
import { blockCapability, mountCapability } from './testing/fake-controller.ts';
import { absolutePath, isVolumeName, volumeId, volumeUse } from './validation.ts';

describe('volumeUse', () => {
  test.each([
    ['mount', mountCapability('ext4'), { kind: 'mount', access: 'writer', fsType: 'ext4', mountFlags: [] }],
    [
      'no filesystem named',
      mountCapability(''),
      { kind: 'mount', access: 'writer', fsType: undefined, mountFlags: [] },
    ],
    [
      'xfs, one writer',
      mountCapability('xfs', Mode.SINGLE_NODE_SINGLE_WRITER),
      { access: 'single-writer', fsType: 'xfs' },
    ],
    ['many writers on one node', mountCapability('ext4', Mode.SINGLE_NODE_MULTI_WRITER), { access: 'writer' }],
    ['readers on one node', mountCapability('ext4', Mode.SINGLE_NODE_READER_ONLY), { access: 'reader' }],
    ['block', blockCapability(), { kind: 'block', access: 'writer' }],
  ])('%s is supported', (_, capability, use) => {
    expect(volumeUse('c', capability)).toMatchObject(use);
  });

  const writer = { accessMode: { mode: Mode.SINGLE_NODE_WRITER } };
  test.each<[string, DeepPartial<VolumeCapability>, string]>([
    ['no access mode', { accessType: { $case: 'block', value: {} } }, 'c.access_mode is missing'],
    ['no access type', writer, 'expected an access type, either mount or block'],
    [
      'a multi-node mode, with the reason',
      { accessType: { $case: 'block', value: {} }, accessMode: { mode: Mode.MULTI_NODE_MULTI_WRITER } },
      'c.access_mode is MULTI_NODE_MULTI_WRITER (ReadWriteMany): expected ReadWriteOnce or ReadWriteOncePod (SINGLE_NODE_WRITER, SINGLE_NODE_SINGLE_WRITER, SINGLE_NODE_MULTI_WRITER or SINGLE_NODE_READER_ONLY): a volume is attached to one node at a time',
    ],
    [
      'a mode from a later specification',
      { accessType: { $case: 'block', value: {} }, accessMode: { mode: 99 as Mode } },
      'c.access_mode is 99',
    ],
    [
      'an unknown filesystem',
      { ...writer, accessType: { $case: 'mount', value: { fsType: 'btrfs' } } },
      'c.mount.fs_type is "btrfs": expected ext4 or xfs',
    ],
    [
      'a mount group',
      { ...writer, accessType: { $case: 'mount', value: { volumeMountGroup: '1000' } } },
      'c.mount.volume_mount_group is "1000"',
    ],
  ])('%s is refused', (_, capability, message) => {
    const refused = expect.objectContaining({ status: 'INVALID_ARGUMENT', message: expect.stringContaining(message) });
    expect(() => volumeUse('c', VolumeCapability.fromPartial(capability))).toThrow(refused);
  });
});

const mountFlags = (...flags: readonly string[]): VolumeCapability =>
  VolumeCapability.fromPartial({
    accessType: { $case: 'mount', value: { mountFlags: [...flags] } },
    accessMode: { mode: Mode.SINGLE_NODE_WRITER },
  });

test.each([
  ['noatime'],
  ['commit=30'],
  ['ro'],
  ['errors=continue'],
  // What the kubelet passes for an SELinux mount.
  ['context="system_u:object_r:container_file_t:s0:c127,c456"'],
])('the mount option %s is taken', (flag) => {
  expect(volumeUse('c', mountFlags('discard', flag))).toMatchObject({ mountFlags: ['discard', flag] });
});

test.each([
  ['barrier=0', 'c.mount.mount_flags[1] is "barrier=…": what an application has flushed could be lost'],
  ['nobarrier', 'could be lost with the power'],
  ['norecovery', 'the journal must be replayed'],
  ['remount', 'no option of a filesystem'],
  ['rshared', 'propagation'],
  ['noatime,bind', 'expected one option'],
  ['', 'expected one option'],
  ['a b', 'expected one option'],
])('the mount option %j is refused', (flag, message) => {
  expect(() => volumeUse('c', mountFlags('discard', flag))).toThrow(message);
});

test('a refusal does not tell the value of a mount option', () => {
  expect(() => volumeUse('c', mountFlags('password=a b'))).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('a b') }),
  );
});

test.each([
  ['pvc-1', true],
  ['a.b-c', true],
  ['', false],
  ['.', false],
  ['..', false],
  ['a/b', false],
  ['A', false],
  ['-a', false],
  ['a..b', false],
  ['a'.repeat(63), true],
  ['a'.repeat(64), false],
])('isVolumeName(%j) is %j', (name, valid) => {
  expect(isVolumeName(name)).toBe(valid);
});

test('a volume id that would climb out of /dev/holdfast is refused', () => {
  expect(() => volumeId('../sda')).toThrow('volume_id is "../sda"');
});

test('paths are absolute and do not climb', () => {
  expect(absolutePath('target_path', '/a/b/')).toBe('/a/b');
  expect(absolutePath('target_path', '/')).toBe('/');
  for (const path of ['', 'a', './a', '/a/../b', '/a\0b']) {
    expect(() => absolutePath('target_path', path)).toThrow('expected an absolute path');
  }
});
