import { expect, test } from '@jest/globals';
import { unlz4 } from './lz4.ts';

const frame = (...blocks: readonly Buffer[]): Buffer => {
  const parts = blocks.flatMap((block) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(block.length);
    return [length, block];
  });
  return Buffer.concat([Buffer.from([0x02, 0x21, 0x4c, 0x18]), ...parts]);
};
const literals = (text: string): Buffer => Buffer.concat([Buffer.from([text.length << 4]), Buffer.from(text)]);

test('literals, a copy, a copy that overlaps itself, and long lengths', () => {
  // "abcd", then 4 + 3 bytes from 4 back; then "x", then 4 + 15 + 10 bytes from 1 back; then the last literals.
  const block = Buffer.from([0x43, ...Buffer.from('abcd'), 4, 0, 0x1f, 0x78, 1, 0, 10, 0x20, 0x79, 0x7a]);
  expect(unlz4(frame(block)).toString()).toBe(`abcdabcdabc${'x'.repeat(30)}yz`);
});

test('several blocks; the size that the kernel writes behind them is no block', () => {
  const trailer = Buffer.from([0xff, 0xff, 0xff, 0x7f]);
  expect(unlz4(Buffer.concat([frame(literals('one'), literals('two')), trailer])).toString()).toBe('onetwo');
});

test('what is no LZ4 is refused', () => {
  expect(() => unlz4(Buffer.from('hello world'))).toThrow('not LZ4');
  expect(() => unlz4(frame(Buffer.from([0x10, 0x61, 5, 0])))).toThrow('before its beginning');
});
