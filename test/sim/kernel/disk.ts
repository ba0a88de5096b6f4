import { LEG_HEADER_BYTES } from '../../../lib/api/names.ts';
import { BLOCK_BYTES, errno, type Answer, type Request } from './io.ts';
import type { DiskHealth, KernelWorld } from './types.ts';
import type { ProgramHandle } from '../scheduler.ts';

const HEADER_BLOCKS = LEG_HEADER_BYTES / BLOCK_BYTES;

/** What a logical volume holds: the medium, and in front of it the disk's volatile cache, which keeps the order per block. */
export class Content {
  private readonly medium = new Map<number, number>();
  private readonly cache = new Map<number, number[]>();
  private readonly isVolatile: boolean;
  flushes = 0;

  constructor(isVolatile: boolean) {
    this.isVolatile = isVolatile;
  }

  read(block: number): number {
    return this.cache.get(block)?.at(-1) ?? this.durable(block);
  }

  durable(block: number): number {
    return this.medium.get(block) ?? 0;
  }

  write(block: number, value: number, fua: boolean): void {
    if (fua || !this.isVolatile) {
      this.cache.delete(block);
      this.medium.set(block, value);
      return;
    }
    const waiting = this.cache.get(block);
    if (waiting) waiting.push(value);
    else this.cache.set(block, [value]);
  }

  flush(): void {
    this.flushes += 1;
    for (const [block, values] of this.cache) this.medium.set(block, values.at(-1) ?? 0);
    this.cache.clear();
  }

  /** A snapshot: the pool flushes before it keeps one. */
  copy(): Content {
    this.flush();
    const made = new Content(this.isVolatile);
    for (const [block, value] of this.medium) made.medium.set(block, value);
    return made;
  }

  /** Of each block any of the unflushed states may be the one that survives, or none. */
  losePower(fraction: () => number): void {
    for (const [block, values] of this.cache) {
      const kept = values[Math.floor(fraction() * (values.length + 1)) - 1];
      if (kept !== undefined) this.medium.set(block, kept);
    }
    this.cache.clear();
  }

  discard(): void {
    this.medium.clear();
    this.cache.clear();
  }

  zero(from: number, count: number): void {
    for (let block = from; block < from + count; block += 1) this.write(block, 0, true);
  }

  /** Blocks that were ever written. */
  written(): number {
    let only = 0;
    for (const block of this.cache.keys()) if (!this.medium.has(block)) only += 1;
    return this.medium.size + only;
  }

  firstNonZero(): number | undefined {
    const blocks = [...this.medium.keys(), ...this.cache.keys()].filter((block) => this.read(block) !== 0);
    return blocks.length === 0 ? undefined : Math.min(...blocks);
  }
}

/** A disk that is slow takes up to this long for each request, and serves one at a time. */
const SLOW_MS = 3000;

interface Waiting {
  readonly content: Content;
  readonly request: Request;
  readonly answer: Answer;
}

/** The disk below one logical volume: of the requests that wait it serves any, one at a time. Nothing orders them. */
export class Disk {
  private readonly world: KernelWorld;
  private readonly boot: ProgramHandle;
  private readonly queue: Waiting[] = [];
  private busy = false;
  private health: DiskHealth = 'well';
  /** The write that a disk that sticks keeps. */
  private stuck: Waiting | undefined;

  constructor(world: KernelWorld, boot: ProgramHandle) {
    this.world = world;
    this.boot = boot;
  }

  setHealth(health: DiskHealth): void {
    this.health = health;
    if (health !== 'sticks' && this.stuck) {
      this.queue.push(this.stuck);
      this.stuck = undefined;
    }
    this.serve();
  }

  submit(content: Content, request: Request, answer: Answer): void {
    this.queue.push({ content, request, answer });
    this.serve();
  }

  private serve(): void {
    if (this.busy || this.queue.length === 0 || this.health === 'hangs') return;
    this.busy = true;
    const ms = this.health === 'slow' ? SLOW_MS * this.world.fraction() : 0.05 + 0.2 * this.world.fraction();
    this.world.after(this.boot, ms, 'disk', () => {
      this.busy = false;
      // A disk that has begun to hang keeps the request that it was working on.
      if (this.health === 'hangs') return;
      const [next] = this.queue.splice(Math.floor(this.world.fraction() * this.queue.length), 1);
      if (next && this.sticks(next)) this.stuck = next;
      else if (next) this.run(next);
      this.serve();
    });
  }

  private sticks({ request: { op, block } }: Waiting): boolean {
    return this.health === 'sticks' && this.stuck === undefined && op === 'write' && block >= HEADER_BLOCKS;
  }

  private run({ content, request, answer }: Waiting): void {
    const { op, block, count, values, fua = false } = request;
    if (this.health === 'errors') return answer('path');
    if (this.health === 'bad sectors' && op !== 'flush') return answer('medium');
    const isData = block >= HEADER_BLOCKS;
    if (op === 'write' && this.health === (isData ? 'full' : 'full bitmap')) return answer('medium');
    switch (op) {
      case 'read':
        return answer(
          'ok',
          Array.from({ length: count }, (_, index) => content.read(block + index)),
        );
      case 'write':
        if (values?.length !== count) throw errno('EINVAL', 'write');
        values.forEach((value, index) => content.write(block + index, value, fua));
        return answer('ok');
      case 'flush':
        content.flush();
        return answer('ok');
    }
  }
}
