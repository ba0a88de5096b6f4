import { copyFile, mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import type { BuiltImage } from '../../images/build.ts';
import { archiveLayout, finishLayout, makeLayout, type Descriptor, type NamedImage } from '../../images/oci.ts';
import { run } from '../lab/process.ts';

/** Writes an archive of images without the layers below our programs, for container runtimes that have those already. */
export async function writeProgramLayers(images: readonly BuiltImage[], file: string, work: string): Promise<void> {
  const layout = path.join(work, 'layout');
  const blobs = await makeLayout(layout);
  const named: NamedImage[] = [];
  for (const image of images) {
    const dir = path.join(work, path.basename(image.archive));
    await mkdir(dir);
    await run('tar', ['--extract', '--file', image.archive, '--directory', dir]);
    const at = ({ digest }: { readonly digest: string }): string => path.join('blobs', digest.replace(':', '/'));
    const json = async <T>(name: string): Promise<T> => JSON.parse(await readFile(path.join(dir, name), 'utf8')) as T;
    const [manifest] = (await json<{ manifests: readonly Descriptor[] }>('index.json')).manifests;
    if (manifest === undefined) throw new Error(`${image.archive} holds no image`);
    const { config } = await json<{ config: Descriptor }>(at(manifest));
    for (const blob of [manifest, config, image.programs]) {
      await copyFile(path.join(dir, at(blob)), path.join(blobs, path.basename(at(blob))));
    }
    const { mediaType, digest, size } = manifest;
    named.push({ name: image.name, manifest: { mediaType, digest, size }, architecture: 'amd64' });
  }
  await finishLayout(layout, named);
  await archiveLayout(layout, file);
  await rm(work, { recursive: true });
}
