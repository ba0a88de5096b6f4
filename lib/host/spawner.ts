import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ExecError, run, shellQuote, type Exec } from './exec.ts';

/**
 * Reads a number and what is to be executed from two lines each, does so beside all others, and tells on its output of the
 * process and of its end. What goes in and out of it lies in files of that number.
 */
const SCRIPT = `
while IFS= read -r id && IFS= read -r words; do
  { eval "$words" < "$0/$id.in" > "$0/$id.out" 2> "$0/$id.err" & echo "$id runs $!"; wait $!; echo "$id ended $?"; } &
done`;

interface Job {
  pid: number | undefined;
  readonly ended: (code: number) => void;
  readonly failed: (why: string) => void;
}

/**
 * Runs commands as `run` does, but from a small shell that stays: while writes wait for a command, this process need not be
 * forked for it. Node forks by copying its page tables, and takes a fault for each page that it touches afterwards (libuv,
 * uv_spawn), which costs a process of this size several times what the command does. The shell is started at the first
 * command, and again when it is gone; it ends with this process. A command of several lines goes to `run`.
 */
export function createSpawner(): Exec {
  const dir = mkdtempSync(path.join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'holdfast-'));
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }));
  const jobs = new Map<number, Job>();
  /** Given up before it was known which processes they are. */
  const unwanted = new Set<number>();
  let shell: ChildProcess | undefined;
  let last = 0;

  const heard = (line: string): void => {
    const [id, what, value] = line.split(' ');
    const job = jobs.get(Number(id));
    if (what === 'runs' && job) job.pid = Number(value);
    else if (what === 'runs' && unwanted.delete(Number(id))) kill(Number(value));
    else job?.ended(Number(value));
  };
  const started = (): ChildProcess => {
    if (shell) return shell;
    const child = spawn('sh', ['-c', SCRIPT, dir], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (text + chunk).split('\n');
      text = lines.pop() ?? '';
      for (const line of lines) heard(line);
    });
    const gone = (why: string): void => {
      if (shell !== child) return;
      shell = undefined;
      unwanted.clear();
      for (const job of jobs.values()) job.failed(why);
    };
    child.on('error', (error) => gone(error.message));
    child.on('exit', (code, signal) => gone(`the shell that runs it ended (${signal ?? code})`));
    child.stdin.on('error', () => undefined);
    // It keeps nobody alive: only a command that runs does.
    child.unref();
    for (const stream of [child.stdin, child.stdout]) (stream as unknown as { unref(): void }).unref();
    shell = child;
    return child;
  };

  return async (command, args, options = {}) => {
    const { timeoutMs = 30_000, input = '', ok = [0], env = {}, encoding = 'utf8' } = options;
    const line = [command, ...args].join(' ');
    const settings = Object.entries(env).map(([name, value]) => `export ${name}=${shellQuote(value)}; `);
    const words = `${settings.join('')}exec ${[command, ...args].map(shellQuote).join(' ')}`;
    if (words.includes('\n')) return await run(command, args, options);
    const id = ++last;
    const file = (what: 'in' | 'out' | 'err'): string => path.join(dir, `${id}.${what}`);
    writeFileSync(file('in'), input, { encoding, mode: 0o600 });
    try {
      const code = await new Promise<number>((resolve, reject) => {
        const end = (): void => {
          clearTimeout(timer);
          jobs.delete(id);
        };
        const failed = (why: string): void => {
          end();
          reject(new ExecError(`${line}: ${why}`, line));
        };
        const timer = setTimeout(() => {
          const pid = jobs.get(id)?.pid;
          if (pid === undefined) unwanted.add(id);
          else kill(pid);
          // A process in uninterruptible sleep can't be killed; the caller must not hang with it.
          failed(`no answer within ${timeoutMs} ms`);
        }, timeoutMs);
        const ended = (status: number): void => {
          end();
          resolve(status);
        };
        jobs.set(id, { pid: undefined, ended, failed });
        started().stdin?.write(`${id}\n${words}\n`);
      });
      const result = { code, stdout: readFileSync(file('out'), encoding), stderr: readFileSync(file('err'), 'utf8') };
      if (ok.includes(code)) return result;
      throw new ExecError(`${line}: exit code ${code}: ${result.stderr.trim() || result.stdout.trim()}`, line, result);
    } finally {
      for (const what of ['in', 'out', 'err'] as const) rmSync(file(what), { force: true });
    }
  };
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
