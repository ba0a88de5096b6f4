import { LabError } from '../errors.ts';

const LEGACY_MAGIC = 0x184c2102;
const LEGACY_BLOCK_BYTES = 8 * 1024 ** 2;
const MIN_MATCH = 4;

/**
 * Unpacks LZ4's legacy frame, which is how the kernel packs itself with LZ4 (LZ4's lz4_Frame_format.md, "Legacy frame").
 * What follows the last whole block is left alone. @throws LabError when the data isn't LZ4
 */
export function unlz4(packed: Buffer): Buffer {
  if (packed.readUInt32LE(0) !== LEGACY_MAGIC) throw new LabError('this is not LZ4 in its legacy frame');
  const blocks: Buffer[] = [];
  for (let at = 4; at + 4 < packed.length;) {
    const length = packed.readUInt32LE(at);
    at += 4;
    if (length > packed.length - at) break;
    blocks.push(unpackBlock(packed.subarray(at, at + length)));
    at += length;
  }
  return Buffer.concat(blocks);
}

/** One block: literals and copies of what was unpacked before (LZ4's lz4_Block_format.md). */
function unpackBlock(block: Buffer): Buffer {
  const out = Buffer.allocUnsafe(LEGACY_BLOCK_BYTES);
  let to = 0;
  let at = 0;
  const byte = (): number => {
    const value = block[at++];
    if (value === undefined) throw new LabError('an LZ4 block ends too early');
    return value;
  };
  const longer = (length: number): number => {
    let total = length;
    for (let more = length === 15 ? 255 : 0; more === 255;) total += more = byte();
    return total;
  };
  while (at < block.length) {
    const token = byte();
    const literals = longer(token >> 4);
    to += block.copy(out, to, at, at + literals);
    at += literals;
    if (at >= block.length) break;
    const distance = byte() | (byte() << 8);
    const length = longer(token & 15) + MIN_MATCH;
    if (distance === 0 || distance > to) throw new LabError('an LZ4 block refers to before its beginning');
    // One by one where it overlaps itself: that is how LZ4 repeats.
    if (distance >= length) out.copyWithin(to, to - distance, to - distance + length);
    else for (let index = 0; index < length; index++) out[to + index] = out[to + index - distance] ?? 0;
    to += length;
  }
  return Buffer.from(out.subarray(0, to));
}
