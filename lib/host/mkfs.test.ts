import { expect, test } from '@jest/globals';
import type { Exec, ExecOptions } from './exec.ts';
import { createFilesystems, parseBlkid } from './mkfs.ts';

// Recorded from blkid of util-linux 2.38.
const ext4 =
  'DEVNAME=/dev/vdb\nUUID=86de4685-517d-4ad7-be6c-6dcb221de56e\nVERSION=1.0\nBLOCK_SIZE=1024\nTYPE=ext4\nUSAGE=filesystem\n';
const lvm = 'DEVNAME=/dev/vdb\nUUID=x\nVERSION=LVM2 001\nTYPE=LVM2_member\nUSAGE=raid\n';
const gpt = 'DEVNAME=/dev/vdb\nPTUUID=6a1\nPTTYPE=gpt\n';

test.each([
  ['a filesystem', 0, ext4, { kind: 'filesystem', type: 'ext4', unfinished: false }],
  ['one that is being made', 0, `${ext4}LABEL=hf-making\n`, { kind: 'filesystem', type: 'ext4', unfinished: true }],
  ['LVM', 0, lvm, { kind: 'other', what: 'LVM2_member (raid)' }],
  ['partitions', 0, gpt, { kind: 'other', what: 'a gpt partition table' }],
  ['several signatures', 8, '', { kind: 'other', what: 'several signatures that contradict each other' }],
  ['something new', 0, 'DEVNAME=/dev/vdb\nFOO=bar\n', { kind: 'other', what: 'DEVNAME=/dev/vdb FOO=bar' }],
  ['an empty answer with success', 0, '', { kind: 'other', what: 'something that blkid has no word for' }],
  ['nothing', 2, '', undefined],
])('blkid: %s', (_, code, stdout, content) => {
  expect(parseBlkid(code, stdout)).toEqual(content);
});

/** A device of which blkid knows nothing, and whose MiB at these offsets are not zero. */
function device(sizeBytes: number, nonZeroOffsets: readonly number[] = []) {
  const calls: string[] = [];
  const exec: Exec = async (command, args, { ok = [0] }: ExecOptions = {}) => {
    calls.push([command, ...args].join(' '));
    const answer = (code: number, stdout = '') => {
      if (!ok.includes(code)) throw new Error(`${command}: exit code ${code}`);
      return { code, stdout, stderr: '' };
    };
    if (command === 'blockdev') return answer(0, `${sizeBytes}\n`);
    if (command === 'blkid') return answer(2);
    if (command === 'cmp') return answer(nonZeroOffsets.includes(Number(args[4]?.split(':')[0])) ? 1 : 0);
    return answer(0);
  };
  return { calls, filesystems: createFilesystems(exec) };
}

const MIB = 1024 * 1024;

test('blank is what blkid does not know and whose first and last MiB are zeros', async () => {
  const { calls, filesystems } = device(64 * MIB);
  await expect(filesystems.probe('/dev/vdb')).resolves.toEqual({ kind: 'blank' });
  expect(calls.filter((call) => call.startsWith('cmp'))).toEqual([
    `cmp -s -n ${MIB} -i 0:0 -- /dev/vdb /dev/zero`,
    `cmp -s -n ${MIB} -i ${63 * MIB}:0 -- /dev/vdb /dev/zero`,
  ]);
});

test('of what blkid knows nothing more is asked: a fail-over waits for each command', async () => {
  const calls: string[] = [];
  const exec: Exec = async (command) => {
    calls.push(command);
    return { code: 0, stdout: ext4, stderr: '' };
  };
  await expect(createFilesystems(exec).probe('/dev/vdb')).resolves.toMatchObject({ kind: 'filesystem' });
  expect(calls).toEqual(['blkid']);
});

test.each([
  [0, 'first'],
  [63 * MIB, 'last'],
])('bytes at %i are data', async (offset, where) => {
  const { filesystems } = device(64 * MIB, [offset]);
  await expect(filesystems.probe('/dev/vdb')).resolves.toEqual({
    kind: 'unknown',
    what: `data of an unknown kind in its ${where} MiB`,
  });
});

test('an array that does not run has no size and is not blank', async () => {
  await expect(device(0).filesystems.probe('/dev/md127')).rejects.toThrow('has no size');
});

test('making a filesystem never discards, and never overrides a device in use', async () => {
  const { calls, filesystems } = device(64 * MIB);
  await filesystems.make('/dev/vdb', 'ext4');
  await filesystems.make('/dev/vdb', 'xfs');
  expect(calls).toEqual([
    'mkfs.ext4 -q -F -m 0 -E nodiscard -L hf-making /dev/vdb',
    'mkfs.xfs -q -f -K -L hf-making /dev/vdb',
  ]);
});

test('ext4 is checked, xfs checks itself', async () => {
  const { calls, filesystems } = device(64 * MIB);
  await filesystems.check('/dev/vdb', 'ext4');
  await filesystems.check('/dev/vdb', 'xfs');
  expect(calls).toEqual(['e2fsck -p /dev/vdb']);
});
