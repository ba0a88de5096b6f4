import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { DRAIN_SCRIPT } from '../lib/host/nvmet.ts';
import { IMAGES } from './definitions.ts';

const root = path.join(import.meta.dirname, '..');
const FOLDERS = ['lib', 'csi-driver', 'storage-agent'];

/** Names of programs that are started somewhere in a file: `exec('dd', …` and `run('dd', …`. */
const started = (source: string): string[] =>
  [...source.matchAll(/\b(?:exec|run)\(\s*'([a-z0-9_.]+)'/g)].map((match) => match[1] ?? '');

/** What the shell has itself. */
const BUILT_IN = ['echo'];

/** Names of programs that a shell script starts: what stands where a command begins. */
const startedByScript = (script: string): string[] =>
  [...script.matchAll(/(?:^|[;|&({]|\$\()\s*([a-z][a-z0-9_]+)\s/g)].map((match) => match[1] ?? '');

test('the commands of a script are found', () => {
  expect(startedByScript(DRAIN_SCRIPT)).toEqual(['cat', 'echo', 'rmdir']);
});

/** A tool that is missing in the image would be missed on the day when it is needed. */
test('every program that ours call is in the image of the agents', () => {
  const sources = FOLDERS.flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && !/\.test\.ts$|testing\/|generate\.ts$/.test(name))
      .map((name) => readFileSync(path.join(root, folder, name), 'utf8')),
  );
  const programs = new Set([...sources.flatMap(started), ...startedByScript(DRAIN_SCRIPT)]);
  for (const name of BUILT_IN) programs.delete(name);
  expect([...programs]).toEqual(expect.arrayContaining(['mount', 'lvm', 'dmsetup']));
  const agent = IMAGES.find(({ name }) => name === 'holdfast-agent');
  expect([...programs].filter((program) => agent?.tools.includes(program) !== true)).toEqual([]);
});
