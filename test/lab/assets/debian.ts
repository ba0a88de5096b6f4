import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { LabError, hasCode } from '../errors.ts';
import { run } from '../process.ts';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
/** The guest is this release of Debian, whatever the host is. */
export const GUEST_SUITE = 'bookworm';
export const BACKPORTS = 'bookworm-backports';

/** The first package mirror that a deb822 file (*.sources) or an old sources.list names, leaving out the security one. */
export function parseMirror(text: string): string | undefined {
  const deb822 = [...text.matchAll(/^URIs:\s*(.+)$/gm)].flatMap((match) => (match[1] ?? '').trim().split(/\s+/));
  const oneLine = [...text.matchAll(/^deb\s+(?:\[[^\]]*\]\s+)?(\S+)/gm)].map((match) => match[1] ?? '');
  return [...deb822, ...oneLine].find((uri) => /^(https?|file|ftp):/.test(uri) && !/security/.test(uri));
}

/**
 * The Debian mirror to use: HOLDFAST_DEBIAN_MIRROR, else the one that this machine's own apt uses. Throws LabError when
 * the machine isn't Debian and none is named.
 */
export async function debianMirror(env: Readonly<Record<string, string | undefined>> = process.env): Promise<string> {
  const given = env['HOLDFAST_DEBIAN_MIRROR'];
  if (given !== undefined && given !== '') return given;
  const texts: string[] = [];
  for (const file of ['/etc/apt/sources.list.d/debian.sources', '/etc/apt/sources.list']) {
    texts.push(
      await readFile(file, 'utf8').catch((error: unknown) => {
        if (hasCode(error, 'ENOENT')) return '';
        throw error;
      }),
    );
  }
  const osRelease = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const mirror = /^ID=debian$/m.test(osRelease) ? parseMirror(texts.join('\n')) : undefined;
  if (mirror === undefined) {
    throw new LabError(
      'the lab builds its guest from Debian packages, and this machine has no Debian mirror configured. ' +
        'Set HOLDFAST_DEBIAN_MIRROR to the URL of one (the folder that holds dists/ and pool/).',
    );
  }
  return mirror;
}

/** One line for a sources.list. */
export function sourceLine(mirror: string, suite: string): string {
  return `deb [signed-by=${KEYRING}] ${mirror} ${suite} main`;
}

/** Our own package lists and downloads in a folder: nothing of the machine's apt changes. */
export interface PrivateApt {
  /** The first dependency of a package whose name matches. "name/suite" picks one suite's package. */
  readonly dependencyOf: (name: string, pattern: RegExp) => Promise<string>;
  /** Downloads packages (without dependencies) and unpacks them into a folder. */
  readonly unpack: (names: readonly string[], into: string) => Promise<void>;
}

/** Fetches the package lists of some suites into `dir`. */
export async function privateApt(dir: string, mirror: string, suites: readonly string[]): Promise<PrivateApt> {
  const list = path.join(dir, 'sources.list');
  for (const folder of ['lists/partial', 'cache/archives/partial']) {
    await mkdir(path.join(dir, folder), { recursive: true });
  }
  await writeFile(list, `${suites.map((suite) => sourceLine(mirror, suite)).join('\n')}\n`);
  const settings = {
    'Dir::Etc::sourcelist': list,
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': path.join(dir, 'lists'),
    'Dir::State::status': '/dev/null',
    'Dir::Cache': path.join(dir, 'cache'),
    // apt drops to its own user for downloads, who can't write into our folder
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const patience = { timeoutMs: 10 * 60_000, diesWithUs: true };
  // apt calls a list that it could not fetch a warning, unless told otherwise
  await run('apt-get', [...options, '-q', '--error-on=any', 'update'], patience);
  return {
    dependencyOf: async (name, pattern) => {
      const shown = await run('apt-cache', [...options, 'depends', '--important', name]);
      const found = shown.stdout
        .toString()
        .split('\n')
        .map((line) => /Depends: (\S+)/.exec(line)?.[1])
        .find((dependency) => dependency !== undefined && pattern.test(dependency));
      if (found === undefined)
        throw new LabError(`the package ${name} of ${suites.join(', ')} depends on no ${pattern}`);
      return found;
    },
    unpack: async (names, into) => {
      const debs = path.join(dir, 'debs');
      await mkdir(debs, { recursive: true });
      await run('apt-get', [...options, '-q', 'download', ...names], { ...patience, cwd: debs });
      const plain = names.map((name) => name.replace(/\/.*/, ''));
      const files = (await readdir(debs)).filter((file) => plain.some((name) => file.startsWith(`${name}_`)));
      await mkdir(into, { recursive: true });
      for (const file of files) await run('dpkg-deb', ['-x', path.join(debs, file), into]);
      if (files.length < names.length) throw new LabError(`apt-get download left out some of ${names.join(', ')}`);
    },
  };
}
