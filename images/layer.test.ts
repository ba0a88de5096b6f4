import { mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { packLayer } from './layer.ts';

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-layer-'));
});
afterAll(async () => await rm(dir, { recursive: true, force: true }));

async function pack(name: string, files: readonly string[], seconds: number): Promise<string> {
  const root = path.join(dir, name, 'root');
  const blobs = path.join(dir, name, 'blobs');
  await mkdir(path.join(root, 'usr/bin'), { recursive: true });
  await mkdir(blobs);
  for (const file of files) {
    await writeFile(path.join(root, 'usr/bin', file), `of ${file}`);
    await utimes(path.join(root, 'usr/bin', file), seconds, seconds);
  }
  await symlink('usr/bin', path.join(root, 'bin'));
  return (await packLayer(root, blobs, 1_700_000_000)).digest;
}

test('the same files are the same bytes, whenever and in whatever order they were made', async () => {
  const first = await pack('first', ['a', 'b', 'c'], 1);
  expect(await pack('second', ['c', 'a', 'b'], 1_000_000)).toBe(first);
  expect(await pack('third', ['a', 'b'], 1)).not.toBe(first);
});
