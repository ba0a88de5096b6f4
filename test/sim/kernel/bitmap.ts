import { errno } from './io.ts';

const MAX_CHUNKS = 48;

/** Whether a page of the bitmap has a chunk's bit. */
export const hasBit = (page: number, index: number): boolean => Math.floor(page / 2 ** index) % 2 === 1;

/** What md's bitmap counts of one chunk (drivers/md/md-bitmap.c, bitmap_counter_t). */
interface Chunk {
  /** Writes under way. */
  writes: number;
  /** 0: the bit is not set; 2: written lately; 1: at the next look of the daemon the bit may be cleared. */
  age: 0 | 1 | 2;
  /** A member lacks it. */
  needed: boolean;
  /** It is being copied. */
  copying: boolean;
}

/** The write-intent bitmap of an array: its counters in memory, and the page that goes to each member. */
export class Bitmap {
  readonly chunks: readonly Chunk[];
  readonly chunkBlocks: number;
  /** The page as it is to be; one bit a chunk, the lowest first. */
  page = 0;
  /** The page on the members is older, and a write waits for it. */
  dirty = false;
  /** The page on the members is older; there is no hurry. */
  stale = false;
  /** `can_clear` is false: no bit goes. */
  keepsBits = false;

  constructor(blocks: number, chunkBlocks: number) {
    const count = Math.ceil(blocks / chunkBlocks);
    // A block holds a number; more bits would need another kind of block.
    if (count > MAX_CHUNKS) throw errno('EFBIG', `a bitmap of ${count} chunks`);
    this.chunkBlocks = chunkBlocks;
    this.chunks = Array.from({ length: count }, () => ({ writes: 0, age: 0, needed: false, copying: false }));
  }

  chunkOf(block: number): number {
    return Math.floor(block / this.chunkBlocks);
  }

  private at(index: number): Chunk {
    const chunk = this.chunks[index];
    if (!chunk) throw errno('EIO', `chunk ${index}`);
    return chunk;
  }

  private setBit(index: number): void {
    if (hasBit(this.page, index)) return;
    this.page += 2 ** index;
    this.dirty = true;
  }

  /** md_bitmap_init_from_disk: bits that are not needed count as written lately, and go in time. */
  load(page: number, needed: boolean): void {
    this.page = page;
    for (const [index, chunk] of this.chunks.entries()) {
      if (!hasBit(page, index)) continue;
      chunk.age = 2;
      chunk.needed = needed;
    }
  }

  /**
   * md_bitmap_resize, with chunks of the same size: of what there was only what some member lacks stays known; what is new counts as
   * lacking everywhere, in memory alone.
   */
  resized(blocks: number): Bitmap {
    const next = new Bitmap(blocks, this.chunkBlocks);
    for (const [index, chunk] of next.chunks.entries()) {
      const old = this.chunks[index];
      if (old?.needed === false) continue;
      chunk.age = 2;
      chunk.needed = true;
      if (old !== undefined) next.setBit(index);
    }
    next.keepsBits = this.keepsBits;
    next.dirty = true;
    return next;
  }

  /** `bitmap_set_bits` */
  setBits(indexes: readonly number[]): void {
    for (const index of indexes) {
      this.at(index).age = 2;
      this.at(index).needed = true;
      this.setBit(index);
    }
  }

  startWrite(index: number): void {
    const chunk = this.at(index);
    if (chunk.age === 0) this.setBit(index);
    chunk.age = 2;
    chunk.writes += 1;
  }

  /** @param everywhere no member lacks what was written */
  endWrite(index: number, everywhere: boolean): void {
    const chunk = this.at(index);
    chunk.writes -= 1;
    if (!everywhere) chunk.needed = true;
  }

  isNeeded(index: number): boolean {
    const chunk = this.at(index);
    return chunk.needed || chunk.copying;
  }

  /** @param degraded some member stays away, so the bit stays needed */
  startCopy(index: number, degraded: boolean): void {
    const chunk = this.at(index);
    if (!chunk.needed || degraded) return;
    chunk.needed = false;
    chunk.copying = true;
    chunk.age = 2;
  }

  endCopy(index: number, failed: boolean): void {
    const chunk = this.at(index);
    if (chunk.copying && failed) chunk.needed = true;
    chunk.copying = false;
  }

  /** md_bitmap_daemon_work: a bit goes two looks after its last write. @returns whether it has to look again */
  age(): boolean {
    let left = false;
    for (const [index, chunk] of this.chunks.entries()) {
      if (chunk.age === 0 || chunk.needed || chunk.copying) continue;
      if (chunk.writes > 0 || chunk.age === 2) {
        if (chunk.writes === 0) chunk.age = 1;
        left = true;
      } else if (!this.keepsBits) {
        chunk.age = 0;
        if (hasBit(this.page, index)) this.page -= 2 ** index;
        this.stale = true;
      }
    }
    return left || this.stale;
  }
}
