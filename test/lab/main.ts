import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import { fstatSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { cacheDir } from './cache.ts';
import { isolate } from './cli/isolate.ts';
import { endLab, findLab, runningLabs, type RunningLab } from './cli/registry.ts';
import { askLab, type ControlRequest } from './control.ts';
import { LabError } from './errors.ts';
import { faultHelp } from './fault-words.ts';
import { CONTROL_SOCKET } from './keep.ts';
import { startLab, type LabOptions } from './lab.ts';
import { findProgram } from './process.ts';
import { formatDuration, terminalProgress } from './progress.ts';

const HELP = `The Holdfast lab: real kernels in QEMU, and a real etcd and kube-apiserver, in a network of their own.

usage: node test/lab/main.ts [--name NAME] COMMAND [OPTIONS]

  up [OPTIONS]               start a lab and leave it running in the background
      --name NAME            default "lab"; several labs run side by side
      --storage N            storage VMs s1, s2, … in zones a, b, … (default 4)
      --clients N            client VMs c1, c2, … (default 2)
      --storage-memory MIB   memory of a storage VM (default 256)
      --client-memory MIB    memory of a client VM (default 384)
      --disk-gib N           size of a storage VM's data disk /dev/vdc (default 2)
      --app DIR              the guests find this folder at /opt/holdfast
      --kernel-args TEXT     more for the guests' kernel, for example "nvme_core.multipath=N"
      --cold                 boot the guests instead of resuming a saved one
  down [--name NAME | --all] end a lab and remove what it left
  list                       labs that are running
  status                     the VMs of a lab
  exec VM COMMAND…           run a shell command in a VM (standard input is passed on when it is a pipe)
  console VM                 print what the VM's kernel said
  kubectl ARGS…              kubectl against the lab's API server
  shell                      a shell in the lab's network (10.77.0.1), kubeconfig set
  fault NAME ARGS…           break something, see below
  run [--keep] [--name N] -- PROGRAM ARGS…
                             run a program in a fresh network and process namespace; it may call startLab() of lab.ts.
                             When it ends, however it ends, so does all that it started; --keep: unless it calls lab.keep()
  assets                     download and build everything a lab needs, start one and end it

  --name NAME chooses a lab; it may be left out when only one runs.

faults:
${faultHelp()}

environment:
  HOLDFAST_CACHE             folder for downloads, builds and labs (default: the user's cache folder + /holdfast)
  HOLDFAST_ACCEL             tcg or kvm: don't find out whether KVM works
  HOLDFAST_DEBIAN_MIRROR     the mirror to build the guest from (default: that of this machine's apt)
  KUBEBUILDER_ASSETS         a folder with etcd and kube-apiserver, instead of building them

The lab needs root, for its network. Its VMs are 10.77.0.11, .12, …; the host and the API server are 10.77.0.1 in there.
Nothing of it is reachable from outside the machine, or from outside the lab.
`;

const progress = terminalProgress(process.stderr);

async function main(argv: readonly string[]): Promise<number> {
  const [command = '--help', ...rest] = nameAfterCommand(argv);
  switch (command) {
    case 'up':
      return await up(rest);
    case '__up':
      return await startAndKeep(rest);
    case 'assets':
      return await isolate([process.execPath, import.meta.filename, '__assets'], {
        name: uniqueName('assets'),
        keep: false,
        progress,
      });
    case '__assets':
      await (await startLab({ progress })).stop();
      progress.say(`everything is in ${cacheDir()}`);
      return 0;
    case 'run':
      return await runCommand(rest);
    case 'down':
      return await down(rest);
    case 'list':
      return list();
    case 'status':
    case 'exec':
    case 'fault':
      return await ask(command, rest);
    case 'console':
      return await showConsole(rest);
    case 'kubectl':
    case 'shell':
      return await inside(command, rest);
    case 'help':
    case '--help':
    case '-h':
      process.stdout.write(HELP);
      return 0;
    default:
      throw new LabError(`there is no command "${command}". See: node test/lab/main.ts --help`);
  }
}

/** No process id: another process namespace may use the same. */
const uniqueName = (what: string): string => `${what}-${randomBytes(4).toString('hex')}`;

/** `--name N` may stand before the command too. */
function nameAfterCommand(argv: readonly string[]): readonly string[] {
  const [first, name, command, ...rest] = argv;
  return first === '--name' && name !== undefined && command !== undefined ? [command, first, name, ...rest] : argv;
}

const UP_OPTIONS = {
  name: { type: 'string', default: 'lab' },
  storage: { type: 'string' },
  clients: { type: 'string' },
  'storage-memory': { type: 'string' },
  'client-memory': { type: 'string' },
  'disk-gib': { type: 'string' },
  app: { type: 'string' },
  'kernel-args': { type: 'string' },
  cold: { type: 'boolean' },
} as const;

function labOptions(argv: readonly string[]): LabOptions & { readonly name: string } {
  const { values } = parse(argv, UP_OPTIONS);
  const number = (name: keyof typeof values): number | undefined => {
    const text = values[name];
    if (text === undefined) return undefined;
    if (typeof text !== 'string' || !/^\d+$/.test(text))
      throw new LabError(`--${name} is "${text}": it must be a whole number`);
    return Number(text);
  };
  const diskGib = number('disk-gib');
  const options: LabOptions = withoutUndefined({
    storage: number('storage'),
    clients: number('clients'),
    storageMemoryMiB: number('storage-memory'),
    clientMemoryMiB: number('client-memory'),
    storageDiskBytes: diskGib === undefined ? undefined : [diskGib * 1024 ** 3],
    appDir: values.app === undefined ? undefined : path.resolve(values.app),
    kernelArgs: values['kernel-args'],
    coldBoot: values.cold,
  });
  return { name: values.name, ...options };
}

function withoutUndefined(object: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

function parse<T extends NonNullable<Parameters<typeof parseArgs>[0]>['options']>(argv: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false });
  } catch (error) {
    if (error instanceof TypeError) throw new LabError(`${error.message} See: node test/lab/main.ts --help`);
    throw error;
  }
}

async function up(argv: readonly string[]): Promise<number> {
  const { name } = labOptions(argv);
  const code = await isolate([process.execPath, import.meta.filename, '__up', ...argv], { name, keep: true, progress });
  if (code !== 0) return code;
  const lab = findLab(name);
  const self = 'node test/lab/main.ts';
  process.stdout.write(
    `lab ${name} is up (${formatDuration(lab.kept?.timings.totalMs ?? 0)}). Try:\n` +
      `  ${self} exec --name ${name} s1 lsblk\n  ${self} kubectl --name ${name} get --raw /version\n` +
      `  ${self} fault --name ${name} cut s1\n  ${self} down --name ${name}\n` +
      `its files, logs and kubeconfig: ${lab.dir}\n`,
  );
  return 0;
}

async function startAndKeep(argv: readonly string[]): Promise<number> {
  const { name: _name, ...options } = labOptions(argv);
  const lab = await startLab({ ...options, progress });
  await lab.keep();
  // The control socket keeps this process alive until `down` kills the namespace.
  await new Promise(() => undefined);
  return 0;
}

async function runCommand(argv: readonly string[]): Promise<number> {
  const at = argv.indexOf('--');
  const command = at < 0 ? [] : argv.slice(at + 1);
  if (command.length === 0)
    throw new LabError('usage: node test/lab/main.ts run [--keep] [--name NAME] -- PROGRAM ARGS…');
  const { values } = parse(argv.slice(0, at), { name: { type: 'string' }, keep: { type: 'boolean' } });
  return await isolate(command, { name: values.name ?? uniqueName('run'), keep: values.keep === true, progress });
}

async function down(argv: readonly string[]): Promise<number> {
  const { values } = parse(argv, { name: { type: 'string' }, all: { type: 'boolean' } });
  const labs = values.all === true ? runningLabs() : [findLab(values.name)];
  for (const lab of labs) {
    await endLab(lab);
    process.stdout.write(`lab ${lab.name} has ended\n`);
  }
  return 0;
}

function list(): number {
  for (const lab of runningLabs()) {
    const state = lab.kept === undefined ? 'running a command' : `kept: ${lab.kept.vms.map((vm) => vm.name).join(' ')}`;
    process.stdout.write(`${lab.name}\tpid ${lab.supervisor.initPid}\t${state}\t${lab.dir}\n`);
  }
  return 0;
}

/** Takes --name NAME off the front, so that everything else is the guest's or kubectl's. */
function takeName(argv: readonly string[]): { readonly lab: RunningLab; readonly args: readonly string[] } {
  const [first, second, ...rest] = argv;
  if (first === '--name' && second !== undefined) return { lab: findLab(second), args: rest };
  if (first?.startsWith('--name=')) return { lab: findLab(first.slice(7)), args: argv.slice(1) };
  return { lab: findLab(undefined), args: argv };
}

async function ask(command: 'status' | 'exec' | 'fault', argv: readonly string[]): Promise<number> {
  const { lab, args } = takeName(argv);
  if (lab.kept === undefined)
    throw new LabError(`lab ${lab.name} is running a command of its own (or isn't ready): it takes no orders`);
  const reply = await askLab(
    path.join(lab.dir, CONTROL_SOCKET),
    await requestOf(command, args),
    EXEC_TIMEOUT_MS + 5_000,
  );
  process.stdout.write(reply.stdout);
  process.stderr.write(reply.stderr);
  return reply.code;
}

const EXEC_TIMEOUT_MS = 3_600_000;

async function requestOf(command: 'status' | 'exec' | 'fault', args: readonly string[]): Promise<ControlRequest> {
  if (command === 'status') return { kind: 'status' };
  if (command === 'fault') return { kind: 'fault', words: args };
  const [vm, ...given] = args;
  const words = given[0] === '--' ? given.slice(1) : given;
  if (vm === undefined || words.length === 0)
    throw new LabError('usage: node test/lab/main.ts exec [--name NAME] VM COMMAND…');
  const input = await pipedInput();
  return {
    kind: 'exec',
    vm,
    command: words.join(' '),
    timeoutMs: EXEC_TIMEOUT_MS,
    ...(input.length === 0 ? {} : { input: input.toString('base64') }),
  };
}

/** Standard input when it is a pipe or a file with something in it; never waits for a terminal. */
async function pipedInput(): Promise<Buffer> {
  const stat = fstatSync(0);
  if (!stat.isFIFO() && !stat.isFile()) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

async function showConsole(argv: readonly string[]): Promise<number> {
  const { lab, args } = takeName(argv);
  const vm = lab.kept?.vms.find((candidate) => candidate.name === args[0]);
  if (vm === undefined)
    throw new LabError(`usage: console VM; the VMs are ${lab.kept?.vms.map((one) => one.name).join(', ')}`);
  return await attached('cat', [vm.consoleFile], {});
}

/** Runs a program of the machine in the lab's network. */
async function inside(command: 'kubectl' | 'shell', argv: readonly string[]): Promise<number> {
  const { lab, args } = takeName(argv);
  const kubeconfig = lab.kept?.kubeconfigPath;
  if (kubeconfig === undefined) throw new LabError(`lab ${lab.name} has no control plane (yet)`);
  if (command === 'kubectl' && findProgram('kubectl') === undefined) {
    throw new LabError(
      `kubectl is not installed on this machine. The kubeconfig is ${kubeconfig}, for use inside the lab's network.`,
    );
  }
  const program = command === 'kubectl' ? 'kubectl' : (process.env['SHELL'] ?? '/bin/sh');
  return await attached('nsenter', ['-t', String(lab.supervisor.initPid), '-n', program, ...args], {
    KUBECONFIG: kubeconfig,
  });
}

async function attached(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  return await new Promise<number>((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, ...env } });
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

try {
  process.exitCode = await main(process.argv.slice(2));
  if (process.exitCode !== undefined) process.exit();
} catch (error) {
  if (!(error instanceof LabError)) throw error;
  process.stderr.write(`lab: ${error.message}\n`);
  process.exit(1);
}
