import type { Filesystems, FsType } from '../../../lib/host/mkfs.ts';
import { ExecError } from '../../../lib/host/exec.ts';
import type { MountEntry, Mounts } from '../../../lib/host/mount.ts';
import type { ProgramHandle } from '../scheduler.ts';
import type { MdArray } from './md.ts';
import type { CsiHost, KernelWorld } from './types.ts';
import type { MountTable } from './users.ts';

/** What block 0 holds of a filesystem, instead of a user's value. */
const SUPERBLOCK: Readonly<Record<FsType, number>> = { ext4: -4, xfs: -5 };

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
        const found = await superblock(array);
        if (found !== fsType) throw new ExecError(`mount ${device}: wrong fs type`, 'mount');
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
        const found = await superblock(arrayOf(on, device));
        if (found === undefined) return { kind: 'blank' };
        return typeof found === 'string'
          ? { kind: 'filesystem', type: found }
          : { kind: 'other', what: `data ${found}` };
      }),
    make: (device, fsType) =>
      turn(`mkfs.${fsType} ${device}`, async (on) => {
        const values = [SUPERBLOCK[fsType]];
        on.world.onFormat?.();
        const array = arrayOf(on, device);
        await whenOpen(array, (done) =>
          array.submit({ op: 'write', block: 0, count: 1, values, fua: true }, (status) =>
            done(status === 'ok', undefined),
          ),
        );
      }),
    check: (device) => turn(`fsck ${device}`, async (on) => void (await superblock(arrayOf(on, device)))),
  };
}

/** The filesystem on an array, undefined for none, a number for a user's data. */
async function superblock(array: MdArray): Promise<FsType | number | undefined> {
  const value = await whenOpen<number | undefined>(array, (done) =>
    array.submit({ op: 'read', block: 0, count: 1 }, (status, values) => done(status === 'ok', values?.[0])),
  );
  const found = (Object.keys(SUPERBLOCK) as FsType[]).find((type) => SUPERBLOCK[type] === value);
  return found ?? (value === 0 ? undefined : value);
}

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
