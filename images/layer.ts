import { createHash } from 'node:crypto';
import { readdir, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { run } from '../test/lab/process.ts';

/** A layer of an image: a compressed archive, in the folder of blobs under its digest. */
export interface Layer {
  /** "sha256:…" of the compressed file. */
  readonly digest: string;
  /** "sha256:…" of the archive inside, by which an image's configuration names it. */
  readonly diffId: string;
  readonly sizeBytes: number;
  readonly unpackedBytes: number;
}

/** Far more than a busy machine takes. */
const PACK_TIMEOUT_MS = 30 * 60_000;

export const sha256 = (bytes: string | Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * Packs a folder such that the same files always give the same bytes: sorted, of one time and owner, without what a filesystem
 * adds (reproducible-builds.org, "Archive metadata"). gzip is the GNU program, whose output does not depend on the CPU.
 *
 * @param effort of compression, from 1 to 9
 */
export async function packLayer(dir: string, blobs: string, epochSeconds: number, effort = 9): Promise<Layer> {
  const tar = path.join(blobs, `${path.basename(dir)}.tar`);
  await run(
    'tar',
    [
      ['--create', '--file', tar, '--directory', dir, '--format=posix', '--sort=name', `--mtime=@${epochSeconds}`],
      ['--owner=0', '--group=0', '--numeric-owner', '--hard-dereference'],
      '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime',
      (await readdir(dir)).sort(),
    ].flat(),
    { env: { LC_ALL: 'C', TZ: 'UTC' }, timeoutMs: PACK_TIMEOUT_MS },
  );
  const unpacked = await readFile(tar);
  const diffId = sha256(unpacked);
  await run('gzip', ['--no-name', `-${effort}`, '--force', tar], { timeoutMs: PACK_TIMEOUT_MS });
  const packed = await readFile(`${tar}.gz`);
  const digest = sha256(packed);
  await rename(`${tar}.gz`, path.join(blobs, digest.slice('sha256:'.length)));
  return { digest, diffId, sizeBytes: packed.length, unpackedBytes: unpacked.length };
}
