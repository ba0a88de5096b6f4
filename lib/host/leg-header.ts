import { crc32 } from 'node:zlib';
import type { RecordStamp } from '../api/record-stamp.ts';

/*
 * The first 16 sectors of a leg, in front of the bitmap: two slots of 4 KiB that are written in turn. A write that power
 * loss tears leaves the slot before it whole, and what hangs on a write (that md goes on) happens after it is durable.
 *
 *      0  magic "HOLDFAST"
 *      8  version (u16 LE), 10 reserved (u16), 12 length of the payload in bytes (u32 LE)
 *     16  sequence of the write (u64 LE)
 *     24  payload: JSON, UTF-8
 *   4092  CRC-32 of the bytes before (u32 LE)
 */

/** What a leg says about itself: whose it is, and the volume's record when its last client changed it. */
export interface LegHeader extends RecordStamp {
  readonly volume: string;
  readonly volumeUid: string;
  readonly replica: string;
  readonly replicaUid: string;
  /**
   * Capacities in bytes for which the bitmap behind may be laid out: that of the array which used it last, and while that
   * array was being made larger, both. Undefined: written by a program that did not say.
   */
  readonly sizes?: readonly number[];
}

export const LEG_SLOT_BYTES = 4096;
/** Both slots: what is read to decode, from the beginning of the leg. */
export const LEG_SLOTS_BYTES = 2 * LEG_SLOT_BYTES;

const MAGIC = Buffer.from('HOLDFAST', 'latin1');
const VERSION = 1;
const PAYLOAD_AT = 24;
const CRC_AT = LEG_SLOT_BYTES - 4;

export type DecodedLeg =
  /** Nothing was ever written, or the very first write was torn: nothing can hang on it. */
  | { readonly state: 'blank' }
  | { readonly state: 'record'; readonly header: LegHeader; readonly sequence: number }
  /** Neither slot can be read, although something was written. */
  | { readonly state: 'damaged'; readonly why: string };

/** The bytes of one slot. @throws RangeError when the header does not fit, which no volume's record comes near. */
export function encodeLegHeader(header: LegHeader, sequence: number): Buffer {
  const { volume, volumeUid, replica, replicaUid, lineage, epoch, generation, base, inSync, sizes } = header;
  const payload = Buffer.from(
    JSON.stringify({ volume, volumeUid, replica, replicaUid, lineage, epoch, generation, base, inSync, sizes }),
    'utf8',
  );
  if (payload.length > CRC_AT - PAYLOAD_AT)
    throw new RangeError(`a leg's header of ${payload.length} bytes is too long`);
  const slot = Buffer.alloc(LEG_SLOT_BYTES);
  MAGIC.copy(slot, 0);
  slot.writeUInt16LE(VERSION, 8);
  slot.writeUInt32LE(payload.length, 12);
  slot.writeBigUInt64LE(BigInt(sequence), 16);
  payload.copy(slot, PAYLOAD_AT);
  slot.writeUInt32LE(crc32(slot.subarray(0, CRC_AT)), CRC_AT);
  return slot;
}

const BLANK = Buffer.alloc(LEG_SLOT_BYTES);

/** Reads both slots; the later whole one counts. @param bytes the first LEG_SLOTS_BYTES of a leg */
export function decodeLegHeader(bytes: Buffer): DecodedLeg {
  if (bytes.length < LEG_SLOTS_BYTES) return { state: 'damaged', why: `only ${bytes.length} bytes could be read` };
  const slots = [0, 1].map((at) => decodeSlot(bytes.subarray(at * LEG_SLOT_BYTES, (at + 1) * LEG_SLOT_BYTES)));
  const whole = slots
    .flatMap((slot) => (slot.state === 'record' ? [slot] : []))
    .sort((a, b) => b.sequence - a.sequence);
  if (whole[0] !== undefined) return whole[0];
  const broken = slots.flatMap((slot) => (slot.state === 'damaged' ? [slot.why] : []));
  // One broken and one blank slot: the first write of all was torn, so nobody has relied on it.
  return broken.length === slots.length ? { state: 'damaged', why: broken.join('; ') } : { state: 'blank' };
}

/** Where the next write goes, and its sequence: never over the slot that counts. */
export function nextLegSlot(decoded: DecodedLeg): { readonly offsetBytes: number; readonly sequence: number } {
  const sequence = decoded.state === 'record' ? decoded.sequence + 1 : 0;
  return { offsetBytes: (sequence % 2) * LEG_SLOT_BYTES, sequence };
}

function decodeSlot(slot: Buffer): DecodedLeg {
  if (slot.equals(BLANK)) return { state: 'blank' };
  if (!slot.subarray(0, MAGIC.length).equals(MAGIC))
    return { state: 'damaged', why: 'it does not begin with HOLDFAST' };
  if (slot.readUInt32LE(CRC_AT) !== crc32(slot.subarray(0, CRC_AT))) return { state: 'damaged', why: 'wrong checksum' };
  const version = slot.readUInt16LE(8);
  if (version !== VERSION) return { state: 'damaged', why: `version ${version} is not known to this program` };
  const sequence = Number(slot.readBigUInt64LE(16));
  try {
    const text = slot.subarray(PAYLOAD_AT, PAYLOAD_AT + slot.readUInt32LE(12)).toString('utf8');
    const header = JSON.parse(text) as unknown;
    if (isLegHeader(header)) return { state: 'record', header, sequence };
  } catch {
    // Told below: a checksum that is right over a payload that isn't is a writer's bug.
  }
  return { state: 'damaged', why: 'its payload is not a record' };
}

function isLegHeader(value: unknown): value is LegHeader {
  if (typeof value !== 'object' || value === null) return false;
  const header = value as Record<string, unknown>;
  const isName = (name: string): boolean => typeof header[name] === 'string';
  const isCount = (name: string): boolean => Number.isSafeInteger(header[name]) && (header[name] as number) >= 0;
  return (
    ['volume', 'volumeUid', 'replica', 'replicaUid'].every(isName) &&
    ['lineage', 'epoch', 'generation'].every(isCount) &&
    (header['base'] === undefined || isCount('base')) &&
    Array.isArray(header['inSync']) &&
    header['inSync'].every((name) => typeof name === 'string') &&
    (header['sizes'] === undefined ||
      (Array.isArray(header['sizes']) && header['sizes'].every((size) => Number.isSafeInteger(size) && size > 0)))
  );
}
