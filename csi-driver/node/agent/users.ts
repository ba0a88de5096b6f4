import type { Stats } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
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
 * The processes that use a device: those that have it open, or a file, a working directory or a mapping on a filesystem
 * on it, whatever path they came by (a container's device node, a bind mount); and those in whose own mount namespace
 * (a container's) it is mounted.
 */
async function usersOf(devNo: string): Promise<number[]> {
  const ourNamespace = await readlink('/proc/self/ns/mnt');
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const users: number[] = [];
  for (const pid of pids) {
    if (await uses(pid, ourNamespace, devNo)) users.push(Number(pid));
  }
  return users;
}

/** A process that ends while it is looked at is none. */
async function uses(pid: string, ourNamespace: string, devNo: string): Promise<boolean> {
  const namespace = await readlink(`/proc/${pid}/ns/mnt`).catch(() => '');
  if (namespace !== '' && namespace !== ourNamespace) {
    const mounts = await readFile(`/proc/${pid}/mountinfo`, 'utf8').catch(() => '');
    if (parseMountInfo(mounts).some((mount) => mount.devNo === devNo)) return true;
  }
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = ['cwd', 'root', 'exe', ...fds.map((fd) => `fd/${fd}`)];
  const files = await Promise.all(links.map((link) => stat(`/proc/${pid}/${link}`).catch(() => undefined)));
  if (files.some((file) => file !== undefined && isOn(file, devNo))) return true;
  return parseMappedDevices(await readFile(`/proc/${pid}/maps`, 'utf8').catch(() => '')).has(devNo);
}

/** Whether an open file is the device itself, or lies on a filesystem on it. */
export function isOn(file: Pick<Stats, 'dev' | 'rdev' | 'isBlockDevice'>, devNo: string): boolean {
  return devNoOf(file.dev) === devNo || (file.isBlockDevice() && devNoOf(file.rdev) === devNo);
}

/** `major:minor` of a device number as stat(2) gives it (glibc: gnu_dev_major). */
export function devNoOf(dev: number): string {
  const number = BigInt(dev);
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & ~0xfffn);
  const minor = (number & 0xffn) | ((number >> 12n) & ~0xffn & 0xffffffffn);
  return `${major}:${minor}`;
}

/** The devices of what is mapped, by `/proc/<pid>/maps` (proc(5)): the fourth word is major:minor in hexadecimal. */
export function parseMappedDevices(maps: string): ReadonlySet<string> {
  const words = maps.split('\n').map((line) => /^\S+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) /.exec(line));
  return new Set(
    words.flatMap((match) => (match ? [`${parseInt(match[1] ?? '', 16)}:${parseInt(match[2] ?? '', 16)}`] : [])),
  );
}
