import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, statfs, utimes } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { LabError, hasCode } from './errors.ts';
import { findProgram } from './process.ts';
import { formatBytes, type Progress } from './progress.ts';

/** The folder for everything that is downloaded or built once: HOLDFAST_CACHE, else the user's cache folder. */
export function cacheDir(env: Readonly<Record<string, string | undefined>> = process.env): string {
  const own = env['HOLDFAST_CACHE'];
  if (own !== undefined && own !== '') return path.resolve(own);
  const xdg = env['XDG_CACHE_HOME'];
  if (xdg !== undefined && path.isAbsolute(xdg)) return path.join(xdg, 'holdfast');
  return path.join(env['HOME'] ?? os.homedir(), '.cache', 'holdfast');
}

/** A short key for everything that a cached result depends on. The order of the parts matters. */
export function keyOf(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const bytes = Buffer.from(part);
    hash.update(`${bytes.length}:`).update(bytes);
  }
  return hash.digest('hex').slice(0, 16);
}

export interface CacheEntry {
  /** What it is, the first part of the folder's name: "controlplane", "guest-root", … */
  readonly kind: string;
  readonly key: string;
  /** Room that building needs on disk, in bytes. Checked before anything is begun. */
  readonly needBytes: number;
  /** Fills the given empty folder. */
  readonly build: (dir: string) => Promise<void>;
}

/** The folder of an entry, whether it exists or not. */
export function entryPath(cache: string, entry: Pick<CacheEntry, 'kind' | 'key'>): string {
  return path.join(cache, `${entry.kind}-${entry.key}`);
}

/**
 * Returns the folder of an entry and builds it first when it isn't there. Whoever finds it, finds it complete: it is built
 * in a folder of another name and renamed. Two labs that need the same entry wait for one another. Throws LabError when
 * the disk has too little room.
 */
export async function cached(cache: string, entry: CacheEntry, progress: Progress): Promise<string> {
  const target = entryPath(cache, entry);
  if (existsSync(target)) return await touched(target);
  await mkdir(cache, { recursive: true });
  const release = await lock(path.join(cache, `${entry.kind}.lock`), () =>
    progress.say(`  another lab is building ${entry.kind}: waiting for it`),
  );
  try {
    if (existsSync(target)) return await touched(target);
    await removeLeftOvers(cache, entry.kind);
    await removeOld(cache, entry.kind);
    await requireRoom(cache, entry.needBytes, entry.kind);
    const dir = await mkdtemp(path.join(cache, `tmp-${entry.kind}-`));
    try {
      await entry.build(dir);
      await rename(dir, target);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
    return target;
  } finally {
    release();
  }
}

/** Marks the entry as used, so that a person (or a cleaner) sees by its time which entries are old. */
async function touched(dir: string): Promise<string> {
  const now = new Date();
  await utimes(dir, now, now).catch((error: unknown) => {
    // a cache that another user built is readable, and that is enough
    if (!hasCode(error, 'EPERM') && !hasCode(error, 'EROFS')) throw error;
  });
  return dir;
}

/** What a killed build left behind. Only called under the kind's lock, so nobody is building in these folders. */
async function removeLeftOvers(cache: string, kind: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (name.startsWith(`tmp-${kind}-`)) await rm(path.join(cache, name), { recursive: true, force: true });
  }
}

const OLD_MS = 14 * 24 * 3600_000;

/** Entries of the kind that nobody has asked for in a long time: those of an earlier version of the lab. */
async function removeOld(cache: string, kind: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (!new RegExp(`^${kind}-[0-9a-f]{16}$`).test(name)) continue;
    const dir = path.join(cache, name);
    if (Date.now() - (await stat(dir)).mtimeMs > OLD_MS) await rm(dir, { recursive: true, force: true });
  }
}

/** Throws LabError unless the file system of `dir` has room for so many bytes. */
export async function requireRoom(dir: string, needBytes: number, what: string): Promise<void> {
  const fs = await statfs(dir);
  const freeBytes = fs.bavail * fs.bsize;
  if (freeBytes >= needBytes) return;
  throw new LabError(
    `no room on disk for ${what}: ${dir} has ${formatBytes(freeBytes)} free and ${formatBytes(needBytes)} are needed. ` +
      `Make room, or name another folder with HOLDFAST_CACHE=/some/folder.`,
  );
}

/**
 * Takes an exclusive lock on a file and returns the function that gives it back. The lock is held by a small child
 * (flock(1) of util-linux) that ends when our end of its standard input closes, so that it is gone when we are, however we
 * end. `onWait` is called once when somebody else holds it.
 */
export async function lock(file: string, onWait: () => void): Promise<() => void> {
  if (findProgram('flock') === undefined) throw new LabError(`flock is missing: install the package util-linux`);
  const child = spawn('flock', [file, 'sh', '-c', 'echo locked; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = setTimeout(onWait, 700);
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.once('data', () => resolve());
      child.once('error', reject);
      child.once('exit', (code) => reject(new LabError(`can't lock ${file}: flock ended with ${code}`)));
    });
  } finally {
    clearTimeout(waiting);
  }
  child.stdin.on('error', () => undefined);
  child.stdout.resume();
  child.unref();
  return () => {
    child.stdin.end();
  };
}
