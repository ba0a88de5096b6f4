import { expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { reserveThreads } from './threads.ts';

test('what the environment says stands', () => {
  const env = { UV_THREADPOOL_SIZE: '8' };
  reserveThreads(env);
  expect(env).toEqual({ UV_THREADPOOL_SIZE: '8' });
});

// Whether Node reads the environment late enough is Node's own business, and may change.
test('a program has that many threads when it asks for them first', () => {
  const program = `
    import { readdirSync } from 'node:fs';
    import { stat } from 'node:fs/promises';
    import { reserveThreads } from '${new URL('./threads.ts', import.meta.url).href}';
    reserveThreads(process.env);
    await stat('/');
    console.log(readdirSync('/proc/self/task').length);`;
  const { UV_THREADPOOL_SIZE: _, ...env } = process.env;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { env, encoding: 'utf8' });
  expect(Number(stdout)).toBeGreaterThan(256);
});
