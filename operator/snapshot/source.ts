import { cloneSnapshotName } from '../../lib/api/names.ts';
import type { ReplicatedVolume } from '../../lib/api/index.ts';

/** The snapshot that a volume is to be made from; undefined for one that begins empty. */
export function sourceSnapshotOf({ metadata, spec }: ReplicatedVolume): string | undefined {
  const { source } = spec;
  return source?.volume === undefined ? source?.snapshot : cloneSnapshotName(metadata.name);
}
