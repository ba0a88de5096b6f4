import { readdir, readFile, readlink } from 'node:fs/promises';
import type { Exec } from '../../../lib/host/exec.ts';
import type { DeviceUsers } from './ports.ts';

/** A mount of a device as this process's mount namespace shows it. */
export interface Mount {
  readonly devNo: string;
  readonly mountPoint: string;
}

/** Parses `/proc/<pid>/mountinfo` (proc(5)): the third word is major:minor, the fifth the mount point. */
export function parseMountInfo(text: string): Mount[] {
  return text
    .split('\n')
    .map((line) => line.split(' '))
    .filter((words) => words.length > 5)
    .map((words) => ({ devNo: words[2] ?? '', mountPoint: unescape(words[4] ?? '') }));
}

/** mountinfo writes space, tab, newline and backslash as octal escapes. */
function unescape(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The users of devices of this machine. */
export function createDeviceUsers(exec: Exec): DeviceUsers {
  return {
    mountPoints: mountPointsOf,
    list: usersOf,
    kill(pid) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    },
    async unmountLazily(mountPoint) {
      await exec('umount', ['--lazy', mountPoint], { ok: [0, 1, 32] });
    },
  };
}

/** Where a device is mounted, seen from this process, innermost first. */
async function mountPointsOf(devNo: string): Promise<string[]> {
  const mounts = parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
  return mounts
    .filter((mount) => mount.devNo === devNo)
    .map((mount) => mount.mountPoint)
    .reverse();
}

/**
 * The processes that use a mounted or opened device: those whose own mount namespace (a container's) has it mounted,
 * and those of our namespace with an open file, a working directory or a mapping below one of its mount points.
 */
async function usersOf(devNo: string, devicePaths: readonly string[]): Promise<number[]> {
  const mountPoints = await mountPointsOf(devNo);
  const below = (path: string): boolean =>
    devicePaths.includes(path) || mountPoints.some((point) => path === point || path.startsWith(`${point}/`));
  const ourNamespace = await readlink('/proc/self/ns/mnt');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const users: number[] = [];
  for (const pid of pids) {
    if (await uses(pid, ourNamespace, devNo, below)) users.push(Number(pid));
  }
  return users;
}

async function uses(
  pid: string,
  ourNamespace: string,
  devNo: string,
  below: (path: string) => boolean,
): Promise<boolean> {
  const namespace = await readlink(`/proc/${pid}/ns/mnt`).catch(() => '');
  if (namespace !== '' && namespace !== ourNamespace) {
    const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '');
    return parseMountInfo(mounts).some((mount) => mount.devNo === devNo);
  }
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = ['cwd', 'root', 'exe', ...fds.map((fd) => `fd/${fd}`)];
  const targets = await Promise.all(links.map((link) => readlink(`/proc/${pid}/${link}`).catch(() => '')));
  return targets.some(below);
}
