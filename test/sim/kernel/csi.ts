import type { Filesystems, FsType } from '../../../lib/host/mkfs.ts';
import { ExecError } from '../../../lib/host/exec.ts';
import type { MountEntry, Mounts } from '../../../lib/host/mount.ts';
import type { ProgramHandle } from '../scheduler.ts';
import type { MdArray } from './md.ts';
import type { CsiHost, KernelWorld } from './types.ts';
import type { MountTable } from './users.ts';

/** What block 0 holds of a filesystem, instead of a user's value. */
const SUPERBLOCK: Readonly<Record<FsType, number>> = { ext4: -4, xfs: -5 };

/** The same of one that is still being made. */
const MAKING: Readonly<Record<FsType, number>> = { ext4: -6, xfs: -7 };

export interface CsiMachine {
  readonly world: KernelWorld;
  readonly mounts: MountTable;
  /** The running array behind `/dev/holdfast/...` or `/dev/md_...`. */
  arrayAt(path: string): MdArray | undefined;
}

/** The tools of the CSI node service. Whatever reads or writes the volume waits for its legs, as a child process would. */
export function csiHost(program: ProgramHandle, machine: () => CsiMachine): CsiHost {
  const turn = async <T>(label: string, effect: (machine: CsiMachine) => Promise<T> | T): Promise<T> =>
    await machine().world.turn(program, label, () => effect(machine()));
  return { mounts: mountsOf(turn, machine), filesystems: filesystemsOf(turn, machine), paths: pathsOf(machine) };
}

type Turn = <T>(label: string, effect: (machine: CsiMachine) => Promise<T> | T) => Promise<T>;

function mountsOf(turn: Turn, machine: () => CsiMachine): Mounts {
  return {
    list: () => Promise.resolve(entries(machine().mounts)),
    canonical: (path) => Promise.resolve(path),
    mount: (device, target, fsType, options) =>
      turn(`mount ${device} ${target}`, async (on) => {
        const array = arrayOf(on, device);
        if (typeOf(SUPERBLOCK, await firstBlock(array)) !== fsType)
          throw new ExecError(`mount ${device}: wrong fs type`, 'mount');
        on.mounts.add(array, fsType, device, { path: target, options: [...options] });
      }),
    bind: (source, target) =>
      turn(`mount --bind ${source} ${target}`, ({ mounts }) => {
        const from = mounts.at(source);
        if (!from) throw new ExecError(`mount: ${source} is no mount`, 'mount');
        from.targets.push({ path: target, options: ['rw'] });
      }),
    makeReadOnly: (target) =>
      turn(`mount -o remount,ro ${target}`, ({ mounts }) => {
        const found = mounts.at(target)?.targets.find(({ path }) => path === target);
        if (!found) throw new ExecError(`mount: ${target} is no mount`, 'mount');
        found.options = ['ro'];
      }),
    unmount: (target) =>
      turn(`umount ${target}`, async ({ mounts }) => {
        const array = mounts.at(target)?.array;
        // What the filesystem has in memory goes out first.
        if (array) await new Promise((resolve) => array.submit({ op: 'flush', block: 0, count: 0 }, resolve));
        try {
          mounts.remove(target, false);
        } catch (error) {
          throw new ExecError(`umount ${target}: ${String(error)}`, 'umount');
        }
      }),
  };
}

function entries(mounts: MountTable): MountEntry[] {
  return mounts.mounted.flatMap(({ array, fsType, source, targets }) =>
    targets.map(({ path, options }, id) => ({
      id,
      device: array.devNo,
      root: '/',
      target: path,
      options: options.includes('ro') ? options : ['rw', ...options],
      fsType,
      source,
      superOptions: ['rw'],
    })),
  );
}

function filesystemsOf(turn: Turn, machine: () => CsiMachine): Filesystems {
  return {
    sizeBytes: (device) => Promise.resolve(arrayOf(machine(), device).sizeBytes),
    probe: (device) =>
      turn(`blkid ${device}`, async (on) => {
        const value = await firstBlock(arrayOf(on, device));
        const type = typeOf(SUPERBLOCK, value) ?? typeOf(MAKING, value);
        if (type !== undefined) return { kind: 'filesystem', type, unfinished: value === MAKING[type] };
        return value === 0 ? { kind: 'blank' } : { kind: 'other', what: `data ${value}` };
      }),
    make: (device, fsType) =>
      turn(`mkfs.${fsType} ${device}`, async (on) => {
        on.world.onFormat?.();
        await writeFirstBlock(arrayOf(on, device), MAKING[fsType]);
      }),
    finish: (device, fsType) =>
      turn(`tune2fs ${device}`, (on) => writeFirstBlock(arrayOf(on, device), SUPERBLOCK[fsType])),
    grow: () => Promise.resolve(),
    check: (device) => turn(`fsck ${device}`, async (on) => void (await firstBlock(arrayOf(on, device)))),
  };
}

/** The value of an array's first block: a superblock, 0 for none, or a user's data. */
async function firstBlock(array: MdArray): Promise<number> {
  return await whenOpen<number>(array, (done) =>
    array.submit({ op: 'read', block: 0, count: 1 }, (status, values) => done(status === 'ok', values?.[0] ?? 0)),
  );
}

async function writeFirstBlock(array: MdArray, value: number): Promise<void> {
  await whenOpen(array, (done) =>
    array.submit({ op: 'write', block: 0, count: 1, values: [value], fua: true }, (status) =>
      done(status === 'ok', undefined),
    ),
  );
}

const typeOf = (marks: Readonly<Record<FsType, number>>, value: number): FsType | undefined =>
  (Object.keys(marks) as FsType[]).find((type) => marks[type] === value);

/** I/O of a tool: the array is open meanwhile. */
async function whenOpen<T>(array: MdArray, io: (done: (ok: boolean, value: T) => void) => void): Promise<T> {
  array.openers += 1;
  return await new Promise((resolve, reject) => {
    io((ok, value) => {
      array.openers -= 1;
      if (ok) resolve(value);
      else reject(new ExecError(`${array.name}: input/output error`, 'io'));
    });
  });
}

function arrayOf(machine: CsiMachine, device: string): MdArray {
  const array = machine.arrayAt(device);
  if (!array) throw new ExecError(`${device}: no such device`, 'open');
  return array;
}

function pathsOf(machine: () => CsiMachine): CsiHost['paths'] {
  return {
    ensureDirectory: () => Promise.resolve(),
    ensureFile: () => Promise.resolve(),
    remove: (path) => (machine().mounts.at(path) ? Promise.reject(new Error(`${path}: EBUSY`)) : Promise.resolve()),
    blockDevice(path) {
      const array = machine().arrayAt(path);
      return Promise.resolve(array && { path: `/dev/${array.name}`, number: array.devNo });
    },
  };
}
