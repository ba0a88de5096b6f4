/**
 * Chooses the versions of the Debian packages in the images anew, and writes packages.lock.json. The newest that the suite and its
 * security updates have are taken: `make images-lock`.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { debianMirror } from '../test/lab/assets/debian.ts';
import { run } from '../test/lab/process.ts';
import { BASE_PACKAGES, DEBIAN_SUITE, IMAGES } from './definitions.ts';
import { archiveUrl, unpackPackages, writeLock, type Lock, type LockedPackage } from './packages.ts';
import { pickAll } from './pick-all.ts';

const ARCHITECTURE = 'amd64';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

async function main(): Promise<void> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-lock-'));
  try {
    const at = new Date().toISOString().replace(/\.\d+/, '');
    const all: Lock = {
      at,
      suite: DEBIAN_SUITE,
      architecture: ARCHITECTURE,
      packages: await choose(dir, await debianMirror()),
    };
    // Packages depend on much that none of our programs ever opens.
    const used = new Set((await pickAll(await unpackPackages(all, path.join(dir, 'unpacked')))).used);
    const packages = all.packages.filter((one) => used.has(one));
    await writeLock({ ...all, packages });
    process.stdout.write(`${packages.length} of ${all.packages.length} packages are pinned\n`);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function choose(dir: string, mirror: string): Promise<LockedPackage[]> {
  const suites = [DEBIAN_SUITE, `${DEBIAN_SUITE}-updates`];
  const lines = [
    ...suites.map((suite) => [archiveUrl(mirror, 'debian'), suite]),
    [archiveUrl(mirror, 'debian-security'), `${DEBIAN_SUITE}-security`],
  ].map(([url, suite]) => `deb [signed-by=${KEYRING} arch=${ARCHITECTURE}] ${url} ${suite} main\n`);
  await writeFile(path.join(dir, 'sources.list'), lines.join(''));
  const settings = {
    'Dir::Etc::sourcelist': path.join(dir, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': path.join(dir, 'lists'),
    // As if nothing were installed: every dependency counts.
    'Dir::State::status': '/dev/null',
    'Dir::Cache': path.join(dir, 'cache'),
    'APT::Sandbox::User': 'root',
    'APT::Architecture': ARCHITECTURE,
    'Acquire::Languages': 'none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const apt = async (program: string, ...args: string[]): Promise<string> =>
    (await run(program, [...options, '-q', ...args], { timeoutMs: 300_000, diesWithUs: true })).stdout.toString();
  await run('mkdir', ['-p', `${dir}/lists/partial`, `${dir}/cache/archives/partial`]);
  await apt('apt-get', '--error-on=any', 'update');
  const wanted = [...new Set([...BASE_PACKAGES, ...IMAGES.flatMap(({ packages }) => packages)])];
  const planned = await apt('apt-get', '--simulate', '--no-install-recommends', 'install', ...wanted);
  const chosen = [...planned.matchAll(/^Inst (\S+) \((\S+) /gm)].map(([, name, version]) => `${name}=${version}`);
  const records = (await apt('apt-cache', '--no-all-versions', 'show', ...chosen)).split('\n\n');
  return records
    .filter((record) => record.trim() !== '')
    .map(toPackage)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function toPackage(record: string): LockedPackage {
  const field = (name: string): string | undefined => new RegExp(`^${name}: (\\S+)`, 'm').exec(record)?.[1];
  const need = (name: string): string => {
    const value = field(name);
    if (value === undefined) throw new Error(`a package without ${name}:\n${record}`);
    return value;
  };
  const filename = need('Filename');
  const name = need('Package');
  return {
    name,
    version: need('Version'),
    architecture: need('Architecture'),
    source: field('Source') ?? name,
    archive: filename.startsWith('pool/updates/') ? 'debian-security' : 'debian',
    filename,
    sha256: need('SHA256'),
  };
}

await main();
