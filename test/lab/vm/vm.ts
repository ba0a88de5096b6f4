import path from 'node:path';
import { LabError } from '../errors.ts';
import { createTap, deleteTap, tapName } from '../network.ts';
import { measureClock, setClock, type ClockReading } from './clock.ts';
import { shellQuote } from '../../../lib/host/exec.ts';
import { execInGuest, GUEST_ENV, type ExecOptions, type ExecResult, type RawExecResult } from './exec.ts';
import { guestPaths, requireRunning, startGuest, waitForAgent, type GuestFiles, type RunningGuest } from './guest.ts';
import type { Flavour } from './flavour.ts';
import { identityScript, type Identity } from './identity.ts';
import { diskNode, type Hardware } from './qemu-args.ts';
import type { Qmp } from './qmp.ts';
import { resume, sparseFile, type Template } from './template.ts';

export type Role = 'storage' | 'client';

export interface DataDisk {
  /** As the guest sees it. */
  readonly device: string;
  readonly serial: string;
  readonly sizeBytes: number;
  /** The image on the host. */
  readonly file: string;
}

/** A VM of the lab. Its disks and its identity outlive a power cycle; nothing else does. */
export interface Vm extends Identity {
  readonly role: Role;
  /** The failure domain it plays: a, b, c, d, … */
  readonly zone: string;
  readonly dataDisks: readonly DataDisk[];
  /** The host's end of the guest's /dev/virtio-ports/holdfast.log: what was written there survives the VM's death. */
  readonly ackLogFile: string;
  readonly consoleFile: string;
  readonly tap: string;
  readonly running: () => boolean;
  /** Runs a shell command as root in the guest, through the guest agent: the network isn't needed. */
  readonly exec: (command: string, options?: ExecOptions) => Promise<ExecResult>;
  /** The same, with the bytes that it prints as they are. */
  readonly execRaw: (command: string, options?: ExecOptions) => Promise<RawExecResult>;
  /**
   * Starts a daemon in its own session and returns its process id. Its output is appended to logFile, a path in the guest.
   * The command is run by `exec` of the shell: one program with its arguments.
   */
  readonly spawn: (command: string, options: SpawnOptions) => Promise<number>;
  /** Writes a file in the guest; the folder is made. */
  readonly writeFile: (file: string, data: string | Uint8Array, mode?: number) => Promise<void>;
  readonly readFile: (file: string) => Promise<Buffer>;
  /** How far the guest's clock is before (+) or behind (-) the host's, and how sure that is. */
  readonly clock: () => Promise<ClockReading>;
  /** Pulls the plug: kill -9 of QEMU. Nothing when it is off. */
  readonly powerOff: () => Promise<void>;
  /**
   * Starts it, freshly booted, with its disks. Returns when commands can be run. Nothing when it is on. `beforeLinkUp` is a
   * shell script to run before its network is there.
   */
  readonly powerOn: (beforeLinkUp?: string) => Promise<void>;
  /** Freezes and thaws the virtual CPU, as a stalled hypervisor does. */
  readonly pause: () => Promise<void>;
  readonly unpause: () => Promise<void>;
  /** Powers it off for good and removes its network port. Its disks go with the lab's folder. */
  readonly remove: () => Promise<void>;
  /** QEMU's control socket; throws LabError when the VM is off. */
  readonly qmp: () => Qmp;
}

export interface SpawnOptions {
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface VmSpec {
  readonly identity: Identity;
  readonly role: Role;
  readonly zone: string;
  readonly hardware: Hardware;
  readonly dataDiskBytes: readonly number[];
  readonly flavour?: Flavour;
}

export interface VmContext {
  readonly dir: string;
  readonly files: GuestFiles;
  /** Undefined: always boot from cold. */
  readonly template: Template | undefined;
  readonly appImage: string;
  readonly withApp: boolean;
  readonly hosts: readonly string[];
}

/** Makes a VM's disks and network port; powerOn starts it. */
export async function createVm(spec: VmSpec, context: VmContext): Promise<Vm> {
  const { identity } = spec;
  const { name } = identity;
  const paths = guestPaths(context.dir, name);
  const tap = tapName(name);
  await createTap(tap);
  const dataDisks: DataDisk[] = [];
  for (const [index, sizeBytes] of spec.dataDiskBytes.entries()) {
    const file = await sparseFile(path.join(context.dir, `${name}.disk${index + 1}`), sizeBytes);
    const device = `/dev/vd${String.fromCodePoint('c'.charCodeAt(0) + index)}`;
    dataDisks.push({ device, serial: `${name}-disk${index + 1}`, sizeBytes, file });
  }
  if (spec.flavour !== undefined && context.template === undefined)
    throw new LabError(`${name}: a VM with a flavour starts from its saved state, never from cold`);
  const backends = {
    ...paths,
    tap,
    mac: identity.mac,
    appImage: context.appImage,
    dataImages: dataDisks,
    ...(spec.flavour === undefined || context.template === undefined
      ? {}
      : { flavourDisk: { file: context.template.diskFile, forget: true } }),
  };
  let current: RunningGuest | undefined;

  const guest = (): RunningGuest => {
    if (current === undefined) throw new LabError(`${name} is powered off`);
    requireRunning(current.daemon);
    return current;
  };
  const execRaw = async (command: string, options?: ExecOptions) =>
    await execInGuest(guest().qga, name, command, options);
  const exec: Vm['exec'] = async (command, options) => {
    const result = await execRaw(command, options);
    return { ...result, stdout: result.stdout.toString() };
  };
  const start = async (beforeLinkUp: string): Promise<RunningGuest> => {
    const { template } = context;
    const memory =
      template === undefined ? ({ kind: 'plain' } as const) : ({ kind: 'resume', file: template.ramFile } as const);
    const started = await startGuest(context.files, name, spec.hardware, backends, memory, paths.qemuLog);
    try {
      if (template !== undefined) {
        await resume(started.qmp, template.stateFile);
        // The saved guest remembers disks of another size.
        for (const [index, disk] of dataDisks.entries()) {
          await started.qmp.execute('block_resize', { 'node-name': diskNode(index).format, size: disk.sizeBytes });
        }
      }
      await waitForAgent(started, paths.consoleFile, 90_000);
      await setClock(started.qga, name);
      await execInGuest(started.qga, name, identityScript(identity, context.hosts, context.withApp, beforeLinkUp), {
        timeoutMs: 60_000,
      });
      return started;
    } catch (error) {
      await started.kill();
      throw error;
    }
  };
  const powerOff = async (): Promise<void> => {
    const stopping = current;
    current = undefined;
    await stopping?.kill();
  };
  return {
    ...identity,
    role: spec.role,
    zone: spec.zone,
    dataDisks,
    ackLogFile: paths.ackLogFile,
    consoleFile: paths.consoleFile,
    tap,
    running: () => current !== undefined && current.daemon.ended() === undefined,
    exec,
    execRaw,
    spawn: async (command, options) => {
      const env = Object.entries({ ...GUEST_ENV, ...options.env }).map(([key, value]) => shellQuote(`${key}=${value}`));
      const inner = shellQuote(`exec ${command}`);
      const log = shellQuote(options.logFile);
      const started = await exec(
        `mkdir -p ${shellQuote(path.posix.dirname(options.logFile))}; ` +
          `setsid env ${env.join(' ')} /bin/bash -c ${inner} </dev/null >>${log} 2>&1 & echo $!`,
      );
      return Number(started.stdout.trim());
    },
    writeFile: async (file, data, mode = 0o644) => {
      const target = shellQuote(file);
      const temporary = shellQuote(`${file}.lab-new`);
      const command = `mkdir -p "$(dirname ${target})" && cat > ${temporary} && chmod ${mode.toString(8)} ${temporary} && mv -f ${temporary} ${target}`;
      await execRaw(command, { input: data });
    },
    readFile: async (file) => (await execRaw(`cat ${shellQuote(file)}`)).stdout,
    clock: async () => await measureClock(guest().qga),
    powerOff,
    powerOn: async (beforeLinkUp = '') => {
      if (current !== undefined && current.daemon.ended() === undefined) return;
      await current?.kill();
      current = await start(beforeLinkUp);
    },
    pause: async () => {
      await guest().qmp.execute('stop');
    },
    unpause: async () => {
      await guest().qmp.execute('cont');
    },
    remove: async () => {
      await powerOff();
      await deleteTap(tap);
    },
    qmp: () => guest().qmp,
  };
}
