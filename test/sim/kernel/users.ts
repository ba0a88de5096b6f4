import type { Operation } from '../../history/history.ts';
import { BLOCK_BYTES, errno } from './io.ts';
import type { MdArray } from './md.ts';
import type { KernelWorld, Writer, WriterOptions } from './types.ts';
import type { ProgramHandle } from '../scheduler.ts';

/** A user process of the machine that has an array open. */
export interface Process {
  readonly pid: number;
  readonly array: MdArray;
  readonly alive: boolean;
  kill(): void;
}

type Mutable<T> = { -readonly [key in keyof T]: T[key] };

/**
 * Writes numbered blocks past the page cache (O_DIRECT), one after the other or some at once, and notes when it asked and when it
 * was answered. Each write is durable before it counts (O_DSYNC), or is made so by a flush later (fsync). A process that is killed while the kernel has I/O of its own stays until that ends.
 */
export class WriterProcess implements Writer, Process {
  readonly pid: number;
  readonly array: MdArray;
  alive = true;
  errors = 0;
  private stopping = false;
  private underWay = 0;
  private turns = -1;
  private open = true;
  private readonly busy = new Set<number>();
  private readonly options: WriterOptions;
  private readonly world: KernelWorld;
  private readonly boot: ProgramHandle;
  private readonly onEnd: (process: Process) => void;

  constructor(
    pid: number,
    array: MdArray,
    options: WriterOptions,
    machine: { readonly world: KernelWorld; readonly boot: ProgramHandle; onEnd(process: Process): void },
  ) {
    this.pid = pid;
    this.array = array;
    this.options = options;
    this.world = machine.world;
    this.boot = machine.boot;
    this.onEnd = (process) => machine.onEnd(process);
    array.openers += 1;
    for (let depth = options.depth ?? 1; depth > 0; depth -= 1) this.later();
  }

  stop(): void {
    this.stopping = true;
    this.endIfIdle();
  }

  kill(): void {
    this.alive = false;
    this.endIfIdle();
  }

  private later(): void {
    const { thinkMs = 20 } = this.options;
    this.world.after(this.boot, thinkMs * (0.5 + this.world.fraction()), this.options.name, () => this.next());
  }

  private next(): void {
    if (!this.alive || this.stopping) return this.endIfIdle();
    const { blocks, readOneIn = 0, flushOneIn = 0 } = this.options;
    if (flushOneIn > 0 && this.world.fraction() * flushOneIn < 1) return this.flush();
    // Writes of one block at the same time would have no order.
    const blockCount = this.array.sizeBytes / BLOCK_BYTES;
    const free = blocks.filter((block) => !this.busy.has(block) && block < blockCount);
    const block =
      free[this.options.inTurn ? (this.turns += 1) % free.length : Math.floor(this.world.fraction() * free.length)];
    if (block === undefined) return this.later();
    this.busy.add(block);
    this.underWay += 1;
    if (readOneIn > 0 && this.world.fraction() * readOneIn < 1) this.read(block);
    else this.write(block);
  }

  private write(block: number): void {
    const { name, history, nextValue, onAcknowledge, flushOneIn = 0 } = this.options;
    const value = nextValue();
    const isDurable = flushOneIn === 0;
    const write: Mutable<Extract<Operation, { kind: 'write' }>> = {
      kind: 'write',
      client: name,
      block,
      value,
      invokedMs: this.world.now(),
    };
    history.push(write);
    this.array.submit({ op: 'write', block, count: 1, values: [value], fua: isDurable }, (status) => {
      if (this.alive && status === 'ok') {
        onAcknowledge?.({ writer: name, block, value, isDurable });
        write.completedMs = this.world.now();
      }
      this.answered(block, status === 'ok');
    });
  }

  private read(block: number): void {
    const { name, history } = this.options;
    const invokedMs = this.world.now();
    this.array.submit({ op: 'read', block, count: 1 }, (status, values) => {
      const value = values?.[0];
      if (this.alive && status === 'ok' && value !== undefined) {
        history.push({ kind: 'read', client: name, block, value, invokedMs, completedMs: this.world.now() });
      }
      this.answered(block, status === 'ok');
    });
  }

  private flush(): void {
    const { name, onFlush } = this.options;
    const done = onFlush?.(name);
    this.underWay += 1;
    this.array.submit({ op: 'flush', block: 0, count: 0 }, (status) => {
      if (this.alive && status === 'ok') done?.();
      this.answered(undefined, status === 'ok');
    });
  }

  private answered(block: number | undefined, ok: boolean): void {
    if (block !== undefined) this.busy.delete(block);
    this.underWay -= 1;
    // One that was killed is told nothing any more.
    if (!ok && this.alive) {
      // A program that gets an error gives up: it can't know what is on the disk.
      this.errors += 1;
      this.alive = false;
    }
    if (this.alive && !this.stopping) this.later();
    else this.endIfIdle();
  }

  private endIfIdle(): void {
    if (this.underWay > 0 || !this.open) return;
    this.open = false;
    this.alive = false;
    this.array.openers -= 1;
    this.onEnd(this);
  }
}

/** A mounted filesystem: its root, and the paths at which it is to be seen. */
export interface Mounted {
  readonly array: MdArray;
  readonly fsType: string;
  readonly source: string;
  targets: { readonly path: string; options: string[] }[];
}

/** The mounts of a machine. A filesystem goes when no path shows it and no process uses it. */
export class MountTable {
  mounted: Mounted[] = [];
  private readonly isUsed: (array: MdArray) => boolean;

  constructor(isUsed: (array: MdArray) => boolean) {
    this.isUsed = isUsed;
  }

  at(path: string): Mounted | undefined {
    return this.mounted.findLast((each) => each.targets.some((target) => target.path === path));
  }

  add(array: MdArray, fsType: string, source: string, target: { path: string; options: string[] }): void {
    const known = this.mounted.find((each) => each.array === array && each.targets.length > 0);
    if (known) {
      known.targets.push(target);
      return;
    }
    array.openers += 1;
    this.mounted.push({ array, fsType, source, targets: [target] });
  }

  /** @throws Error EINVAL when nothing is mounted there, EBUSY while a process uses it (unless lazy) */
  remove(path: string, lazily: boolean): void {
    const found = this.at(path);
    if (!found) throw errno('EINVAL', `umount ${path}`);
    if (!lazily && found.targets.length === 1 && this.isUsed(found.array)) throw errno('EBUSY', `umount ${path}`);
    const index = found.targets.findLastIndex((target) => target.path === path);
    found.targets.splice(index, 1);
    this.sweep();
  }

  /** Filesystems without a path whose last user has gone are given up. */
  sweep(): void {
    for (const each of this.mounted) {
      if (each.targets.length > 0 || this.isUsed(each.array)) continue;
      each.array.openers -= 1;
      this.mounted = this.mounted.filter((other) => other !== each);
    }
  }
}
