import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { debianMirror } from '../test/lab/assets/debian.ts';
import { findProgram, run } from '../test/lab/process.ts';

/** A Debian package as packages.lock.json pins it. */
export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Source package, for the SBOM and for whoever looks for security notices. */
  readonly source: string;
  readonly archive: 'debian' | 'debian-security';
  /** Path below the archive's folder. */
  readonly filename: string;
  readonly sha256: string;
}

export interface Lock {
  /** When the versions were chosen; also the time that the files in the images bear. */
  readonly at: string;
  readonly suite: string;
  readonly architecture: string;
  readonly packages: readonly LockedPackage[];
}

export const LOCK_FILE = path.join(import.meta.dirname, 'packages.lock.json');

export async function readLock(): Promise<Lock> {
  return JSON.parse(await readFile(LOCK_FILE, 'utf8')) as Lock;
}

/** The folder of an archive on the machine's mirror, beside that of the main archive. */
export function archiveUrl(mirror: string, archive: LockedPackage['archive']): string {
  return archive === 'debian' ? mirror : mirror.replace(/\/debian\/?$/, '/debian-security');
}

/** A package's files, in a folder of their own. */
export interface UnpackedPackage {
  readonly locked: LockedPackage;
  readonly dir: string;
  /** Its control file: what dpkg knows of it. */
  readonly control: string;
}

/**
 * Downloads packages and unpacks each into a folder below `dir`, checked against its SHA-256. A version that the mirror no longer
 * has is taken from Debian's archive of everything that it ever had.
 *
 * @throws AggregateError when a package can't be had or is another one
 */
export async function unpackPackages(lock: Lock, dir: string): Promise<UnpackedPackage[]> {
  const mirror = await debianMirror();
  const then = lock.at.replaceAll(/[-:]/g, '');
  await mkdir(dir, { recursive: true });
  const unpacked: UnpackedPackage[] = [];
  for (const locked of lock.packages) {
    const { name, archive, filename, sha256 } = locked;
    const places = [archiveUrl(mirror, archive), `https://snapshot.debian.org/archive/${archive}/${then}`];
    const file = path.join(dir, `${name}.deb`);
    const into = path.join(dir, name);
    await download(
      places.map((place) => `${place}/${filename}`),
      file,
      sha256,
    );
    await run('dpkg-deb', ['-x', file, into], { timeoutMs: 300_000 });
    const control = (await run('dpkg-deb', ['-f', file])).stdout.toString();
    await rm(file);
    unpacked.push({ locked, dir: into, control });
  }
  return unpacked;
}

/** apt's own downloader knows the machine's proxies, and checks the hash. */
async function download(urls: readonly string[], file: string, sha256: string): Promise<void> {
  const helper = findProgram('apt-helper', '/usr/lib/apt') ?? 'apt-helper';
  const problems: unknown[] = [];
  for (const url of urls) {
    try {
      const args = ['-qq', '-o', 'APT::Sandbox::User=root', 'download-file', url, file, `SHA256:${sha256}`];
      await run(helper, args, { timeoutMs: 300_000, diesWithUs: true });
      return;
    } catch (error) {
      problems.push(error);
    }
  }
  throw new AggregateError(
    problems,
    `${urls.join(' and ')}: not to be had, or not what images/packages.lock.json says`,
  );
}

export async function writeLock(lock: Lock): Promise<void> {
  await writeFile(LOCK_FILE, `${JSON.stringify(lock, null, 2)}\n`);
}
