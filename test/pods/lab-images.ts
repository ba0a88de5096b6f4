import { chmod, copyFile, mkdir, readFile, symlink } from 'node:fs/promises';
import path from 'node:path';
import { load } from 'js-yaml';
import { baseLayers } from '../../images/base.ts';
import { IMAGES } from '../../images/definitions.ts';
import { packLayer, type Layer } from '../../images/layer.ts';
import { archiveLayout, finishLayout, makeLayout, writeImage, type NamedImage } from '../../images/oci.ts';
import { readLock } from '../../images/packages.ts';
import type { Progress } from '../lab/progress.ts';
import type { PodPrograms } from './programs.ts';

/** What the pods of tests are made from. */
export const BUSYBOX = 'holdfast.dev/lab/busybox:1';
/** What holds a pod's network: containerd starts it for each pod. */
export const PAUSE = 'holdfast.dev/lab/pause:1';
/** The layers below our programs, as an image of its own: only the last layer has to go into a running guest. */
export const baseImage = (name: string): string => `holdfast.dev/lab/${name}:base`;

const BUSYBOX_COMMANDS = [
  'sh',
  'cat',
  'dd',
  'df',
  'echo',
  'ls',
  'mount',
  'sha256sum',
  'sleep',
  'stat',
  'sync',
  'touch',
  'wc',
];

/** Images of the sidecars, as the chart names them. @returns name by the value's key */
export async function sidecarImages(): Promise<Readonly<Record<string, string>>> {
  const values = load(await readFile(path.join(import.meta.dirname, '../../charts/holdfast/values.yaml'), 'utf8')) as {
    readonly sidecars: Readonly<Record<string, unknown>>;
  };
  const images = Object.entries(values.sidecars).flatMap(([key, value]) => {
    const { repository, tag } = (value ?? {}) as { readonly repository?: string; readonly tag?: string };
    return repository === undefined ? [] : [[key, `${repository}:${tag}`]];
  });
  return Object.fromEntries(images) as Record<string, string>;
}

/** Writes an OCI archive of everything that a guest's container runtime is to have before a test begins. */
export async function writeLabImages(
  work: string,
  file: string,
  programs: PodPrograms,
  busybox: string,
  progress: Progress,
): Promise<void> {
  const layout = path.join(work, 'layout');
  const blobs = await makeLayout(layout);
  const images: NamedImage[] = [];
  const add = async (
    name: string,
    layers: readonly (Layer & { readonly what: string })[],
    entrypoint: readonly string[],
  ): Promise<void> => {
    const manifest = await writeImage(blobs, {
      architecture: 'amd64',
      created: '1970-01-01T00:00:00Z',
      user: '0:0',
      entrypoint,
      labels: {},
      layers,
    });
    images.push({ name, manifest, architecture: 'amd64' });
  };
  const packed = async (name: string, fill: (root: string) => Promise<void>): Promise<Layer & { what: string }> => {
    const root = path.join(work, name);
    await mkdir(root, { recursive: true });
    await fill(root);
    return { ...(await packLayer(root, blobs, 0, 1)), what: name };
  };
  const program = async (root: string, from: string, to: string): Promise<void> => {
    await mkdir(path.dirname(path.join(root, to)), { recursive: true });
    await copyFile(from, path.join(root, to));
    await chmod(path.join(root, to), 0o755);
  };

  const shell = await packed('busybox', async (root) => {
    await program(root, busybox, 'bin/busybox');
    for (const name of BUSYBOX_COMMANDS) await symlink('busybox', path.join(root, 'bin', name));
  });
  await add(BUSYBOX, [shell], ['/bin/sh']);
  await add(PAUSE, [shell], ['/bin/busybox', 'sleep', '2147483647']);
  for (const name of Object.values(await sidecarImages())) {
    const own = /([^/]+):/.exec(name)?.[1] ?? name;
    const layer = await packed(
      own,
      async (root) =>
        await program(root, path.join(own === 'csi-provisioner' ? programs.provisioner : programs.sidecars, own), own),
    );
    await add(name, [layer], [`/${own}`]);
  }
  const base = await baseLayers(await readLock(), progress);
  for (const { name } of IMAGES) {
    const tools = base.tools[name];
    const layers = tools === undefined ? [base.base] : [base.base, tools];
    for (const { digest } of layers) {
      const blob = digest.slice('sha256:'.length);
      await copyFile(path.join(base.blobs, blob), path.join(blobs, blob));
    }
    await add(
      baseImage(name),
      layers.map((layer) => ({ ...layer, what: 'base' })),
      ['/usr/bin/node'],
    );
  }
  await finishLayout(layout, images);
  await archiveLayout(layout, file);
}
