import { chmod, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cached, cacheDir, keyOf } from '../test/lab/cache.ts';
import type { Progress } from '../test/lab/progress.ts';
import { IMAGES } from './definitions.ts';
import { packLayer, type Layer } from './layer.ts';
import { unpackPackages, type Lock, type LockedPackage } from './packages.ts';
import { nodeProgram, pickAll } from './pick-all.ts';
import { fillRoot, makeRoot } from './roots.ts';
import type { TreeEntry } from './tree.ts';

/** Layers that hold no program of ours: they change with the pinned versions only, and all releases share them. */
export interface BaseLayers {
  /** Folder with the layers' blobs. */
  readonly blobs: string;
  readonly epochSeconds: number;
  readonly nodeVersion: string;
  /** Below every image. */
  readonly base: PackedLayer;
  /** By the image's name; none for an image without tools. */
  readonly tools: Readonly<Record<string, PackedLayer>>;
}

export interface PackedLayer extends Layer {
  readonly packages: readonly LockedPackage[];
}

/** The layers below our programs: from the cache, else made of the pinned packages and Node. */
export async function baseLayers(lock: Lock, progress: Progress, cache = cacheDir()): Promise<BaseLayers> {
  const { version } = await nodeProgram();
  const dir = await cached(
    cache,
    {
      kind: 'image-base',
      key: keyOf(['1', JSON.stringify([lock, IMAGES, version])]),
      needBytes: 1024 ** 3,
      build: async (target) => {
        await progress.step('making the base of the images from Debian packages', 60_000, async () => {
          const layers = await build(lock, target);
          await writeFile(path.join(target, 'layers.json'), JSON.stringify(layers));
        });
      },
    },
    progress,
  );
  const layers = JSON.parse(await readFile(path.join(dir, 'layers.json'), 'utf8')) as Omit<BaseLayers, 'blobs'>;
  return { ...layers, blobs: path.join(dir, 'blobs') };
}

async function build(lock: Lock, target: string): Promise<Omit<BaseLayers, 'blobs'>> {
  const work = path.join(target, 'work');
  const blobs = path.join(target, 'blobs');
  await mkdir(blobs);
  const epochSeconds = Date.parse(lock.at) / 1000;
  const picked = await pickAll(await unpackPackages(lock, path.join(work, 'packages')));
  const pack = async (name: string, entries: readonly TreeEntry[]): Promise<PackedLayer> => {
    const used = new Set(entries.map((entry) => entry.package.locked));
    return { ...(await packLayer(path.join(work, name), blobs, epochSeconds)), packages: [...used] };
  };
  const base = path.join(work, 'base');
  const node = await nodeProgram();
  await makeRoot(base);
  await fillRoot(base, picked.base);
  await put(node.file, path.join(base, 'usr/bin/node'), 0o755);
  await put(node.licence, path.join(base, 'usr/share/doc/node/LICENSE'), 0o644);
  const layers = { base: await pack('base', picked.base), tools: {} as Record<string, PackedLayer> };
  for (const [image, entries] of picked.tools) {
    if (entries.length === 0) continue;
    await fillRoot(path.join(work, image.name), entries);
    layers.tools[image.name] = await pack(image.name, entries);
  }
  await rm(work, { recursive: true });
  return { ...layers, epochSeconds, nodeVersion: node.version };
}

async function put(from: string, to: string, mode: number): Promise<void> {
  await mkdir(path.dirname(to), { recursive: true });
  await copyFile(from, to);
  await chmod(to, mode);
}
