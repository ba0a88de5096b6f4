import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { sha256, type Layer } from './layer.ts';
import { run } from '../test/lab/process.ts';

export interface ImageConfig {
  /** "linux/…" of the image: amd64, arm64. */
  readonly architecture: string;
  /** When it was made, in RFC 3339. */
  readonly created: string;
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly layers: readonly (Layer & { readonly what: string })[];
}

/** A blob that something else refers to (OCI image specification, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const TYPES = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const;

/** Writes an image's configuration and manifest beside its layers (OCI image specification, config.md and manifest.md). */
export async function writeImage(blobs: string, image: ImageConfig): Promise<Descriptor> {
  const config = {
    created: image.created,
    architecture: image.architecture,
    os: 'linux',
    config: {
      User: image.user,
      Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
      Entrypoint: image.entrypoint,
      WorkingDir: '/',
      Labels: image.labels,
    },
    rootfs: { type: 'layers', diff_ids: image.layers.map(({ diffId }) => diffId) },
    history: image.layers.map(({ what }) => ({ created: image.created, created_by: what })),
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: TYPES.manifest,
    config: await writeBlob(blobs, TYPES.config, config),
    layers: image.layers.map(({ digest, sizeBytes }) => ({ mediaType: TYPES.layer, digest, size: sizeBytes })),
  };
  return await writeBlob(blobs, TYPES.manifest, manifest);
}

async function writeBlob(blobs: string, mediaType: string, content: object): Promise<Descriptor> {
  const text = JSON.stringify(content);
  const digest = sha256(text);
  await writeFile(path.join(blobs, digest.slice('sha256:'.length)), text);
  return { mediaType, digest, size: Buffer.byteLength(text) };
}

/** The folder of blobs in an image layout. */
export async function makeLayout(dir: string): Promise<string> {
  const blobs = path.join(dir, 'blobs/sha256');
  await mkdir(blobs, { recursive: true });
  return blobs;
}

/** An image in a layout, by the full name under which it is to be found after an import. */
export interface NamedImage {
  readonly name: string;
  readonly manifest: Descriptor;
  readonly architecture: string;
}

/**
 * Ends an image layout (OCI image specification, image-layout.md). The names are those that containerd, podman and skopeo read:
 * the annotation of the specification has the tag, and containerd's own the whole name.
 */
export async function finishLayout(dir: string, images: readonly NamedImage[]): Promise<void> {
  const manifests = images.map(({ name, manifest, architecture }) => ({
    ...manifest,
    platform: { architecture, os: 'linux' },
    annotations: {
      'io.containerd.image.name': name,
      'org.opencontainers.image.ref.name': name.replace(/^.*:/, ''),
    },
  }));
  await writeFile(path.join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(
    path.join(dir, 'index.json'),
    JSON.stringify({ schemaVersion: 2, mediaType: TYPES.index, manifests }),
  );
}

/** A layout as one file, as `ctr images import`, `podman load` and `skopeo copy oci-archive:` take it. */
export async function archiveLayout(dir: string, file: string, blobs?: readonly string[]): Promise<void> {
  const inside = blobs === undefined ? ['blobs'] : blobs.map((digest) => `blobs/${digest.replace(':', '/')}`).sort();
  const fixed = [
    '--sort=name',
    '--mtime=@0',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--format=gnu',
    '--mode=u=rwX,go=rX',
  ];
  const args = ['--create', '--file', file, '--directory', dir, ...fixed, 'oci-layout', 'index.json', ...inside];
  await run('tar', args, { env: { LC_ALL: 'C', TZ: 'UTC' }, timeoutMs: 300_000 });
}
