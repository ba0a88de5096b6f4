import { volumeBytes, type ReplicatedVolume } from '../../lib/api/index.ts';
import type { CreateVolumeRequest } from '../generated/csi.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import { isVolumeName } from '../validation.ts';
import { noVolume, type ControllerDeps } from './deps.ts';
import { readSnapshot } from './snapshot.ts';

export type Source = NonNullable<ReplicatedVolume['spec']['source']>;

/** What a volume is to begin with; undefined for nothing. @throws CsiError INVALID_ARGUMENT for what is no source */
export function sourceOf(request: CreateVolumeRequest): Source | undefined {
  const type = request.volumeContentSource?.type;
  switch (type?.$case) {
    case undefined:
      if (request.volumeContentSource === undefined) return undefined;
      throw invalid('volume_content_source', undefined, 'a snapshot or a volume');
    case 'snapshot':
      if (type.value.snapshotId === '')
        throw invalid('volume_content_source.snapshot.snapshot_id', '', 'the id of a snapshot');
      return { snapshot: type.value.snapshotId };
    case 'volume':
      if (type.value.volumeId === '') throw invalid('volume_content_source.volume.volume_id', '', 'the id of a volume');
      return { volume: type.value.volumeId };
  }
}

/**
 * The bytes that the source has: the volume has as many at least.
 * @throws CsiError NOT_FOUND (HF430, HF405) when it isn't there
 */
export async function sourceBytes(
  deps: Pick<ControllerDeps, 'volumes' | 'snapshots'>,
  source: Source,
): Promise<number> {
  if (source.snapshot !== undefined) {
    const { spec, status } = await readSnapshot(deps, source.snapshot);
    if (status?.sizeBytes !== undefined) return status.sizeBytes;
    throw new CsiError(
      'ABORTED',
      'HF409',
      `snapshot ${source.snapshot} of ${spec.volume} is still being taken; try again`,
    );
  }
  const id = source.volume ?? '';
  const volume = isVolumeName(id) ? await deps.volumes.get(id) : undefined;
  if (volume === undefined || volume.metadata.deletionTimestamp !== undefined) throw noVolume(id);
  return volumeBytes(volume);
}

/** @throws CsiError OUT_OF_RANGE (HF403) when the volume would be smaller than what it is to hold */
export function checkHolds(capacityBytes: number, bytes: number): void {
  if (capacityBytes >= bytes) return;
  throw new CsiError(
    'OUT_OF_RANGE',
    'HF403',
    `capacity_range: the source has ${bytes} bytes, more than the ${capacityBytes} of the volume`,
    'capacity_range',
  );
}
