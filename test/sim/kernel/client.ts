import type { AgentPorts } from '../../../csi-driver/node/agent/ports.ts';
import { isReplicaNqn, VALVE_PREFIX } from '../../../lib/api/names.ts';
import { createMd } from '../../../lib/host/md.ts';
import { createNvmeHost, type NvmeHost } from '../../../lib/host/nvme.ts';
import { SysfsError, type Sysfs } from '../../../lib/host/sysfs.ts';
import { createValves } from '../../../lib/host/valve.ts';
import { WORLD_BEGAN_MS, type ProgramHandle } from '../scheduler.ts';
import { csiHost, type CsiMachine } from './csi.ts';
import { BLOCK_BYTES, errno } from './io.ts';
import type { MdArray } from './md.ts';
import { bootIdOf } from './names.ts';
import { NvmeHostKernel } from './nvme.ts';
import { SysfsTree } from './sysfs.ts';
import type { ClientKernel, ClientKernelOptions, KernelWorld } from './types.ts';
import { MountTable, WriterProcess, type Process } from './users.ts';
import { Mapper } from './valve.ts';

/** A child process of the agent's is given up after this long (lib/host/exec.ts). */
const EXEC_TIMEOUT_MS = 30_000;

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

/** A client machine: its NVMe/TCP host, valves, md arrays, mounts and user processes. */
export function createClientKernel(options: ClientKernelOptions): ClientKernel {
  const { machine, world } = options;
  let boots = 0;
  let on = true;
  let boot = new Boot(machine, world);
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
  const turn = async <T>(label: string, effect: () => Promise<T> | T): Promise<T> =>
    await world.turn(program, label, effect);
  const sysfs: Sysfs = {
    readAttribute: (path) => boot.sysfs.read(path),
    listDirectory: (path) => boot.sysfs.list(path),
    open: (path) => boot.sysfs.open(path),
    writeAttribute: (path, value) =>
      turn(`echo ${value} > ${path.replace('/sys/block/', '')}`, async () => {
        try {
          await boot.sysfs.write(path, value);
        } catch (error) {
          const { code = 'UNKNOWN' } = error as { code?: string };
          throw new SysfsError(`writing "${value}" to ${path}: ${code}`, code);
        }
      }),
  };
  return {
    bootId,
    clock: {
      now: () => WORLD_BEGAN_MS + world.now(),
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
      read: (path) => links.get(path),
      point: (path, target) => turn(`ln ${target} ${path}`, () => void links.set(path, target)),
      remove: (path) => turn(`rm ${path}`, () => void links.delete(path)),
    },
    readDevice: (device, offsetBytes, lengthBytes) =>
      turn(`dd ${device}`, () => readPage(boot, device, offsetBytes / BLOCK_BYTES, lengthBytes)),
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

/** A page of the bitmap: bytes, of which only the first ones can be other than zero. */
function readPage(boot: Boot, device: string, block: number, lengthBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const cancel = boot.world.after(boot.handle, EXEC_TIMEOUT_MS, 'dd timed out', () =>
      reject(errno('ETIME', `dd ${device}`)),
    );
    const valve = boot.mapper.byDevice(device);
    if (!valve) throw errno('ENOENT', device);
    valve.submit({ op: 'read', block, count: 1 }, (status, values) => {
      cancel();
      const page = values?.[0];
      if (status !== 'ok' || page === undefined) return reject(errno('EIO', `dd ${device}`));
      const bytes = [0, 8, 16, 24].map((shift) => (page >>> shift) & 0xff);
      resolve(String.fromCharCode(...bytes).padEnd(Math.max(4, lengthBytes), '\0'));
    });
  });
}
