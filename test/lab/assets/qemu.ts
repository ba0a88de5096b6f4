import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cached, keyOf } from '../cache.ts';
import { LabError } from '../errors.ts';
import { findProgram, run } from '../process.ts';
import type { Progress } from '../progress.ts';
import { BACKPORTS, GUEST_SUITE, debianMirror, privateApt } from './debian.ts';
import { buildTools, distribution, installPackages, requireTools } from './tools.ts';

export interface Qemu {
  readonly binary: string;
  /** Arguments that come first: where its firmware is. */
  readonly baseArgs: readonly string[];
  /** For example "10.0.2". */
  readonly version: string;
}

/** QEMU 7.2 with a 6.12 guest boots and then corrupts memory; 10 was seen right. Nothing between was tried. */
const OLDEST = 10;

/** 10 of "QEMU emulator version 10.0.2 (Debian …)". */
export function parseQemuVersion(text: string): { readonly version: string; readonly major: number } | undefined {
  const version = /version (\d+)\.(\d+)\.(\d+)/.exec(text);
  return version === null
    ? undefined
    : { version: `${version[1]}.${version[2]}.${version[3]}`, major: Number(version[1]) };
}

/**
 * A QEMU that is new enough: the machine's own when it is, else (on Debian bookworm) the one of bookworm-backports,
 * unpacked in the cache and run on the machine's libraries. Throws LabError that says what to install.
 */
export async function qemuAssets(cache: string, progress: Progress): Promise<Qemu> {
  const own = findProgram('qemu-system-x86_64');
  if (own !== undefined) {
    const found = await qemuVersion(own);
    if (found !== undefined && found.major >= OLDEST) return { binary: own, baseArgs: [], version: found.version };
  }
  const host = await distribution();
  if (host.id !== 'debian' || host.codename !== GUEST_SUITE) {
    throw new LabError(
      `the lab needs QEMU ${OLDEST} or newer (the program qemu-system-x86_64); ` +
        `${own === undefined ? 'none is installed' : `${own} is older`}. Install it (Debian and Ubuntu: the package qemu-system-x86).`,
    );
  }
  const dir = await cached(
    cache,
    {
      kind: 'qemu',
      key: keyOf(['1', process.arch]),
      needBytes: 300 * 1024 ** 2,
      build: async (target) => {
        await requireTools(buildTools, progress);
        await progress.step('fetching QEMU from bookworm-backports', 10_000, async () => {
          const apt = path.join(target, 'apt');
          const packages = await privateApt(apt, await debianMirror(), [GUEST_SUITE, BACKPORTS]);
          const names = ['qemu-system-x86', 'qemu-system-common', 'qemu-system-data'];
          await packages.unpack(
            names.map((name) => `${name}/${BACKPORTS}`),
            target,
          );
          await packages.unpack(['seabios'], target);
          await rm(apt, { recursive: true });
          await writeFile(
            path.join(target, 'README'),
            'QEMU of Debian bookworm-backports, unpacked for the Holdfast lab\n',
          );
        });
      },
    },
    progress,
  );
  const binary = path.join(dir, 'usr/bin/qemu-system-x86_64');
  const firmware = ['usr/share/qemu', 'usr/share/seabios'].flatMap((folder) => ['-L', path.join(dir, folder)]);
  let found = await qemuVersion(binary);
  if (found === undefined) {
    // its libraries are those of the stock QEMU package, of the same Debian release
    await installPackages(['qemu-system-x86'], progress);
    found = await qemuVersion(binary);
  }
  if (found === undefined) {
    const why = await run('ldd', [binary], { check: false });
    const libraries = why.stdout
      .toString()
      .split('\n')
      .filter((line) => line.includes('not found'));
    throw new LabError(`${binary} does not start on this machine. Missing libraries:\n${libraries.join('\n')}`);
  }
  return { binary, baseArgs: firmware, version: found.version };
}

async function qemuVersion(binary: string): Promise<ReturnType<typeof parseQemuVersion>> {
  const said = await run(binary, ['--version'], { check: false });
  return said.code === 0 ? parseQemuVersion(said.stdout.toString()) : undefined;
}
