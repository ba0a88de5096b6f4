import { run, type Exec } from './exec.ts';
import { listDirectory, readAttribute } from './sysfs.ts';

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
  /** Kernel names of the devices below it; empty when the namespace is gone. */
  readonly below: readonly string[];
}

export interface ValveStatus {
  /** `major:minor` of the path. */
  readonly path: string;
  readonly pathFailed: boolean;
}

/** The valves of this host whose device-mapper name starts with `prefix`, by name. */
export function listValves(prefix: string): ReadonlyMap<string, Valve> {
  const valves = listDirectory('/sys/block')
    .filter((name) => name.startsWith('dm-'))
    .flatMap((device) => {
      const name = readAttribute(`/sys/block/${device}/dm/name`);
      if (name === undefined || !name.startsWith(prefix)) return [];
      const devNo = readAttribute(`/sys/block/${device}/dev`);
      return devNo === undefined ? [] : [{ name, device, devNo, below: listDirectory(`/sys/block/${device}/slaves`) }];
    });
  return new Map(valves.map((valve) => [valve.name, valve]));
}

/** The table of a valve over `devNo`: bio based, one path, queueing. */
export function valveTable(sizeBytes: number, devNo: string): string {
  return `0 ${sizeBytes / 512} multipath 3 queue_if_no_path queue_mode bio 0 1 1 round-robin 0 1 1 ${devNo} 1`;
}

/** Makes a closed valve over a namespace. */
export async function createValve(name: string, sizeBytes: number, devNo: string, exec: Exec = run): Promise<void> {
  await exec('dmsetup', ['create', name, '--table', valveTable(sizeBytes, devNo)]);
}

/** Puts another namespace below a valve; what waits in the valve goes to it. The valve is closed afterwards. */
export async function swapValve(name: string, sizeBytes: number, devNo: string, exec: Exec = run): Promise<void> {
  await exec('dmsetup', ['load', name, '--table', valveTable(sizeBytes, devNo)]);
  await exec('dmsetup', ['suspend', '--noflush', '--nolockfs', name]);
  await exec('dmsetup', ['resume', name]);
}

/**
 * Lets errors pass, so that what waits in the valve fails now. Idempotent.
 * @param path `major:minor` of a path that still works, to be cut; undefined when the kernel has given it up already
 */
export async function openValve(name: string, path: string | undefined, exec: Exec = run): Promise<void> {
  await exec('dmsetup', ['message', name, '0', 'fail_if_no_path']);
  if (path !== undefined) await exec('dmsetup', ['message', name, '0', `fail_path ${path}`], { ok: [0, 1] });
}

/** Uses a path again that the valve had given up. */
export async function reinstatePath(name: string, path: string, exec: Exec = run): Promise<void> {
  await exec('dmsetup', ['message', name, '0', `reinstate_path ${path}`]);
}

/** Removes a valve. Fails when md still holds it. A valve that is gone is no error. */
export async function removeValve(name: string, exec: Exec = run): Promise<void> {
  const { stderr, code } = await exec('dmsetup', ['remove', name], { ok: [0, 1] });
  if (code !== 0 && !/No such device|not found|does not exist/i.test(stderr)) {
    throw new Error(`dmsetup remove ${name}: ${stderr.trim()}`);
  }
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

/** The state of a valve's path, or `undefined` when the valve is gone. */
export async function valveStatus(name: string, exec: Exec = run): Promise<ValveStatus | undefined> {
  const { stdout, code } = await exec('dmsetup', ['status', name], { ok: [0, 1] });
  return code === 0 ? parseValveStatus(stdout) : undefined;
}
