import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import path from 'node:path';
import { elfNeedsOf } from './elf.ts';
import type { UnpackedPackage } from './packages.ts';

/** A file or a symbolic link, where it is to lie in an image, relative to the root. */
export interface TreeEntry {
  readonly path: string;
  /** The file to copy; for a link undefined. */
  readonly source: string | undefined;
  /** Where a link leads, as it is to be written. */
  readonly target: string | undefined;
  readonly executable: boolean;
  /** The package that it is from. */
  readonly package: UnpackedPackage;
}

/** Everything in some packages by its path, with /bin, /sbin, /lib and /lib64 below /usr, as Debian installs it. */
export type PackageFiles = ReadonlyMap<string, TreeEntry>;

/** Looks into unpacked packages. */
export async function indexPackages(packages: readonly UnpackedPackage[]): Promise<PackageFiles> {
  const found = new Map<string, TreeEntry>();
  for (const one of packages) {
    for (const entry of await readdir(one.dir, { recursive: true, withFileTypes: true })) {
      if (entry.isDirectory()) continue;
      const source = path.join(entry.parentPath, entry.name);
      const at = merged(path.relative(one.dir, source));
      const link = entry.isSymbolicLink();
      const executable = !link && ((await lstat(source)).mode & 0o111) !== 0;
      const target = link ? await readlink(source) : undefined;
      found.set(at, { path: at, source: link ? undefined : source, target, executable, package: one });
    }
  }
  return found;
}

/** The path after the merge of / and /usr. */
function merged(name: string): string {
  return /^(bin|sbin|lib|lib64)\//.test(name) ? `usr/${name}` : name;
}

/** Where a link leads, as a path from the root. */
function leadsTo({ path: at, target = '' }: TreeEntry): string {
  return merged(
    path.posix.normalize(target.startsWith('/') ? target.slice(1) : path.posix.join(path.posix.dirname(at), target)),
  );
}

const PROGRAM_FOLDERS = ['usr/bin', 'usr/sbin'];
const LIBRARY_FOLDERS = ['usr/lib/x86_64-linux-gnu', 'usr/lib/aarch64-linux-gnu', 'usr/lib', 'usr/lib64'];

export interface Wanted {
  /** Names of programs. */
  readonly programs: readonly string[];
  /** Paths of other files. */
  readonly files: readonly string[];
  /** ELF files from elsewhere whose libraries are wanted. */
  readonly guests: readonly string[];
}

/**
 * Picks programs and all that they need to start: what links lead to, the loader, shared libraries, a script's interpreter; and
 * the licence of each package that something is from.
 *
 * @throws Error when something isn't in the packages
 */
export async function pick(files: PackageFiles, wanted: Wanted): Promise<TreeEntry[]> {
  const picked = new Map<string, TreeEntry>();
  const add = async (at: string, why: string): Promise<void> => {
    if (picked.has(at)) return;
    const entry = files.get(at);
    if (entry === undefined) throw new Error(`${why}: no package holds ${at}`);
    picked.set(at, entry);
    if (entry.source === undefined) await add(leadsTo(entry), at);
    else if (entry.executable || at.includes('.so')) await needsOf(entry.source, at);
  };
  const needsOf = async (source: string, why: string): Promise<void> => {
    const needs = await elfNeedsOf(source);
    if (needs === undefined) {
      const interpreter = /^#! *(\S+)/.exec((await readFile(source, 'latin1')).slice(0, 200))?.[1];
      if (interpreter !== undefined) await add(merged(interpreter.slice(1)), why);
      return;
    }
    if (needs.interpreter !== undefined) await add(merged(needs.interpreter.slice(1)), why);
    for (const library of needs.libraries) await add(within(LIBRARY_FOLDERS, library, why), why);
  };
  const within = (folders: readonly string[], name: string, why: string): string => {
    const at = folders.map((folder) => `${folder}/${name}`).find((candidate) => files.has(candidate));
    if (at === undefined) throw new Error(`${why}: no package holds ${name} in ${folders.join(', ')}`);
    return at;
  };
  for (const name of wanted.programs) await add(within(PROGRAM_FOLDERS, name, 'the image'), 'the image');
  for (const file of wanted.files) await add(file, 'the image');
  for (const guest of wanted.guests) await needsOf(guest, guest);
  for (const one of new Set([...picked.values()].map((entry) => entry.package))) {
    const entry = licenceOf(files, one.locked.name);
    picked.set(entry.path, entry);
  }
  return [...picked.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The copyright file of a package; some share the folder of another package. */
function licenceOf(files: PackageFiles, name: string): TreeEntry {
  const folder = files.get(`usr/share/doc/${name}`);
  const at = `${folder === undefined ? `usr/share/doc/${name}` : leadsTo(folder)}/copyright`;
  const entry = files.get(at);
  if (entry === undefined) throw new Error(`${name} has no copyright file`);
  return entry;
}
