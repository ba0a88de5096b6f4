const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** dm-thin takes no more (kernel: drivers/md/dm-thin-metadata.h, THIN_METADATA_MAX_SECTORS, 15.81 GiB). */
const MAX_METADATA_BYTES = 15 * GIB + 768 * MIB;
const MIN_METADATA_BYTES = 8 * MIB;
/** One mapping takes 48 bytes at most (Documentation/admin-guide/device-mapper/thin-provisioning.rst); snapshots double it. */
const METADATA_BYTES_PER_CHUNK = 128;
/** Share of the group that stays free, so that metadata can grow and be repaired. */
const RESERVE = 0.005;

/** How a thin pool is laid out in its group. */
export interface PoolGeometry {
  readonly dataExtents: number;
  readonly metadataBytes: number;
  readonly chunkBytes: number;
}

/**
 * The layout of a thin pool in `freeExtents` extents: 64 KiB chunks (doubled until the metadata of all of them has room),
 * ample metadata, the same again as LVM's spare for repairs, a small reserve, and the rest for data. Undefined when there
 * isn't room for anything useful.
 */
export function poolGeometry(freeExtents: number, extentBytes: number): PoolGeometry | undefined {
  const totalBytes = freeExtents * extentBytes;
  let chunkBytes = 64 * KIB;
  while ((totalBytes / chunkBytes) * (METADATA_BYTES_PER_CHUNK / 2) > MAX_METADATA_BYTES) chunkBytes *= 2;
  const wanted = Math.max(MIN_METADATA_BYTES, (totalBytes / chunkBytes) * METADATA_BYTES_PER_CHUNK);
  const metadataExtents = Math.ceil(Math.min(wanted, MAX_METADATA_BYTES) / extentBytes);
  const reserveExtents = Math.max(1, Math.ceil(freeExtents * RESERVE));
  const dataExtents = freeExtents - 2 * metadataExtents - reserveExtents;
  // A pool smaller than its own metadata is a mistake, not a pool.
  if (dataExtents * extentBytes < 2 * MIN_METADATA_BYTES) return undefined;
  return { dataExtents, metadataBytes: metadataExtents * extentBytes, chunkBytes };
}
