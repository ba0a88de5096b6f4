import { spawn, type ChildProcess } from 'node:child_process';
import { openSync, closeSync, readFileSync } from 'node:fs';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { LabError, hasCode } from './errors.ts';

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly input?: string | Uint8Array;
  /** The child is killed after this long; default 60 s. */
  readonly timeoutMs?: number;
  /** Default true: an exit code other than 0 throws. */
  readonly check?: boolean;
  /** The program gets SIGTERM when we die, however that is. For what takes long. */
  readonly diesWithUs?: boolean;
  /** Called with each line of standard output and standard error as it arrives. */
  readonly onLine?: (line: string) => void;
}

export interface RunResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** The path of a program found on PATH (and in the sbin folders, which an ordinary user's PATH lacks), or undefined. */
export function findProgram(name: string, searchPath: string = process.env['PATH'] ?? ''): string | undefined {
  for (const dir of [...searchPath.split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin']) {
    if (dir === '') continue;
    const file = path.join(dir, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not here: look further
    }
  }
  return undefined;
}

/**
 * Runs a program to its end and returns what it printed. Throws LabError with the end of its error output when it can't
 * be started, runs out of time or (unless `check` is false) exits with another code than 0.
 */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const command = [program, ...args].join(' ').slice(0, 300);
  return await new Promise<RunResult>((resolve, reject) => {
    const [file, argv] = options.diesWithUs === true ? withDeathSignal('TERM', program, args) : [program, args];
    const child = spawn(file, argv, {
      cwd: options.cwd,
      env: options.env === undefined ? process.env : { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    const collect = (chunks: Buffer[]): ((chunk: Buffer) => void) => {
      let rest = '';
      return (chunk) => {
        chunks.push(chunk);
        if (options.onLine === undefined) return;
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) options.onLine(line);
      };
    };
    child.stdout.on('data', collect(stdout));
    child.stderr.on('data', collect(stderr));
    // A child that ends before it read its input is judged by its exit code, not by our broken pipe.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(
        new LabError(hasCode(error, 'ENOENT') ? `${program}: no such program` : `${command}: ${error.message}`, {
          cause: error,
        }),
      );
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const result = { code: code ?? 128, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
      const tail = lastLines(`${result.stdout.toString()}\n${result.stderr}`, 15);
      if (timedOut) reject(new LabError(`${command}: not finished after ${timeoutMs / 1000} s\n${tail}`));
      else if ((options.check ?? true) && code !== 0) {
        reject(new LabError(`${command}: ${signal === null ? `exit code ${code}` : `killed by ${signal}`}\n${tail}`));
      } else resolve(result);
    });
  });
}

/**
 * The command that runs a program such that the kernel sends it a signal when its parent is gone (PR_SET_PDEATHSIG, prctl(2),
 * set by setpriv of util-linux).
 */
function withDeathSignal(
  signal: 'TERM' | 'KILL',
  program: string,
  args: readonly string[],
): [string, readonly string[]] {
  const setpriv = findProgram('setpriv');
  return setpriv === undefined ? [program, args] : [setpriv, ['--pdeathsig', signal, '--', program, ...args]];
}

/** A program that runs beside us, its output in a file. */
export interface Daemon {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Undefined while it runs, else how it ended. */
  readonly ended: () => string | undefined;
  /** Sends a signal; true when there was a process to send it to. */
  readonly signal: (signal: NodeJS.Signals) => boolean;
  /** Ends it at once (SIGKILL) and waits until it is gone. May be called again. */
  readonly kill: () => Promise<void>;
}

/** Starts a program that dies with us, however we end. */
export async function startDaemon(
  name: string,
  program: string,
  args: readonly string[],
  options: { readonly logFile: string; readonly env?: Readonly<Record<string, string>>; readonly cwd?: string },
): Promise<Daemon> {
  const [command, argv] = withDeathSignal('KILL', program, args);
  const log = openSync(options.logFile, 'a');
  let child: ChildProcess;
  try {
    child = spawn(command, argv, {
      stdio: ['ignore', log, log],
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
    });
  } finally {
    closeSync(log);
  }
  let ended: string | undefined;
  const exit = new Promise<void>((resolve) => {
    child.on('exit', (code, signal) => {
      ended = signal === null ? `exit code ${code}` : `killed by ${signal}`;
      resolve();
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error) => reject(new LabError(`${name} can't be started: ${error.message}`)));
  });
  const pid = child.pid;
  if (pid === undefined) throw new LabError(`${name} has no process id`);
  return {
    name,
    pid,
    logFile: options.logFile,
    ended: () => ended,
    signal: (signal) => (ended === undefined ? child.kill(signal) : false),
    kill: async () => {
      if (ended === undefined) child.kill('SIGKILL');
      await exit;
    },
  };
}

/** The last lines of a text, without empty ones. */
export function lastLines(text: string, count: number): string {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-count)
    .join('\n');
}

/** The last lines of a file, or a word about why there are none. */
export function tailOfFile(file: string, count = 12): string {
  try {
    return lastLines(readFileSync(file, 'utf8'), count);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return '(no output)';
    throw error;
  }
}

/**
 * Asks again and again until the answer is not undefined. Throws LabError with `what` after timeoutMs; an error thrown
 * by `probe` ends the waiting at once.
 */
export async function waitFor<T>(
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
  options: { readonly timeoutMs: number; readonly everyMs?: number },
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new LabError(`${what}: not so after ${options.timeoutMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 50));
  }
}
