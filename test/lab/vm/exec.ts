import { LabError } from '../errors.ts';
import type { Qga } from './qga.ts';

export interface ExecOptions {
  /** Default 60 s. When it is over the command is killed and LabError thrown. */
  readonly timeoutMs?: number;
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** Default true: an exit code other than 0 throws. */
  readonly check?: boolean;
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The same, with the bytes as they are. */
export interface RawExecResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export const GUEST_ENV: Readonly<Record<string, string>> = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin:/opt/holdfast/bin',
  HOME: '/root',
  LC_ALL: 'C',
  // there is no udev in the guest to wait for
  DM_DISABLE_UDEV: '1',
};

interface ExecStatus {
  readonly exited: boolean;
  readonly exitcode?: number;
  readonly signal?: number;
  readonly 'out-data'?: string;
  readonly 'err-data'?: string;
  readonly 'out-truncated'?: boolean;
}

/** Runs a shell command in a guest and waits for its end. Throws LabError that names the VM and the command. */
export async function execInGuest(
  qga: Qga,
  vmName: string,
  command: string,
  options: ExecOptions = {},
): Promise<RawExecResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const deadline = performance.now() + timeoutMs;
  const what = `${vmName}: ${command.length > 200 ? `${command.slice(0, 200)}…` : command}`;
  const answer = await qga.command('guest-exec', {
    path: '/bin/bash',
    arg: ['-c', command],
    env: Object.entries({ ...GUEST_ENV, ...options.env }).map(([name, value]) => `${name}=${value}`),
    'capture-output': true,
    ...(options.input === undefined ? {} : { 'input-data': Buffer.from(options.input).toString('base64') }),
  });
  const { pid } = answer as { readonly pid: number };
  const startedMs = performance.now();
  for (;;) {
    const status = (await qga.command('guest-exec-status', { pid })) as ExecStatus;
    if (status.exited) return finished(status, what, options.check ?? true);
    if (performance.now() > deadline) {
      await qga.command('guest-exec', { path: '/bin/kill', arg: ['-9', String(pid)] });
      throw new LabError(`${what}\nnot finished after ${timeoutMs / 1000} s (killed)`);
    }
    // The end is noticed a tenth of the command's time late at most.
    const pauseMs = Math.min(200, Math.max(10, (performance.now() - startedMs) / 10));
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

function finished(status: ExecStatus, what: string, check: boolean): RawExecResult {
  const stdout = Buffer.from(status['out-data'] ?? '', 'base64');
  const stderr = Buffer.from(status['err-data'] ?? '', 'base64').toString();
  const code = status.exitcode ?? 128 + (status.signal ?? 0);
  if (status['out-truncated'] === true)
    throw new LabError(`${what}\nprinted more than the guest agent passes on (16 MiB)`);
  if (check && code !== 0) {
    throw new LabError(`${what}\nexit code ${code}\n${`${stdout.toString()}\n${stderr}`.trim().slice(-3000)}`);
  }
  return { code, stdout, stderr };
}
