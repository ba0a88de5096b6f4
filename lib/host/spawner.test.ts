import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { ExecError } from './exec.ts';
import { createSpawner } from './spawner.ts';

const exec = createSpawner();
/** Waits until no process has a command line of this pattern: a killed one needs a moment to go. */
const NONE_LEFT = 'while pgrep -f "$1" >/dev/null; do sleep 0.05; done';

describe('commands from a shell that stays', () => {
  test('give their output, errors and exit code, whatever their words', async () => {
    const words = ["it's", 'two words', '$HOME', '`date`', '\\', '"', '*'];
    await expect(exec('printf', ['%s|', ...words])).resolves.toEqual({
      code: 0,
      stdout: `${words.join('|')}|`,
      stderr: '',
    });
    const failing = exec('sh', ['-c', 'echo no >&2; exit 3']);
    await expect(failing).rejects.toThrow('sh -c echo no >&2; exit 3: exit code 3: no');
    await expect(failing).rejects.toBeInstanceOf(ExecError);
    await expect(exec('sh', ['-c', 'exit 3'], { ok: [0, 3] })).resolves.toMatchObject({ code: 3 });
  });

  test('read what they are given, byte by byte where asked', async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index)).toString('latin1');
    await expect(exec('cat', [], { input: bytes, encoding: 'latin1' })).resolves.toMatchObject({ stdout: bytes });
    await expect(exec('cat', [])).resolves.toMatchObject({ stdout: '' });
  });

  test('speak C, whatever the environment does', async () => {
    await expect(exec('sh', ['-c', 'echo $LC_ALL'])).resolves.toMatchObject({ stdout: 'C\n' });
    const env = { MORE: "it's $HOME", LAST: '2' };
    await expect(exec('sh', ['-c', 'echo "$LC_ALL $MORE $LAST"'], { env })).resolves.toMatchObject({
      stdout: "C it's $HOME 2\n",
    });
    // ... and of another command nothing has changed.
    await expect(exec('sh', ['-c', 'echo "$MORE"'])).resolves.toMatchObject({ stdout: '\n' });
  });

  // A fork of this process takes longer than the command, and LVM's commands have an environment of their own.
  test('are not forked from this process, also with an environment of their own', async () => {
    const parent = async (env: Record<string, string>): Promise<string> =>
      (await exec('sh', ['-c', 'ps -o ppid= -p $PPID'], { env })).stdout.trim();
    expect(await parent({ MORE: '1' })).toBe(await parent({}));
  });

  test('run beside each other, and one that is too slow is killed', async () => {
    const slow = exec('sleep', ['60.123'], { timeoutMs: 400 });
    await expect(exec('echo', ['meanwhile'])).resolves.toMatchObject({ stdout: 'meanwhile\n' });
    await expect(slow).rejects.toThrow('sleep 60.123: no answer within 400 ms');
    await exec('sh', ['-c', NONE_LEFT, 'sh', 'slee[p] 60.123']);
  });

  // On a busy machine it takes a while until a command's process is known.
  test('are killed also when their time is over before they have begun', async () => {
    await expect(exec('sleep', ['60.456'], { timeoutMs: 0 })).rejects.toThrow('no answer within 0 ms');
    await exec('true', []);
    await exec('sh', ['-c', NONE_LEFT, 'sh', 'slee[p] 60.456']);
  });

  test('that are not there say so', async () => {
    await expect(exec('no-such-command', [])).rejects.toThrow(/exit code 127: .*no-such-command.*not found/);
  });

  test('fail when their shell is killed, and the next have a new one', async () => {
    const shell = Number((await exec('sh', ['-c', 'ps -o ppid= -p $PPID'])).stdout);
    const waiting = exec('sleep', ['5.321']);
    await exec('sh', ['-c', 'until pgrep -f "slee[p] 5.321" >/dev/null; do sleep 0.05; done']);
    process.kill(shell, 'SIGKILL');
    await expect(waiting).rejects.toThrow('sleep 5.321: the shell that runs it ended (SIGKILL)');
    await expect(exec('echo', ['again'])).resolves.toMatchObject({ stdout: 'again\n' });
    execFileSync('pkill', ['-f', 'slee[p] 5.321']);
  });

  test('leave no files', async () => {
    const files = (): string[] =>
      readdirSync('/dev/shm', { recursive: true, encoding: 'utf8' }).filter((name) =>
        /^holdfast-.*\.(in|out|err)$/.test(name),
      );
    const before = files().length;
    await exec('true', []);
    expect(files().length).toBe(before);
  });
});
