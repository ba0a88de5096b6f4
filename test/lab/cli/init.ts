/**
 * Process 1 of a lab's process namespace: starts the command and, when that or the command line outside ends, ends itself,
 * upon which the kernel kills all that is left in the namespace (pid_namespaces(7)).
 */
import { spawn } from 'node:child_process';
import { existsSync, readlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import path from 'node:path';
import { KEPT_FILE } from '../keep.ts';

const [program, ...args] = process.argv.slice(2);
const dir = process.env['HOLDFAST_LAB_DIR'];
if (program === undefined || dir === undefined || process.pid !== 1) {
  process.stderr.write('this program is started by main.ts\n');
  process.exit(2);
}

const child = spawn(program, args, {
  stdio: 'inherit',
  env: { ...process.env, HOLDFAST_LAB_NETNS: readlinkSync('/proc/self/ns/net') },
});
child.on('error', (error) => {
  process.stderr.write(`${program} can't be started: ${error.message}\n`);
  process.exit(127);
});
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 137)));

// Process 1 gets no signal that it has no handler for.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));

const lifeline = new Socket({ fd: 3 });
const outsideGone = (): void => {
  if (!existsSync(path.join(dir, KEPT_FILE))) process.exit(137);
};
lifeline.on('close', outsideGone);
lifeline.on('error', outsideGone);
lifeline.resume();
