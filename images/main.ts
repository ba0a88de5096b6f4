/** Builds the container images: `make images`. Needs a Debian machine (dpkg-deb, apt-helper), but neither root nor Docker. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { formatBytes, terminalProgress } from '../test/lab/progress.ts';
import { buildImages, ownVersion, type BuiltImage } from './build.ts';

const HELP = `Builds Holdfast's container images as OCI archives, with an SBOM each.

usage: node images/main.ts [OPTIONS]

  --output DIR     where to write them (default build/images)
  --prefix TEXT    in front of their names, for example registry.example/team/
  --tag TAG        default: the version in package.json
  --verify         build all of it twice, from nothing, and compare: the same sources must give the same bytes
`;

const { values } = parseArgs({
  options: {
    output: { type: 'string', default: path.join(import.meta.dirname, '../build/images') },
    prefix: { type: 'string', default: '' },
    tag: { type: 'string' },
    verify: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});

const progress = terminalProgress(process.stderr);
const options = { prefix: values.prefix, tag: values.tag ?? (await ownVersion()), progress };

if (values.help) process.stdout.write(HELP);
else if (values.verify) process.exitCode = await verify();
else report(await buildImages({ ...options, output: path.resolve(values.output) }));

function report(images: readonly BuiltImage[]): void {
  for (const { name, digest, compressedBytes, unpackedBytes, user } of images) {
    const size = `${formatBytes(compressedBytes)} to download, ${formatBytes(unpackedBytes)} on the node`;
    process.stdout.write(`${name}\n  ${digest}\n  ${size}, user ${user}\n`);
  }
  process.stdout.write(`archives and SBOMs: ${path.relative(process.cwd(), path.resolve(values.output))}\n`);
}

async function verify(): Promise<number> {
  const digests: string[] = [];
  for (const attempt of ['first', 'second']) {
    const dir = await mkdtemp(path.join(os.tmpdir(), `holdfast-${attempt}-`));
    try {
      const images = await buildImages({ ...options, output: dir, cache: path.join(dir, 'cache') });
      digests.push(images.map(({ name, digest }) => `${name} ${digest}`).join('\n'));
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }
  const same = digests[0] === digests[1];
  process.stdout.write(same ? `twice the same:\n${digests[0]}\n` : `not the same:\n${digests.join('\n\n')}\n`);
  return same ? 0 : 1;
}
