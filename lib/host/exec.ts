import { spawn } from 'node:child_process';

/** What a finished command left behind. */
export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ExecOptions {
  /** The command is killed after this time. Default 30 000 ms. */
  readonly timeoutMs?: number;
  /** Written to the command's standard input, which is then closed. */
  readonly input?: string;
  /** Exit codes that are not errors. Default `[0]`. */
  readonly ok?: readonly number[];
  readonly env?: Readonly<Record<string, string>>;
  /** `latin1` keeps binary input and output: one character a byte. Default `utf8`. */
  readonly encoding?: 'utf8' | 'latin1';
}

/** A command that could not be started, ran too long, or ended with an exit code that was not expected. */
export class ExecError extends Error {
  readonly command: string;
  readonly result: ExecResult | undefined;

  constructor(message: string, command: string, result?: ExecResult) {
    super(message);
    this.name = 'ExecError';
    this.command = command;
    this.result = result;
  }
}

/** Runs one command and gives its output; the port through which every kernel tool is called. */
export type Exec = (command: string, args: readonly string[], options?: ExecOptions) => Promise<ExecResult>;

/**
 * Runs `command` without a shell, with a C locale, a deadline, and no standard input unless one is given.
 * @throws ExecError when it cannot be started, is too slow, or its exit code is not in `options.ok`.
 */
export const run: Exec = (command, args, options = {}) => {
  const { timeoutMs = 30_000, input, ok = [0], env, encoding = 'utf8' } = options;
  const line = [command, ...args].join(' ');
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env, LC_ALL: 'C' },
    });
    let stdout = '';
    let stderr = '';
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
      // A process in uninterruptible sleep can't be killed; the caller must not hang with it.
      reject(new ExecError(`${line}: no answer within ${timeoutMs} ms`, line));
    }, timeoutMs);
    child.stdout.setEncoding(encoding).on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new ExecError(`${line}: ${error.message}`, line));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (timedOut) return;
      const result = { code: code ?? 128, stdout, stderr };
      if (code !== null && ok.includes(code)) resolve(result);
      else
        reject(
          new ExecError(`${line}: ${signal ?? `exit code ${code}`}: ${stderr.trim() || stdout.trim()}`, line, result),
        );
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input, encoding);
  });
};

/** A text as one word of a shell. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
