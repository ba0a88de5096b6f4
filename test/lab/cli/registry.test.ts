import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { claimLab, endLab, findLab, holdingLock, recordSupervisor, runningLabs } from './registry.ts';

/** Greater than any process id of Linux (PID_MAX_LIMIT): as a lab's supervisor looks from another process namespace. */
const INVISIBLE_PID = 2 ** 22 + 1;

let cache: string;
let before: string | undefined;
const started: ChildProcess[] = [];

beforeEach(() => {
  before = process.env['HOLDFAST_CACHE'];
  cache = mkdtempSync(path.join(os.tmpdir(), 'registry-'));
  process.env['HOLDFAST_CACHE'] = cache;
});

afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  if (before === undefined) delete process.env['HOLDFAST_CACHE'];
  else process.env['HOLDFAST_CACHE'] = before;
  rmSync(cache, { recursive: true, force: true });
});

/** A lab whose processes live, but that was started where we see no process of it. */
async function foreignLab(name: string): Promise<{ dir: string; holder: ChildProcess }> {
  const dir = await claimLab(name);
  const [flock = '', ...words] = holdingLock(dir);
  const holder = spawn(flock, [...words, 'sh', '-c', 'echo held; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  started.push(holder);
  await once(holder.stdout as NodeJS.ReadableStream, 'data');
  recordSupervisor(dir, INVISIBLE_PID, INVISIBLE_PID + 1);
  return { dir, holder };
}

test('a lab that another process namespace runs keeps its folder while another one starts', async () => {
  const { dir } = await foreignLab('theirs');
  await claimLab('mine');
  expect(existsSync(dir)).toBe(true);
  expect(runningLabs().map((lab) => lab.name)).toEqual(['theirs']);
  await expect(claimLab('theirs')).rejects.toThrow('a lab named theirs is running');
});

test('it is not ended by a process id that means another process here', async () => {
  await foreignLab('theirs');
  await expect(endLab(findLab('theirs'))).rejects.toThrow('was started in another process namespace');
});

test('the folder of a lab that died is removed by the next one', async () => {
  const { dir, holder } = await foreignLab('dead');
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  await claimLab('mine');
  expect(existsSync(dir)).toBe(false);
  expect(runningLabs()).toEqual([]);
});
