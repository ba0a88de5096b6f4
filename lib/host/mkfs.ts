import { ExecError, type Exec } from './exec.ts';

const MIB = 1024 * 1024;

/** The filesystems that a volume may have. */
export const fsTypes = ['ext4', 'xfs'] as const;
export type FsType = (typeof fsTypes)[number];

/**
 * The smallest device for each filesystem, in bytes. mkfs.xfs refuses less than 300 MiB since xfsprogs 5.19
 * (mkfs/xfs_mkfs.c, validate_supported); mke2fs leaves the journal away below 2 MiB.
 */
export const minFsBytes: Readonly<Record<FsType, number>> = { ext4: 2 * MIB, xfs: 300 * MIB };

/** What a device holds. */
export type DeviceContent =
  /** No signature is known on it, and its first and last MiB read as zeros. */
  | { readonly kind: 'blank' }
  /** `unfinished`: nobody has ever mounted it, see `make`. */
  | { readonly kind: 'filesystem'; readonly type: string; readonly unfinished: boolean }
  /** Bytes without a signature: a mkfs that broke off leaves such, and so may anybody. In words for people. */
  | { readonly kind: 'unknown'; readonly what: string }
  /** Anything else: a partition table, LVM, RAID, several signatures. In words for people. */
  | { readonly kind: 'other'; readonly what: string };

/** The label of a filesystem that is still being made. An XFS label has at most 12 bytes. */
const MAKING_LABEL = 'hf-making';

/** The port to mkfs, fsck and blkid. Every read of the device is a child process: a stalled device never blocks us. */
export interface Filesystems {
  /** The device's size in bytes. @throws Error when it has none: its array does not run */
  sizeBytes(device: string): Promise<number>;
  /** Looks what is on the device. Writes nothing. @throws ExecError when it can't be read */
  probe(device: string): Promise<DeviceContent>;
  /**
   * Makes an empty filesystem, whatever is there, with a mark on it that it is unfinished. The device must not be in use.
   * @throws ExecError
   */
  make(device: string, fsType: FsType): Promise<void>;
  /** Takes the mark away: from now on what is there may be a user's. @throws ExecError */
  finish(device: string, fsType: FsType): Promise<void>;
  /** Makes a mounted filesystem as large as its device; one that is needs nothing. @throws ExecError */
  grow(device: string, fsType: FsType, mountPoint: string): Promise<void>;
  /** Repairs what can be repaired without a question. @throws ExecError when a person must look at it */
  check(device: string, fsType: FsType): Promise<void>;
}

const PROBE_TIMEOUT_MS = 60_000;
const MAKE_TIMEOUT_MS = 900_000;
const CHECK_TIMEOUT_MS = 1_800_000;

/**
 * Reads the output of `blkid -p -o export` with its exit code: 0 found, 2 nothing found, 8 several signatures that
 * contradict each other (blkid(8)).
 *
 * @returns undefined when blkid found nothing, which alone does not prove that the device is blank
 */
export function parseBlkid(code: number, stdout: string): DeviceContent | undefined {
  if (code === 2) return undefined;
  if (code === 8) return { kind: 'other', what: 'several signatures that contradict each other' };
  const found = new Map(
    stdout
      .split('\n')
      .map((line) => /^([A-Z0-9_]+)=(.*)$/.exec(line))
      .filter((match) => match !== null)
      .map((match): [string, string] => [match[1] ?? '', match[2] ?? '']),
  );
  const type = found.get('TYPE');
  if (type !== undefined && found.get('USAGE') === 'filesystem') {
    return { kind: 'filesystem', type, unfinished: found.get('LABEL') === MAKING_LABEL };
  }
  if (type !== undefined) return { kind: 'other', what: `${type} (${found.get('USAGE') ?? 'of no known use'})` };
  const table = found.get('PTTYPE');
  if (table !== undefined) return { kind: 'other', what: `a ${table} partition table` };
  return { kind: 'other', what: stdout.trim().replaceAll('\n', ' ') || 'something that blkid has no word for' };
}

/** The real port. */
export function createFilesystems(exec: Exec): Filesystems {
  const isZero = async (device: string, offsetBytes: number, lengthBytes: number): Promise<boolean> => {
    const args = ['-s', '-n', String(lengthBytes), '-i', `${offsetBytes}:0`, '--', device, '/dev/zero'];
    // cmp: 0 equal, 1 different, 2 trouble. A device that ends early differs from /dev/zero.
    return (await exec('cmp', args, { ok: [0, 1], timeoutMs: PROBE_TIMEOUT_MS })).code === 0;
  };

  const sizeOf = async (device: string): Promise<number> => {
    const sizeBytes = Number((await exec('blockdev', ['--getsize64', device])).stdout.trim());
    if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0) return sizeBytes;
    throw new Error(`${device} has no size; the array is not running`);
  };

  return {
    sizeBytes: sizeOf,

    async probe(device) {
      const args = ['-p', '-o', 'export', device];
      const { code, stdout } = await exec('blkid', args, { ok: [0, 2, 8], timeoutMs: PROBE_TIMEOUT_MS });
      const known = parseBlkid(code, stdout);
      if (known !== undefined) return known;
      const sizeBytes = await sizeOf(device);
      const edge = Math.min(MIB, sizeBytes);
      for (const offset of new Set([0, sizeBytes - edge])) {
        if (!(await isZero(device, offset, edge))) {
          const where = offset === 0 ? 'first' : 'last';
          return { kind: 'unknown', what: `data of an unknown kind in its ${where} MiB` };
        }
      }
      return { kind: 'blank' };
    },

    async make(device, fsType) {
      // No discard: the blocks of a new volume are not allocated, and discarding them again takes time on every leg.
      // One -F only: mke2fs (like mkfs.xfs -f) then still refuses a device that is mounted or open elsewhere.
      const [command, args] =
        fsType === 'ext4'
          ? (['mkfs.ext4', ['-q', '-F', '-m', '0', '-E', 'nodiscard', '-L', MAKING_LABEL, device]] as const)
          : (['mkfs.xfs', ['-q', '-f', '-K', '-L', MAKING_LABEL, device]] as const);
      await exec(command, args, { timeoutMs: MAKE_TIMEOUT_MS });
    },

    async finish(device, fsType) {
      // xfs_admin(8): "--" clears the label.
      if (fsType === 'ext4') await exec('tune2fs', ['-L', '', device]);
      else await exec('xfs_admin', ['-L', '--', device]);
    },

    async grow(device, fsType, mountPoint) {
      // Both while it is in use (resize2fs(8), xfs_growfs(8)), and both do nothing to one that has its size.
      const [command, args] =
        fsType === 'ext4' ? (['resize2fs', [device]] as const) : (['xfs_growfs', ['-d', mountPoint]] as const);
      await exec(command, args, { timeoutMs: MAKE_TIMEOUT_MS });
    },

    async check(device, fsType) {
      // An XFS mount replays the log by itself; fsck.xfs does nothing by design (fsck.xfs(8)).
      if (fsType === 'xfs') return;
      // e2fsck(8): 1 means that everything found was repaired.
      const { code } = await exec('e2fsck', ['-p', device], { ok: [0, 1, 2], timeoutMs: CHECK_TIMEOUT_MS });
      // 2 asks for a reboot when the filesystem is mounted. It is not: we own the device.
      if (code === 2) throw new ExecError(`e2fsck -p ${device}: the device is in use`, 'e2fsck');
    },
  };
}
