import { readFile, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Exec } from './exec.ts';

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)). */
export interface MountEntry {
  readonly id: number;
  /** `major:minor` of the filesystem's device; for a bound device node that of devtmpfs. */
  readonly device: string;
  /** The path inside the filesystem that is mounted here: `/` unless it is a bind mount of something below. */
  readonly root: string;
  readonly target: string;
  /** Options of this mount, such as `ro`. */
  readonly options: readonly string[];
  readonly fsType: string;
  readonly source: string;
  /** Options of the filesystem itself, shared by all its mounts. */
  readonly superOptions: readonly string[];
}

/** The port to the mount table of this machine. */
export interface Mounts {
  /** The mount table, in the order in which it was built: of several mounts on one path the last is on top. */
  list(): Promise<readonly MountEntry[]>;
  /** The path as the mount table spells it: symbolic links in its folder are followed, the last part is not touched. */
  canonical(path: string): Promise<string>;
  /** Mounts the filesystem on `device`. @throws ExecError with mount(8)'s reason */
  mount(device: string, target: string, fsType: string, options: readonly string[]): Promise<void>;
  /** Makes `source` (a folder or a file) visible at `target` too. @throws ExecError */
  bind(source: string, target: string): Promise<void>;
  /** Makes a bind mount read-only, without touching the other mounts of the filesystem. @throws ExecError */
  makeReadOnly(target: string): Promise<void>;
  /** Takes away the topmost mount. @throws ExecError while a process has a file open below it */
  unmount(target: string): Promise<void>;
}

/** Writes the filesystem's journal out: it may take as long as the legs do. */
const UNMOUNT_TIMEOUT_MS = 300_000;
/** A mount replays the journal. */
const MOUNT_TIMEOUT_MS = 300_000;

/**
 * Parses the text of /proc/self/mountinfo.
 *
 * @throws Error for a line that is not of the documented form
 */
export function parseMountInfo(text: string): MountEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [before, after] = line.split(' - ', 2).map((half) => half.split(' '));
      const [id, , device, root, target, options] = before ?? [];
      const [fsType, source, superOptions] = after ?? [];
      if (!id || !device || !root || !target || options === undefined || !fsType || source === undefined) {
        throw new Error(`mountinfo: a line that can't be understood: ${line}`);
      }
      return {
        id: Number(id),
        device,
        root: unescape(root),
        target: unescape(target),
        options: options.split(','),
        fsType,
        source: unescape(source),
        superOptions: (superOptions ?? '').split(','),
      };
    });
}

/** The mount that is seen at `target`, or undefined when nothing is mounted just there. */
export function mountAt(entries: readonly MountEntry[], target: string): MountEntry | undefined {
  return entries.findLast((entry) => entry.target === target);
}

/** The real port. mount and umount get the path as it is: looking through it could wait for a stalled device. */
export function createMounts(exec: Exec): Mounts {
  return {
    async list() {
      return parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
    },
    async canonical(path) {
      return join(await realpath(dirname(path)), basename(path));
    },
    async mount(device, target, fsType, options) {
      const flags = options.length === 0 ? [] : ['-o', options.join(',')];
      await exec('mount', ['-t', fsType, ...flags, '--', device, target], { timeoutMs: MOUNT_TIMEOUT_MS });
    },
    async bind(source, target) {
      await exec('mount', ['--bind', '--', source, target]);
    },
    async makeReadOnly(target) {
      await exec('mount', ['-o', 'remount,bind,ro', '--', target]);
    },
    async unmount(target) {
      await exec('umount', ['--no-canonicalize', '--', target], { timeoutMs: UNMOUNT_TIMEOUT_MS });
    },
  };
}

/** The kernel writes space, tab, newline and backslash as three octal digits (fs/proc_namespace.c, mangle). */
function unescape(field: string): string {
  return field.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
