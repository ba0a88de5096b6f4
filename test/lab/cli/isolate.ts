import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { prepareAssets } from '../assets/index.ts';
import { LabError } from '../errors.ts';
import { KEPT_FILE } from '../keep.ts';
import { waitFor } from '../process.ts';
import type { Progress } from '../progress.ts';
import { claimLab, firstChild, holdingLock, recordSupervisor } from './registry.ts';

export interface IsolateOptions {
  readonly name: string;
  /** Return when the command calls lab.keep(), and leave everything running. */
  readonly keep: boolean;
  readonly progress: Progress;
}

/**
 * Runs a command in a network and a process namespace of its own and returns its exit code. However it ends – the command's
 * end, Ctrl-C, our death – the kernel then kills every process in there and drops the network with its interfaces:
 *
 *   us ── flock, then unshare --kill-child ── init.ts (process 1 of the namespace) ── the command ── VMs, control plane
 *
 * Process 1 holds the reading end of a pipe to us, and ends when we are gone, unless the lab was kept.
 */
export async function isolate(command: readonly string[], options: IsolateOptions): Promise<number> {
  if (process.getuid?.() !== 0) {
    throw new LabError(
      'the lab needs root: it makes a network of its own (bridge, tap interfaces) and a process namespace, so that nothing ' +
        'listens on your machine and nothing stays behind. Nothing outside of them is changed. Run it with: sudo -E env "PATH=$PATH" …',
    );
  }
  if (!existsSync('/dev/net/tun')) {
    throw new LabError(
      "this machine has no /dev/net/tun, which the VMs' network cards need. On a machine: modprobe tun. In a container: " +
        'give it the device and the right to make namespaces (docker run --privileged, or --device /dev/net/tun and the ' +
        'capabilities NET_ADMIN and SYS_ADMIN).',
    );
  }
  await prepareAssets(options.progress);
  const dir = await claimLab(options.name);
  const init = path.join(import.meta.dirname, 'init.ts');
  const namespaces = ['--net', '--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc'];
  const plain = process.stdout.isTTY ? 'inherit' : 'pipe';
  const [flock = '', ...lockWords] = holdingLock(dir);
  const child = spawn(flock, [...lockWords, 'unshare', ...namespaces, '--', process.execPath, init, ...command], {
    // A session of its own: Ctrl-C reaches us alone, and we decide what it means.
    detached: true,
    stdio: ['inherit', plain, process.stderr.isTTY ? 'inherit' : 'pipe', 'pipe'],
    env: {
      ...process.env,
      HOLDFAST_LAB_DIR: dir,
      HOLDFAST_LAB_NAME: options.name,
      ...(options.keep ? { HOLDFAST_LAB_KEEP: '1' } : {}),
    },
  });
  child.stdout?.pipe(process.stdout, { end: false });
  child.stderr?.pipe(process.stderr, { end: false });
  const exit = new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 137)));
  });
  const { pid } = child;
  if (pid === undefined) throw new LabError('flock (of util-linux) could not be started');
  const endAll = (): void => {
    child.kill('SIGKILL');
  };
  let interrupts = 0;
  let initPid: number | undefined;
  const interrupt = (signal: NodeJS.Signals): void => {
    interrupts += 1;
    if (initPid === undefined || interrupts > 1) endAll();
    else {
      process.kill(initPid, signal);
      setTimeout(endAll, 10_000).unref();
    }
  };
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, interrupt);
  // Whoever read our output has gone (`… | head`): there is nobody left to run the lab for.
  for (const output of [process.stdout, process.stderr]) output.on('error', endAll);
  let kept = false;
  try {
    initPid = await Promise.race([
      waitFor('unshare', () => firstChild(pid), { timeoutMs: 10_000, everyMs: 5 }),
      exit.then(() => undefined),
    ]);
    if (initPid !== undefined) recordSupervisor(dir, pid, initPid);
    if (!options.keep) return await exit;
    const keptFile = path.join(dir, KEPT_FILE);
    const ended = exit.then((code) => ({ code }));
    for (;;) {
      const tick = new Promise<void>((resolve) => {
        setTimeout(resolve, 100);
      }).then(() => undefined);
      const end = await Promise.race([ended, tick]);
      if (end !== undefined) return end.code;
      if (existsSync(keptFile)) break;
    }
    kept = true;
    child.unref();
    return 0;
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
    if (!kept) {
      endAll();
      await exit;
      await rm(dir, { recursive: true, force: true });
    }
  }
}
