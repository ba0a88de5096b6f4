import { readFile } from 'node:fs/promises';

/** udev's daemon has this socket while it runs (udevadm(8)). */
export async function hasUdev(): Promise<boolean> {
  return await readFile('/run/udev/control').then(
    () => true,
    // A socket can't be read (ENXIO), which also says that it is there.
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT' && error.code !== 'ENOTDIR',
  );
}
