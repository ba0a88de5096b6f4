import { lstat, mkdir, open, realpath, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A block device as the kernel names it. */
export interface BlockDevice {
  /** Its own node, such as `/dev/md127`, with every symbolic link followed. */
  readonly path: string;
  /** `major:minor`, as in mountinfo. */
  readonly number: string;
}

/** The port to files and folders that volumes are mounted on. Nothing here reads or writes inside a volume. */
export interface Paths {
  /** Makes the folder and those above it. */
  ensureDirectory(path: string): Promise<void>;
  /** Makes an empty file, and the folders above it, for a device to be bound on. */
  ensureFile(path: string): Promise<void>;
  /** Removes an empty folder or file; success when there is none. @throws when it holds something */
  remove(path: string): Promise<void>;
  /** The device behind a path; undefined when there is none. */
  blockDevice(path: string): Promise<BlockDevice | undefined>;
}

/** kubelet's own folders for volumes are closed to others as well. */
const FOLDER_MODE = 0o750;

/** The real port. */
export const hostPaths: Paths = {
  async ensureDirectory(path) {
    await mkdir(path, { recursive: true, mode: FOLDER_MODE });
  },
  async ensureFile(path) {
    await mkdir(dirname(path), { recursive: true, mode: FOLDER_MODE });
    await (await open(path, 'a', 0o640)).close();
  },
  async remove(path) {
    const found = await lstat(path).catch(orMissing);
    if (found === undefined) return;
    if (found.isDirectory()) {
      await rmdir(path);
      return;
    }
    if (!found.isFile() || found.size > 0) throw new Error(`${path} is neither an empty file nor an empty folder`);
    await unlink(path);
  },
  async blockDevice(path) {
    const own = await realpath(path).catch(orMissing);
    const found = own === undefined ? undefined : await stat(own).catch(orMissing);
    if (own === undefined || found === undefined || !found.isBlockDevice()) return undefined;
    return { path: own, number: deviceNumber(found.rdev) };
  },
};

/** Splits a Linux dev_t as glibc does (gnu_dev_major, gnu_dev_minor in sysmacros.h). */
export function deviceNumber(rdev: number): string {
  const bits = BigInt(rdev);
  const major = ((bits >> 8n) & 0xfffn) | ((bits >> 32n) & 0xfffff000n);
  const minor = (bits & 0xffn) | ((bits >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

function orMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
  throw error;
}
