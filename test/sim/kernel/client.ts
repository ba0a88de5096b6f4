import type { AgentPorts } from '../../../csi-driver/node/agent/ports.ts';
import { isReplicaNqn, VALVE_PREFIX } from '../../../lib/api/names.ts';
import { createMd, suspendPath } from '../../../lib/host/md.ts';
import { createNvmeHost, type NvmeHost } from '../../../lib/host/nvme.ts';
import { SysfsError, type Sysfs } from '../../../lib/host/sysfs.ts';
import { createValves } from '../../../lib/host/valve.ts';
import type { ProgramHandle } from '../scheduler.ts';
import { csiHost, type CsiMachine } from './csi.ts';
import { BLOCK_BYTES, errno, type IoStatus, type Request } from './io.ts';
import type { MdArray } from './md.ts';
import { bootIdOf } from './names.ts';
import { pagesOf } from './pages.ts';
import { NvmeHostKernel } from './nvme.ts';
import { SysfsTree } from './sysfs.ts';
import type { ClientKernel, ClientKernelOptions, KernelWorld } from './types.ts';
import { MountTable, WriterProcess, type Process } from './users.ts';
import { Mapper } from './valve.ts';

/** All that goes with the power: one boot of a client machine. */
class Boot implements CsiMachine {
  readonly handle: ProgramHandle;
  readonly world: KernelWorld;
  readonly nvme: NvmeHostKernel;
  readonly mapper: Mapper;
  readonly sysfs: SysfsTree;
  readonly mounts: MountTable;
  readonly links = new Map<string, string>();
  readonly processes = new Set<Process>();
  private pids = 1000;

  constructor(machine: string, world: KernelWorld) {
    this.handle = { name: `kernel of ${machine}`, alive: true };
    this.world = world;
    this.nvme = new NvmeHostKernel(world, machine, this.handle);
    this.mapper = new Mapper(world, this.nvme);
    this.sysfs = new SysfsTree(world, this.nvme, this.mapper);
    this.mounts = new MountTable((array) => this.usersOf(array).length > 0);
  }

  nextPid(): number {
    return (this.pids += 1);
  }

  usersOf(array: MdArray): Process[] {
    return [...this.processes].filter((process) => process.array === array);
  }

  byDevNo(devNo: string): MdArray | undefined {
    return [...this.sysfs.arrays.values()].find((array) => array.devNo === devNo);
  }

  arrayAt(path: string): MdArray | undefined {
    const mounted = this.mounts.at(path);
    if (mounted) return mounted.array;
    const device = this.links.get(path) ?? path;
    const array = this.sysfs.arrays.get(device.replace('/dev/', ''));
    return array?.running === true ? array : undefined;
  }
}

/** More than a world needs: one user without a process, for tests of the kernel by itself. */
export interface ClientEnd extends ClientKernel {
  /** Writes a block, durable before it counts. The device stays open until `releaseDevice`. */
  submitWrite(path: string, block: number, value: number, done: (ok: boolean) => void): void;
  releaseDevice(path: string): Promise<void>;
  submitFlush(path: string): Promise<void>;
}

/** A client machine: its NVMe/TCP host, valves, md arrays, mounts and user processes. */
export function createClientKernel(options: ClientKernelOptions): ClientEnd {
  const { machine, world } = options;
  let boots = 0;
  let on = true;
  let boot = new Boot(machine, world);
  const held = new Set<MdArray>();
  return {
    machine,
    get on() {
      return on;
    },
    get bootId() {
      return bootIdOf(machine, boots);
    },
    ports: (program) => agentPorts(boot, program, bootIdOf(machine, boots)),
    csi: (program) => csiHost(program, () => boot),
    startWriter(writer) {
      const array = boot.arrayAt(writer.path);
      if (!array || array.readOnly) return undefined;
      const { processes, mounts, handle } = boot;
      const onEnd = (process: Process): void => {
        processes.delete(process);
        mounts.sweep();
      };
      const started = new WriterProcess(boot.nextPid(), array, writer, { world, boot: handle, onEnd });
      processes.add(started);
      return started;
    },
    submitWrite(path, block, value, done) {
      const array = boot.arrayAt(path);
      if (!array) return done(false);
      if (!held.has(array)) array.openers += 1;
      held.add(array);
      array.submit({ op: 'write', block, count: 1, values: [value], fua: true }, (status) => done(status === 'ok'));
    },
    submitFlush: (path) =>
      new Promise((resolve, reject) => {
        const done = (status: IoStatus): void => (status === 'ok' ? resolve() : reject(errno('EIO', 'flush')));
        boot.arrayAt(path)?.submit({ op: 'flush', block: 0, count: 0 }, done);
      }),
    releaseDevice(path) {
      const array = boot.arrayAt(path);
      if (array && held.delete(array)) array.openers -= 1;
      return Promise.resolve();
    },
    powerOff() {
      if (!on) return;
      on = false;
      boot.handle.alive = false;
      for (const process of boot.processes) process.kill();
    },
    powerOn() {
      if (on) return;
      on = true;
      boots += 1;
      boot = new Boot(machine, world);
    },
    leftovers: () => ({
      arrays: on ? [...boot.sysfs.arrays.keys()] : [],
      valves: on ? [...boot.mapper.valves.keys()].filter((name) => name.startsWith(VALVE_PREFIX)) : [],
      controllers: on
        ? [...boot.nvme.controllers.values()].map(({ options: { nqn } }) => nqn).filter((nqn) => isReplicaNqn(nqn))
        : [],
      mounts: on ? boot.mounts.mounted.flatMap(({ targets }) => targets.map(({ path }) => path)) : [],
      links: on ? [...boot.links.keys()] : [],
    }),
  };
}

function agentPorts(boot: Boot, program: ProgramHandle, bootId: string): AgentPorts {
  const { world, mounts, links } = boot;
  const pages = pagesOf(world);
  const turn = async <T>(label: string, effect: () => Promise<T> | T): Promise<T> =>
    await world.turn(program, label, effect);
  const sysfs: Sysfs = {
    readAttribute: (path) => boot.sysfs.read(path),
    listDirectory: (path) => boot.sysfs.list(path),
    open: (path) => boot.sysfs.open(path),
    // Nothing may depend on it.
    watch: () => () => undefined,
    writeAttribute: (path, value) =>
      turn(`echo ${value} > ${path.replace('/sys/block/', '')}`, async () => {
        try {
          await boot.sysfs.write(path, value, () => program.alive);
        } catch (error) {
          const { code = 'UNKNOWN' } = error as { code?: string };
          throw new SysfsError(`writing "${value}" to ${path}: ${code}`, code);
        }
      }),
  };
  return {
    bootId,
    clock: {
      now: () => world.clockOf(program).now(),
      monotonicMs: () => world.now(),
      setTimeout: (run, ms) => world.after(program, ms, 'timer', run),
    },
    sysfs,
    md: createMd(sysfs),
    nvme: nvmePort(boot, program, sysfs),
    valves: createValves(sysfs, (command, args, how) => boot.mapper.exec(program, command, args, how)),
    users: {
      mountPoints(devNo) {
        const array = boot.byDevNo(devNo);
        const found = mounts.mounted.filter((each) => each.array === array);
        return Promise.resolve(found.flatMap(({ targets }) => targets.map(({ path }) => path)).toReversed());
      },
      list(devNo) {
        const array = boot.byDevNo(devNo);
        return Promise.resolve(array ? boot.usersOf(array).map(({ pid }) => pid) : []);
      },
      kill(pid) {
        for (const process of boot.processes) if (process.pid === pid && program.alive) process.kill();
      },
      unmountLazily: (mountPoint) =>
        turn(`umount --lazy ${mountPoint}`, () => {
          if (mounts.at(mountPoint)) mounts.remove(mountPoint, true);
        }),
    },
    links: {
      list: () => [...links.keys()],
      read: (path) => links.get(path),
      point: (path, target) => turn(`ln ${target} ${path}`, () => void links.set(path, target)),
      remove: (path) => turn(`rm ${path}`, () => void links.delete(path)),
    },
    readDevice: (device, offsetBytes, lengthBytes, timeoutMs) =>
      turn(`dd if=${device}`, async () => {
        const count = Math.ceil(lengthBytes / BLOCK_BYTES);
        const request = { op: 'read', block: offsetBytes / BLOCK_BYTES, count } as const;
        const values = await direct(boot, device, request, timeoutMs);
        return Buffer.concat(values.map((value) => pages.bytes(value))).toString('latin1');
      }),
    writeDevice: (device, offsetBytes, bytes, timeoutMs) =>
      turn(`dd of=${device}`, async () => {
        const values = pages.keep(bytes);
        const block = offsetBytes / BLOCK_BYTES;
        const request = { op: 'write', block, count: values.length, values, fua: true } as const;
        await direct(boot, device, request, timeoutMs);
      }),
    flushDevice: (device, timeoutMs) =>
      turn(`sync ${device}`, async () => {
        await direct(boot, device, { op: 'flush', block: 0, count: 0 }, timeoutMs);
      }),
    // Nothing of a filesystem is in memory only here.
    syncFilesystem: () => Promise.resolve(),
    guardSuspension: (array, ms) =>
      turn(`guard ${array}`, () =>
        world.after(
          boot.handle,
          ms,
          'guard',
          () => void boot.sysfs.write(suspendPath(array), '0').catch(() => undefined),
        ),
      ),
    newToken: () => `${bootId}-${world.now()}-${world.fraction()}`,
    prepare: () => Promise.resolve(),
  };
}

function nvmePort(boot: Boot, program: ProgramHandle, sysfs: Sysfs): NvmeHost {
  const { world, nvme } = boot;
  return {
    ...createNvmeHost(sysfs),
    async answersTcp(address, port, timeoutMs) {
      const answers = await world.turn(program, 'tcp probe', () => nvme.answersTcp(address, port));
      if (!answers) await world.timer(program, timeoutMs, 'tcp probe');
      return answers;
    },
    connectController: async (options) =>
      await world.turn(program, `connect ${options.address}`, () => nvme.connect(options)),
  };
}

/** One request to a valve, as dd makes it past the page cache; given up after a while, though it may still be done. */
function direct(boot: Boot, device: string, request: Request, timeoutMs: number): Promise<readonly number[]> {
  return new Promise((resolve, reject) => {
    const valve = boot.mapper.byDevice(device);
    if (!valve) throw errno('ENOENT', device);
    const cancel = boot.world.after(boot.handle, timeoutMs, 'dd timed out', () =>
      reject(errno('ETIME', `dd ${device}`)),
    );
    valve.submit(request, (status, values = []) => {
      cancel();
      if (status === 'ok') resolve(values);
      else reject(errno('EIO', `dd ${device}`));
    });
  });
}
