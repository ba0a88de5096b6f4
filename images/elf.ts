import { readFile } from 'node:fs/promises';

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1;
const DT_STRTAB = 5;

/** What an ELF file needs when it is started. */
export interface ElfNeeds {
  /** Path of the dynamic loader; undefined for a library and for a static program. */
  readonly interpreter: string | undefined;
  /** Names of shared libraries, such as `libc.so.6`. */
  readonly libraries: readonly string[];
}

/**
 * Reads what a 64-bit little-endian ELF file needs (elf(5)). Libraries that a program opens by itself (dlopen) are not told
 * in the file.
 *
 * @returns undefined when it is no such file
 */
export function elfNeeds(bytes: Buffer): ElfNeeds | undefined {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) return undefined;
  const at = Number(bytes.readBigUInt64LE(32));
  const size = bytes.readUInt16LE(54);
  const segments = Array.from({ length: bytes.readUInt16LE(56) }, (_, index) => {
    const entry = at + index * size;
    return {
      type: bytes.readUInt32LE(entry),
      offset: Number(bytes.readBigUInt64LE(entry + 8)),
      address: Number(bytes.readBigUInt64LE(entry + 16)),
      length: Number(bytes.readBigUInt64LE(entry + 32)),
    };
  });
  const textAt = (offset: number): string => bytes.toString('latin1', offset, bytes.indexOf(0, offset));
  const inFile = (address: number): number => {
    const segment = segments.find(
      ({ type, address: start, length }) => type === PT_LOAD && address >= start && address < start + length,
    );
    if (segment === undefined) throw new Error(`ELF: the address ${address} is in no segment`);
    return address - segment.address + segment.offset;
  };
  const interpreter = segments.find(({ type }) => type === PT_INTERP);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  const entries: (readonly [number, number])[] = [];
  for (
    let entry = dynamic?.offset ?? 0;
    dynamic !== undefined && entry < dynamic.offset + dynamic.length;
    entry += 16
  ) {
    entries.push([Number(bytes.readBigInt64LE(entry)), Number(bytes.readBigUInt64LE(entry + 8))]);
  }
  const strings = entries.find(([tag]) => tag === DT_STRTAB)?.[1];
  return {
    interpreter: interpreter && textAt(interpreter.offset),
    libraries:
      strings === undefined
        ? []
        : entries.filter(([tag]) => tag === DT_NEEDED).map(([, value]) => textAt(inFile(strings) + value)),
  };
}

/** The same for a file. */
export async function elfNeedsOf(file: string): Promise<ElfNeeds | undefined> {
  return elfNeeds(await readFile(file));
}
