import type { ExecOptions, ExecResult } from '../../../lib/host/exec.ts';
import { ExecError } from '../../../lib/host/exec.ts';
import type { ProgramHandle } from '../scheduler.ts';
import { BLOCK_BYTES, Counters, type Answer, type BlockDevice, type Request } from './io.ts';
import type { NamespaceHead, NvmeHostKernel } from './nvme.ts';
import type { KernelWorld } from './types.ts';

interface Held {
  readonly request: Request;
  readonly answer: Answer;
}

interface Table {
  readonly path: NamespaceHead;
  readonly sizeBytes: number;
  readonly queues: boolean;
}

/** A dm-multipath device with one path, bio based (drivers/md/dm-mpath.c, dm.c). */
export class ValveDevice implements BlockDevice {
  readonly name: string;
  readonly device: string;
  readonly devNo: string;
  readonly counters = new Counters();
  sizeBytes: number;
  path: NamespaceHead;
  pathFailed = false;
  queues: boolean;
  suspended = false;
  /** md holds it. */
  claimed = false;
  /** The table that `resume` brings in. */
  next: Table | undefined;
  private held: Held[] = [];
  private below = 0;
  private onIdle: (() => void)[] = [];
  private readonly nowMs: () => number;

  constructor(name: string, minor: number, table: Table, nowMs: () => number) {
    this.name = name;
    this.device = `dm-${minor}`;
    this.devNo = `253:${minor}`;
    this.path = table.path;
    this.sizeBytes = table.sizeBytes;
    this.queues = table.queues;
    this.nowMs = nowMs;
  }

  submit(request: Request, answer: Answer): void {
    const end = this.counters.begin(request, this.nowMs());
    this.map({
      request,
      answer: (status, values) => {
        end(this.nowMs());
        answer(status, values);
      },
    });
  }

  private map(io: Held): void {
    const { block, count, op } = io.request;
    if (op !== 'flush' && (block + count) * BLOCK_BYTES > this.sizeBytes)
      throw new Error(`${this.name}: I/O beyond its end`);
    if (this.suspended || (this.pathFailed && this.queues)) {
      this.held.push(io);
      return;
    }
    if (this.pathFailed) return io.answer('path');
    this.below += 1;
    this.path.submit(io.request, (status, values) => {
      this.below -= 1;
      if (status === 'path') {
        this.pathFailed = true;
        this.map(io);
      } else io.answer(status, values);
      if (this.below === 0) for (const go of this.onIdle.splice(0)) go();
    });
  }

  /** What waits is tried again under the rules of now. */
  kick(): void {
    const held = this.held;
    this.held = [];
    for (const io of held) this.map(io);
  }

  /** Nothing goes down any more; resolves when what is below has come back. */
  suspend(): Promise<void> {
    this.suspended = true;
    if (this.below === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.onIdle.push(resolve);
    });
  }

  resume(): void {
    if (this.next) {
      this.path = this.next.path;
      this.sizeBytes = this.next.sizeBytes;
      // A new table begins as its text says, with a path that works.
      this.pathFailed = false;
      this.queues = this.next.queues;
      this.next = undefined;
    }
    this.suspended = false;
    this.kick();
  }

  status(): string {
    const path = `${this.path.devNo} ${this.pathFailed ? 'F 1' : 'A 0'}`;
    return `0 ${this.sizeBytes / 512} multipath 2 1 0 0 1 1 E 0 1 0 ${path} \n`;
  }
}

/** device-mapper, driven by dmsetup(8)'s command lines. */
export class Mapper {
  readonly valves = new Map<string, ValveDevice>();
  private readonly world: KernelWorld;
  private readonly nvme: NvmeHostKernel;

  constructor(world: KernelWorld, nvme: NvmeHostKernel) {
    this.world = world;
    this.nvme = nvme;
  }

  byDevNo(devNo: string): ValveDevice | undefined {
    for (const valve of this.valves.values()) if (valve.devNo === devNo) return valve;
    return undefined;
  }

  byDevice(device: string): ValveDevice | undefined {
    for (const valve of this.valves.values()) if (valve.device === device) return valve;
    return undefined;
  }

  /** Runs one command as a turn of a program. */
  async exec(
    program: ProgramHandle,
    command: string,
    args: readonly string[],
    { ok = [0] }: ExecOptions = {},
  ): Promise<ExecResult> {
    const line = [command, ...args].join(' ');
    const looks = args[0] === 'status';
    const run = async (): Promise<ExecResult> => {
      const answer = command === 'dmsetup' ? await this.dmsetup(args) : 'not found';
      const result =
        typeof answer === 'string'
          ? { code: 1, stdout: '', stderr: answer }
          : { code: 0, stdout: answer.out, stderr: '' };
      if (ok.includes(result.code)) return result;
      throw new ExecError(`${line}: exit code ${result.code}: ${result.stderr}`, line, result);
    };
    return await (looks ? run() : this.world.turn(program, shortly(args), run));
  }

  /** @returns the output, or what it complains of. */
  private async dmsetup([verb = '', ...args]: readonly string[]): Promise<{ out: string } | string> {
    const nothing = { out: '' };
    const name = args.find((arg) => !arg.startsWith('-')) ?? '';
    const valve = this.valves.get(name);
    if (verb === 'create') {
      if (valve) return `Device or resource busy`;
      const table = this.parse(args.at(-1) ?? '');
      if (typeof table === 'string') return table;
      let minor = 0;
      while (this.byDevice(`dm-${minor}`)) minor += 1;
      this.valves.set(name, new ValveDevice(name, minor, table, () => this.world.now()));
      return nothing;
    }
    if (!valve) return `Device ${name} not found: No such device or address`;
    switch (verb) {
      case 'remove':
        if (valve.claimed) return 'Device or resource busy';
        this.valves.delete(name);
        return nothing;
      case 'status':
        return { out: valve.status() };
      case 'load': {
        const table = this.parse(args.at(-1) ?? '');
        if (typeof table === 'string') return table;
        valve.next = table;
        return nothing;
      }
      case 'suspend':
        await valve.suspend();
        return nothing;
      case 'clear':
        valve.next = undefined;
        return nothing;
      case 'resume':
        valve.resume();
        return nothing;
      case 'message':
        return this.message(valve, args.slice(2).join(' ')) ?? nothing;
      default:
        return `unknown command ${verb}`;
    }
  }

  private parse(table: string): Table | string {
    const words = table.split(' ');
    const path = this.nvme.byDevNo(words.at(-2) ?? '');
    if (!path || words[2] !== 'multipath') return `device-mapper: error: No such device: ${table}`;
    const sizeBytes = Number(words[1]) * 512;
    if (sizeBytes > path.sizeBytes) return 'device-mapper: device too small for target';
    return { path, sizeBytes, queues: words.includes('queue_if_no_path') };
  }

  private message(valve: ValveDevice, text: string): string | undefined {
    const [verb, path] = text.split(' ');
    if (valve.suspended) return 'device-mapper: message ioctl failed: Device or resource busy';
    if (verb === 'fail_if_no_path' || verb === 'queue_if_no_path') valve.queues = verb === 'queue_if_no_path';
    else if (path !== valve.path.devNo) return 'device-mapper: message failed: Invalid argument';
    else valve.pathFailed = verb === 'fail_path';
    valve.kick();
    return undefined;
  }
}

/** For traces: the command without the table. */
function shortly(args: readonly string[]): string {
  const at = args.indexOf('--table');
  return `dmsetup ${(at < 0 ? args : args.slice(0, at)).join(' ')}`;
}
