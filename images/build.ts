import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { bundle } from '../build.ts';
import type { Progress } from '../test/lab/progress.ts';
import { baseLayers, type BaseLayers } from './base.ts';
import { IMAGES, type ImageDefinition } from './definitions.ts';
import { packLayer, type Layer } from './layer.ts';
import { archiveLayout, finishLayout, makeLayout, writeImage } from './oci.ts';
import { readLock, type Lock } from './packages.ts';
import { npmPackages, spdx } from './sbom.ts';

export interface BuildOptions {
  /** Folder to write into. */
  readonly output: string;
  /** In front of the images' names: "registry.example/team/", or nothing. */
  readonly prefix: string;
  readonly tag: string;
  readonly progress: Progress;
  /** Folder of what is built once; default that of the lab. */
  readonly cache?: string;
}

/** An image as it was written. */
export interface BuiltImage {
  /** With prefix and tag. */
  readonly name: string;
  readonly digest: string;
  /** What has to be downloaded, and what it takes on a node. */
  readonly compressedBytes: number;
  readonly unpackedBytes: number;
  readonly user: string;
  /** An OCI archive, as `ctr images import`, `podman load` and `skopeo copy oci-archive:` take it. */
  readonly archive: string;
  /** The SPDX document. */
  readonly sbom: string;
  /** The layer with our programs, the only one that changes with them. */
  readonly programs: Layer;
}

const root = path.join(import.meta.dirname, '..');

/** Writes an archive and an SBOM of each image, and images.json that lists them. */
export async function buildImages(options: BuildOptions): Promise<BuiltImage[]> {
  // The modes of folders in the layers must not depend on who builds them.
  process.umask(0o022);
  const lock = await readLock();
  const base = await baseLayers(lock, options.progress, options.cache);
  const work = await mkdtemp(path.join(os.tmpdir(), 'holdfast-images-'));
  try {
    await mkdir(options.output, { recursive: true });
    const images: BuiltImage[] = [];
    for (const definition of IMAGES) {
      images.push(await buildImage(definition, options, lock, base, path.join(work, definition.name)));
    }
    await writeFile(path.join(options.output, 'images.json'), `${JSON.stringify(images, null, 2)}\n`);
    return images;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function buildImage(
  definition: ImageDefinition,
  options: BuildOptions,
  lock: Lock,
  base: BaseLayers,
  work: string,
): Promise<BuiltImage> {
  const layout = path.join(work, 'layout');
  const blobs = await makeLayout(layout);
  const tools = base.tools[definition.name];
  const below = tools === undefined ? [base.base] : [base.base, tools];
  for (const { digest } of below) {
    const file = digest.slice('sha256:'.length);
    await copyFile(path.join(base.blobs, file), path.join(blobs, file));
  }
  const metafile = await bundle(definition.bundles, path.join(work, 'programs/opt/holdfast'));
  const programs = await packLayer(path.join(work, 'programs'), blobs, base.epochSeconds);

  const created = new Date(base.epochSeconds * 1000).toISOString().replace('.000', '');
  const version = await ownVersion();
  const name = `${options.prefix}${definition.name}:${options.tag}`;
  const layers = [
    { ...base.base, what: `Node.js ${base.nodeVersion} and its libraries, from Debian ${lock.suite}` },
    ...(tools === undefined ? [] : [{ ...tools, what: `tools from Debian ${lock.suite}` }]),
    { ...programs, what: `Holdfast ${version}` },
  ];
  const manifest = await writeImage(blobs, {
    architecture: lock.architecture,
    created,
    user: definition.user,
    entrypoint: ['/usr/bin/node'],
    labels: {
      'org.opencontainers.image.title': definition.title,
      'org.opencontainers.image.version': version,
      'org.opencontainers.image.licenses': 'Apache-2.0',
    },
    layers,
  });
  await finishLayout(layout, [{ name, manifest, architecture: lock.architecture }]);
  const archive = path.join(options.output, `${definition.name}.oci.tar`);
  await archiveLayout(layout, archive);
  const sbom = path.join(options.output, `${definition.name}.spdx.json`);
  const document = spdx({
    image: definition.name,
    version,
    digest: manifest.digest,
    created,
    suite: lock.suite,
    debian: below.flatMap((layer) => layer.packages),
    npm: await npmPackages(root, Object.keys(metafile.inputs)),
    nodeVersion: base.nodeVersion,
  });
  await writeFile(sbom, `${JSON.stringify(document, null, 2)}\n`);
  return {
    name,
    digest: manifest.digest,
    compressedBytes: layers.reduce((sum, layer) => sum + layer.sizeBytes, 0),
    unpackedBytes: layers.reduce((sum, layer) => sum + layer.unpackedBytes, 0),
    user: definition.user,
    archive,
    sbom,
    programs,
  };
}

/** The version of the project, which is the chart's appVersion too. */
export async function ownVersion(): Promise<string> {
  const { version } = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8')) as {
    readonly version: string;
  };
  return version;
}
