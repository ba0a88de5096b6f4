import type { Exec } from './exec.ts';
import type { Sysfs } from './sysfs.ts';

/**
 * The valve in front of a leg: a dm-multipath device over one NVMe namespace. Closed (`queue_if_no_path`), an error of
 * the path waits in it; open (`fail_if_no_path`), errors pass to md. The device below can be swapped while it holds I/O.
 * Source: kernel drivers/md/dm-mpath.c.
 */
export interface Valve {
  /** device-mapper name. */
  readonly name: string;
  /** Kernel name, e.g. `dm-4`. */
  readonly device: string;
  /** `major:minor` of the valve itself. */
  readonly devNo: string;
  /** Kernel names of the devices below it, also of one that is gone; its name is not used again while the valve holds it. */
  readonly below: readonly string[];
  readonly sizeBytes: number;
  /** In the middle of a swap, or left so: all I/O in it waits. */
  readonly suspended: boolean;
}

/** `closed`: I/O without a path waits. `open`: it fails. */
export type ValveState = 'closed' | 'open';

export interface ValveStatus {
  /** `major:minor` of the path. */
  readonly path: string;
  readonly pathFailed: boolean;
}

/** The port to valves. Each change may be tried again at any time. @throws ExecError with what dmsetup said */
export interface Valves {
  /** The valves of this host whose device-mapper name starts with `prefix`, by name. */
  list(prefix: string): ReadonlyMap<string, Valve>;
  /** The state of a valve's path, or `undefined` when the valve is gone. */
  status(name: string): Promise<ValveStatus | undefined>;
  /** Makes a valve over a namespace, in place of one of the same name that nobody holds. */
  make(name: string, sizeBytes: number, devNo: string, state: ValveState): Promise<Pick<Valve, 'device' | 'devNo'>>;
  /** Puts another namespace below a valve; what waits in the valve goes to it. The valve is closed afterwards. */
  swap(name: string, sizeBytes: number, devNo: string): Promise<void>;
  /**
   * Lets errors pass, so that what waits in the valve fails now.
   * A valve that is gone is no error.
   * @param path `major:minor` of a path that still works, to be cut; undefined when the kernel has given it up already
   */
  open(name: string, path: string | undefined): Promise<void>;
  /** Lets I/O wait again while there is no path. */
  close(name: string): Promise<void>;
  /** Uses a path again that the valve had given up. */
  reinstatePath(name: string, path: string): Promise<void>;
  /** Removes a valve. Fails when md still holds it. A valve that is gone is no error. */
  remove(name: string): Promise<void>;
}

/** The port over sysfs and dmsetup(8). */
export function createValves(sysfs: Sysfs, exec: Exec): Valves {
  const unlessGone = async (args: readonly string[]): Promise<void> => {
    const { stderr, code } = await exec('dmsetup', args, { ok: [0, 1] });
    if (code !== 0 && !/No such device|not found|does not exist/i.test(stderr)) {
      throw new Error(`dmsetup ${args.join(' ')}: ${stderr.trim()}`);
    }
  };
  const remove = (name: string): Promise<void> => unlessGone(['remove', name]);
  return {
    list: (prefix) => listValves(sysfs, prefix),
    async status(name) {
      const { stdout, code } = await exec('dmsetup', ['status', name], { ok: [0, 1] });
      return code === 0 ? parseValveStatus(stdout) : undefined;
    },
    async make(name, sizeBytes, devNo, state) {
      if (listValves(sysfs, name).has(name)) await remove(name);
      await exec('dmsetup', ['create', name, '--table', valveTable(sizeBytes, devNo, state)]);
      const made = listValves(sysfs, name).get(name);
      if (made === undefined) throw new Error(`dmsetup made ${name}, and it is not in /sys/block`);
      return { device: made.device, devNo: made.devNo };
    },
    async swap(name, sizeBytes, devNo) {
      await exec('dmsetup', ['load', name, '--table', valveTable(sizeBytes, devNo)]);
      await exec('dmsetup', ['suspend', '--noflush', '--nolockfs', name]);
      await exec('dmsetup', ['resume', name]);
    },
    async open(name, path) {
      // A swap that was cut off has left it so: it takes no message then (dm-mpath.c, multipath_message), and ends no I/O.
      if (listValves(sysfs, name).get(name)?.suspended === true) {
        await unlessGone(['clear', name]);
        await unlessGone(['resume', name]);
      }
      await unlessGone(['message', name, '0', 'fail_if_no_path']);
      if (path !== undefined) await exec('dmsetup', ['message', name, '0', `fail_path ${path}`], { ok: [0, 1] });
    },
    async close(name) {
      await exec('dmsetup', ['message', name, '0', 'queue_if_no_path']);
    },
    async reinstatePath(name, path) {
      await exec('dmsetup', ['message', name, '0', `reinstate_path ${path}`]);
    },
    remove,
  };
}

function listValves(sysfs: Sysfs, prefix: string): ReadonlyMap<string, Valve> {
  const valves = sysfs
    .listDirectory('/sys/block')
    .filter((name) => name.startsWith('dm-'))
    .flatMap((device) => {
      const name = sysfs.readAttribute(`/sys/block/${device}/dm/name`);
      if (name === undefined || !name.startsWith(prefix)) return [];
      const devNo = sysfs.readAttribute(`/sys/block/${device}/dev`);
      const sizeBytes = Number(sysfs.readAttribute(`/sys/block/${device}/size`) ?? 0) * 512;
      const suspended = sysfs.readAttribute(`/sys/block/${device}/dm/suspended`) === '1';
      const below = sysfs.listDirectory(`/sys/block/${device}/slaves`);
      return devNo === undefined ? [] : [{ name, device, devNo, below, sizeBytes, suspended }];
    });
  return new Map(valves.map((valve) => [valve.name, valve]));
}

/** The table of a valve over `devNo`: bio based, one path. */
export function valveTable(sizeBytes: number, devNo: string, state: ValveState = 'closed'): string {
  const features = state === 'closed' ? '3 queue_if_no_path queue_mode bio' : '2 queue_mode bio';
  return `0 ${sizeBytes / 512} multipath ${features} 0 1 1 round-robin 0 1 1 ${devNo} 1`;
}

/** Parses `dmsetup status` of a multipath target with one path. */
export function parseValveStatus(text: string): ValveStatus | undefined {
  // 0 131072 multipath 2 QUEUED 0 0 0 1 1 A 0 1 0 259:3 A 0   (dm-mpath.c, multipath_status, STATUSTYPE_INFO)
  const words = text.trim().split(/\s+/);
  if (words[2] !== 'multipath') return undefined;
  const at = words.findIndex((word, index) => index > 4 && /^\d+:\d+$/.test(word));
  const path = words[at];
  return path === undefined ? undefined : { path, pathFailed: words[at + 1] === 'F' };
}
