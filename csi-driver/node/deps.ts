import type { VolumeConnection } from '../../lib/api/index.ts';
import { ExecError } from '../../lib/host/exec.ts';
import type { Exec } from '../../lib/host/exec.ts';
import type { Filesystems } from '../../lib/host/mkfs.ts';
import { mountAt, type MountEntry, type Mounts } from '../../lib/host/mount.ts';
import { CsiError } from '../grpc/errors.ts';
import type { AttachedDevices } from './device.ts';
import type { FormatRecord } from './format-record.ts';
import type { Paths } from './paths.ts';

/** What the node service works with: the volume's device, the mount table, mkfs, and the record of a format under way. */
export interface NodeDeps {
  readonly node: string;
  /** How many volumes this node takes; 0 for no limit. */
  readonly maxVolumes: number;
  /** The labels by which it is told from where this node's volumes can be used. */
  readonly topology: () => Promise<Readonly<Record<string, string>>>;
  readonly devices: AttachedDevices;
  /** The connections of this node, as they were a moment ago. */
  readonly connections: () => readonly VolumeConnection[];
  readonly mounts: Mounts;
  readonly filesystems: Filesystems;
  readonly formatRecord: FormatRecord;
  readonly paths: Paths;
  readonly exec: Exec;
}

/** More mounts on one path than this are not ours. */
const MAX_STACKED_MOUNTS = 16;

/** What is mounted at a path; `path` as the mount table spells it. */
export interface Look {
  readonly path: string;
  readonly mount: MountEntry | undefined;
  readonly all: readonly MountEntry[];
}

/** What is mounted at a path, together with the path as the mount table spells it. */
export async function lookAt(mounts: Mounts, path: string): Promise<Look> {
  const canonical = await mounts.canonical(path);
  const all = await mounts.list();
  return { path: canonical, mount: mountAt(all, canonical), all };
}

/** {@link lookAt}; undefined when there is no folder that holds the path. */
export async function lookIfThere(mounts: Mounts, path: string): Promise<Look | undefined> {
  return await lookAt(mounts, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
}

/**
 * Takes away every mount at a path. Success when there is none, or no such path.
 *
 * @throws CsiError (FAILED_PRECONDITION, HF407) while a process uses it
 */
export async function unmountAll(mounts: Mounts, path: string): Promise<void> {
  for (let count = 0; count < MAX_STACKED_MOUNTS; count++) {
    const found = await lookIfThere(mounts, path);
    if (found?.mount === undefined) return;
    try {
      await mounts.unmount(found.path);
    } catch (error) {
      if (!(error instanceof ExecError)) throw error;
      throw new CsiError('FAILED_PRECONDITION', 'HF407', `${found.path} can't be unmounted: ${error.message}`);
    }
  }
  throw new CsiError('FAILED_PRECONDITION', 'HF412', `more than ${MAX_STACKED_MOUNTS} mounts are stacked on ${path}`);
}
