import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { TreeEntry } from './tree.ts';

/** Folders and files that every root has. */
const FOLDERS: Readonly<Record<string, number>> = {
  tmp: 0o1777,
  root: 0o700,
  'usr/bin': 0o755,
  'usr/sbin': 0o755,
  'usr/lib': 0o755,
  'usr/lib64': 0o755,
  etc: 0o755,
  'opt/holdfast': 0o755,
  run: 0o755,
  'var/lib': 0o755,
};

const FILES: Readonly<Record<string, string>> = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/:/bin/false\n',
  'etc/group': 'root:x:0:\nnonroot:x:65532:\n',
  'etc/nsswitch.conf': 'hosts: files dns\n',
};

/** Makes an empty root, with everything below /usr. */
export async function makeRoot(root: string): Promise<void> {
  for (const [folder, mode] of Object.entries(FOLDERS)) {
    await mkdir(path.join(root, folder), { recursive: true });
    await chmod(path.join(root, folder), mode);
  }
  for (const [file, text] of Object.entries(FILES)) await put(path.join(root, file), text);
  for (const link of ['bin', 'sbin', 'lib', 'lib64']) await symlink(`usr/${link}`, path.join(root, link));
}

/**
 * Copies what was picked, with what dpkg knows of its packages, where scanners of images without dpkg look for it. Nothing gets the
 * right to run as another user: the programs of an image have the rights that they need.
 */
export async function fillRoot(root: string, entries: readonly TreeEntry[]): Promise<void> {
  for (const { path: at, source, target, executable } of entries) {
    const file = path.join(root, at);
    await mkdir(path.dirname(file), { recursive: true });
    if (source === undefined) await symlink(target ?? '', file);
    else {
      await copyFile(source, file);
      await chmod(file, executable ? 0o755 : 0o644);
    }
  }
  for (const { locked, control } of new Set(entries.map((entry) => entry.package))) {
    await put(path.join(root, 'var/lib/dpkg/status.d', locked.name), control);
  }
}

async function put(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text, { mode: 0o644 });
}
