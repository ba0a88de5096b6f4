import { BLOCK_BYTES } from './io.ts';

/** Blocks with bytes that matter (a leg's header) are kept beside; on a disk such a block holds the number of its page. */
const FIRST_PAGE = -1000;

export class Pages {
  private readonly pages: Buffer[] = [];

  /** The numbers of the blocks that these bytes fill. */
  keep(bytes: Buffer): number[] {
    return Array.from({ length: Math.ceil(bytes.length / BLOCK_BYTES) }, (_, index) => {
      const page = Buffer.alloc(BLOCK_BYTES);
      bytes.copy(page, 0, index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
      // What could be a page of the bitmap is one, as when it is written back.
      if (page.subarray(6).every((byte) => byte === 0)) return page.readUIntLE(0, 6);
      return FIRST_PAGE + 1 - this.pages.push(page);
    });
  }

  /** The bytes of a block. Another number is written as 48 bits, the lowest first: a page of the bitmap. */
  bytes(value: number): Buffer {
    const page = this.pages[FIRST_PAGE - value];
    if (page) return page;
    const plain = Buffer.alloc(BLOCK_BYTES);
    if (value > 0) plain.writeUIntLE(value % 2 ** 48, 0, 6);
    return plain;
  }
}

const worlds = new WeakMap<object, Pages>();

/** The pages of a world. */
export function pagesOf(world: object): Pages {
  let found = worlds.get(world);
  if (!found) worlds.set(world, (found = new Pages()));
  return found;
}
