import type { CapacityRange } from '../generated/csi.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import { checkFilesystemSize, DEFAULT_FS_TYPE, type VolumeUse } from '../validation.ts';

export const MIB = 1024n * 1024n;
/** The CRD's maximum. */
export const MAX_BYTES = 64n * 1024n * 1024n * MIB;
/** The size of a volume for which the caller has no wish. */
const DEFAULT_BYTES = 1024n * MIB;

/**
 * The size for a new volume in bytes: what is required, rounded up to whole MiB, never above the limit.
 *
 * @throws CsiError INVALID_ARGUMENT for a range that makes no sense, OUT_OF_RANGE (HF403) for one that can't be met
 */
export function sizeFor(range: CapacityRange | undefined, uses: readonly VolumeUse[]): number {
  const bounds = range === undefined ? { required: DEFAULT_BYTES, limit: 0n } : checked(range);
  const size = roundUp(bounds.required);
  if (bounds.limit > 0n && size > bounds.limit) {
    throw outOfRange(`no whole number of MiB lies between ${bounds.required} and ${bounds.limit} bytes`);
  }
  if (size > MAX_BYTES) throw outOfRange(`${size} bytes is more than the largest volume, 64Ti`);
  for (const use of uses) {
    if (use.kind === 'mount') checkFilesystemSize(Number(size), use.fsType ?? DEFAULT_FS_TYPE);
  }
  return Number(size);
}

/**
 * The size for a volume that is to grow: what it has, when that is enough.
 *
 * @throws CsiError OUT_OF_RANGE (HF403) when it has more than the limit, as no volume is made smaller, and whatever {@link sizeFor} throws
 */
export function grownSize(presentBytes: number, range: CapacityRange, uses: readonly VolumeUse[]): number {
  const { limit } = checked(range);
  if (limit > 0n && BigInt(presentBytes) > limit) {
    throw outOfRange(
      `the volume has ${presentBytes} bytes, and ${limit} at most are asked for; no volume is made smaller`,
    );
  }
  return BigInt(presentBytes) >= range.requiredBytes ? presentBytes : sizeFor(range, uses);
}

/** Whether a volume that exists is within a range. */
export function fits(capacityBytes: number, range: CapacityRange | undefined): boolean {
  if (range === undefined) return true;
  const size = BigInt(capacityBytes);
  return size >= range.requiredBytes && (range.limitBytes === 0n || size <= range.limitBytes);
}

function checked({ requiredBytes, limitBytes }: CapacityRange): { readonly required: bigint; readonly limit: bigint } {
  if (requiredBytes < 0n) throw invalid('capacity_range.required_bytes', requiredBytes, 'a size above 0 in bytes');
  if (limitBytes < 0n) throw invalid('capacity_range.limit_bytes', limitBytes, 'a size above 0 in bytes');
  if (requiredBytes === 0n && limitBytes === 0n) {
    throw invalid('capacity_range.required_bytes', requiredBytes, 'a size above 0 in bytes');
  }
  if (limitBytes > 0n && limitBytes < requiredBytes) {
    throw invalid('capacity_range.limit_bytes', limitBytes, `at least required_bytes (${requiredBytes})`);
  }
  if (requiredBytes > 0n) return { required: requiredBytes, limit: limitBytes };
  if (limitBytes < MIB) throw outOfRange(`limit_bytes ${limitBytes} is below the smallest volume, 1 MiB`);
  const wholeMib = (limitBytes / MIB) * MIB;
  return { required: wholeMib < DEFAULT_BYTES ? wholeMib : DEFAULT_BYTES, limit: limitBytes };
}

function roundUp(bytes: bigint): bigint {
  return ((bytes + MIB - 1n) / MIB) * MIB;
}

function outOfRange(why: string): CsiError {
  return new CsiError('OUT_OF_RANGE', 'HF403', `capacity_range: ${why}`, 'capacity_range');
}
