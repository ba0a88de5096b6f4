import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { cacheDir, lock } from '../cache.ts';
import { LabError, hasCode } from '../errors.ts';
import { KEPT_FILE, type KeptLab } from '../keep.ts';
import { waitFor } from '../process.ts';

/** Who runs a lab, as the machine outside of it sees them. */
interface Supervisor {
  /** The unshare process; when it dies, the kernel ends the whole lab. */
  readonly pid: number;
  /** In clock ticks since boot: tells our process from a later one with the same id. */
  readonly startTicks: string;
  /** The lab's first process, the one to enter with nsenter. */
  readonly initPid: number;
}

export interface RunningLab {
  readonly name: string;
  readonly dir: string;
  readonly supervisor: Supervisor;
  /** Undefined for a lab that ends with its command, or that isn't ready. */
  readonly kept: KeptLab | undefined;
}

const SUPERVISOR_FILE = 'supervisor.json';
/** Held locked (flock(2)) by every process of the lab. A process id tells nothing to who looks from another namespace. */
const LOCK_FILE = 'alive';
/** A folder without that lock is being started when it is younger than this. */
const STARTING_MS = 30_000;

export function labsDir(): string {
  return path.join(cacheDir(), 'labs');
}

export function labDir(name: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(name)) {
    throw new LabError(`the lab name "${name}": it must be 1 to 31 lower-case letters, digits and "-"`);
  }
  return path.join(labsDir(), name);
}

/** Makes the folder of a new lab. Throws LabError when a lab of this name is running. */
export async function claimLab(name: string): Promise<string> {
  const dir = labDir(name);
  await mkdir(labsDir(), { recursive: true });
  const release = await lock(path.join(labsDir(), '.lock'), () => undefined);
  try {
    await removeDeadLabs();
    if (existsSync(dir)) {
      throw new LabError(
        `a lab named ${name} is running. End it ("node test/lab/main.ts down --name ${name}") or choose another --name.`,
      );
    }
    await mkdir(dir, { mode: 0o700 });
  } finally {
    release();
  }
  return dir;
}

/** The words in front of a lab's command line that make it, and all that it starts, hold the folder's lock. */
export function holdingLock(dir: string): readonly string[] {
  return ['flock', '--no-fork', '--timeout', '10', path.join(dir, LOCK_FILE)];
}

/** Whether a process of the lab lives, in whatever namespace. */
function isHeld(dir: string): boolean {
  const file = path.join(dir, LOCK_FILE);
  if (!existsSync(file)) return false;
  // A shared lock, so that several who look at once do not take one another for the lab.
  return spawnSync('flock', ['--shared', '--nonblock', file, 'true'], { stdio: 'ignore' }).status !== 0;
}

/** Writes down who runs the lab. */
export function recordSupervisor(dir: string, pid: number, initPid: number): void {
  writeJson(path.join(dir, SUPERVISOR_FILE), { pid, startTicks: startTicks(pid) ?? '', initPid });
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(`${file}.new`, JSON.stringify(value));
  renameSync(`${file}.new`, file);
}

/** The start time of a process, field 22 of /proc/PID/stat (proc_pid_stat(5)). */
export function startTicks(pid: number): string | undefined {
  return statFields(pid)?.[19];
}

/** The fields from the third on (the state): the second, the name, may hold anything, so they are counted from its end. */
function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return undefined;
    throw error;
  }
}

/** The first child of a process, when it has one. */
export function firstChild(pid: number): number | undefined {
  try {
    const child = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0];
    return child === undefined || child === '' ? undefined : Number(child);
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ESRCH')) return undefined;
    throw error;
  }
}

/** The labs that are alive. */
export function runningLabs(): RunningLab[] {
  return labNames().flatMap((name) => {
    const dir = path.join(labsDir(), name);
    const supervisor = readJson(path.join(dir, SUPERVISOR_FILE)) as Supervisor | undefined;
    if (supervisor === undefined || !isHeld(dir)) return [];
    return [{ name, dir, supervisor, kept: readJson(path.join(dir, KEPT_FILE)) as KeptLab | undefined }];
  });
}

/** The running lab of this name, or the only one. LabError otherwise. */
export function findLab(name: string | undefined): RunningLab {
  const labs = runningLabs();
  const names = labs.map((lab) => lab.name).join(', ');
  const found = name === undefined && labs.length === 1 ? labs[0] : labs.find((lab) => lab.name === name);
  if (found !== undefined) return found;
  if (labs.length === 0) throw new LabError('no lab is running. Start one: node test/lab/main.ts up');
  throw new LabError(
    name === undefined
      ? `several labs are running (${names}): choose one with --name`
      : `no lab named ${name} is running; there are: ${names}`,
  );
}

/** Ends a lab and removes its folder. */
export async function endLab(lab: RunningLab): Promise<void> {
  if (startTicks(lab.supervisor.pid) !== lab.supervisor.startTicks) {
    throw new LabError(`lab ${lab.name} was started in another process namespace: it can only be ended there`);
  }
  process.kill(lab.supervisor.pid, 'SIGKILL');
  await waitFor(
    `the end of lab ${lab.name}`,
    () => (!isAlive(lab.supervisor.pid) && !isAlive(lab.supervisor.initPid) ? true : undefined),
    { timeoutMs: 20_000 },
  );
  await rm(lab.dir, { recursive: true, force: true });
}

/** A zombie that nobody has waited for yet holds nothing any more: it counts as dead. */
function isAlive(pid: number): boolean {
  const state = statFields(pid)?.[0];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Folders whose lab has died with its command line (kill -9, a crash of the machine). */
async function removeDeadLabs(): Promise<void> {
  for (const name of labNames()) {
    const dir = path.join(labsDir(), name);
    const starting = !existsSync(path.join(dir, LOCK_FILE)) && Date.now() - statSync(dir).mtimeMs < STARTING_MS;
    if (!starting && !isHeld(dir)) await rm(dir, { recursive: true, force: true });
  }
}

function labNames(): string[] {
  try {
    return readdirSync(labsDir()).filter((name) => !name.startsWith('.'));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as unknown;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
