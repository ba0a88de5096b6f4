import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { IMAGES } from './definitions.ts';

const root = path.join(import.meta.dirname, '..');
const FOLDERS = ['lib', 'csi-driver', 'storage-agent'];

/** Names of programs that are started somewhere in a file: `exec('dd', …` and `run('dd', …`. */
const started = (source: string): string[] =>
  [...source.matchAll(/\b(?:exec|run)\(\s*'([a-z0-9_.]+)'/g)].map((match) => match[1] ?? '');

/** A tool that is missing in the image would be missed on the day when it is needed. */
test('every program that ours call is in the image of the agents', () => {
  const sources = FOLDERS.flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !/\.test\.ts$|testing\/|generate\.ts$/.test(name))
      .map((name) => readFileSync(path.join(root, folder, name), 'utf8')),
  );
  const programs = new Set(sources.flatMap(started));
  expect([...programs]).toEqual(expect.arrayContaining(['mount', 'lvm', 'dmsetup']));
  const agent = IMAGES.find(({ name }) => name === 'holdfast-agent');
  expect([...programs].filter((program) => agent?.tools.includes(program) !== true)).toEqual([]);
});
