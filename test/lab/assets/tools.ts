import { readFile } from 'node:fs/promises';
import { LabError, hasCode } from '../errors.ts';
import { findProgram, run } from '../process.ts';
import type { Progress } from '../progress.ts';

/** A host program and the Debian package that holds it. */
export interface HostTool {
  readonly program: string;
  readonly package: string;
}

/** What building the guest's files needs on the host. */
export const buildTools: readonly HostTool[] = [
  { program: 'apt-get', package: 'apt' },
  { program: 'dpkg-deb', package: 'dpkg' },
  { program: 'mmdebstrap', package: 'mmdebstrap' },
  { program: 'mkfs.erofs', package: 'erofs-utils' },
  { program: 'cpio', package: 'cpio' },
  { program: 'depmod', package: 'kmod' },
  { program: 'xz', package: 'xz-utils' },
];

/** What running a lab needs on the host. */
export const runTools: readonly HostTool[] = [
  { program: 'unshare', package: 'util-linux' },
  { program: 'setpriv', package: 'util-linux' },
  { program: 'flock', package: 'util-linux' },
  { program: 'ip', package: 'iproute2' },
  { program: 'mkfs.erofs', package: 'erofs-utils' },
  { program: 'openssl', package: 'openssl' },
];

export interface Distribution {
  /** "debian", "ubuntu", … of /etc/os-release. */
  readonly id: string;
  /** "bookworm", … or the empty string. */
  readonly codename: string;
}

/** Reads what /etc/os-release says. */
export function parseOsRelease(text: string): Distribution {
  const value = (name: string): string => new RegExp(`^${name}="?([^"\n]*)"?$`, 'm').exec(text)?.[1] ?? '';
  return { id: value('ID'), codename: value('VERSION_CODENAME') };
}

/** The host's distribution. */
export async function distribution(): Promise<Distribution> {
  try {
    return parseOsRelease(await readFile('/etc/os-release', 'utf8'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return { id: '', codename: '' };
    throw error;
  }
}

/** The packages of the tools that aren't there, each once. */
export function missingPackages(
  tools: readonly HostTool[],
  find: (program: string) => string | undefined = findProgram,
): string[] {
  return [...new Set(tools.filter((tool) => find(tool.program) === undefined).map((tool) => tool.package))];
}

/**
 * Sees to it that the tools are there: as root on Debian (and its kin) missing ones are installed with apt-get, and it
 * says so; otherwise throws LabError with the command that would do it.
 */
export async function requireTools(tools: readonly HostTool[], progress: Progress): Promise<void> {
  const missing = missingPackages(tools);
  if (missing.length > 0) await installPackages(missing, progress);
}

/** Installs Debian packages on the host, or throws LabError that says what to do instead. */
export async function installPackages(packages: readonly string[], progress: Progress): Promise<void> {
  const command = `apt-get install --no-install-recommends ${packages.join(' ')}`;
  if (findProgram('apt-get') === undefined) {
    throw new LabError(
      `the lab needs what these Debian packages hold: ${packages.join(', ')}. This machine has no apt-get: install them ` +
        `by your distribution's own means (building the guest needs apt itself, so a Debian container or machine is easiest).`,
    );
  }
  if (process.getuid?.() !== 0) {
    throw new LabError(`the lab needs these packages: ${packages.join(', ')}. Install them: sudo ${command}`);
  }
  await progress.step(`installing Debian packages on this machine: ${packages.join(' ')}`, 30_000, async (note) => {
    const options = {
      env: { DEBIAN_FRONTEND: 'noninteractive' },
      timeoutMs: 15 * 60_000,
      onLine: note,
      diesWithUs: true,
    };
    // A fresh image has no package lists at all; stale ones name versions that the mirror no longer has.
    await run('apt-get', ['-qq', 'update'], options);
    await run('apt-get', ['-qq', '-y', 'install', '--no-install-recommends', ...packages], options);
  });
}
