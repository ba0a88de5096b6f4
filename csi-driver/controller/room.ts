import { fromSpec } from '../../operator/placement/spec.ts';
import { emptyPlacement } from '../../operator/placement/types.ts';
import { LEG_HEADER_BYTES } from '../../lib/api/names.ts';
import { schemas } from '../../lib/api/generated/schemas.ts';
import { minFsBytes } from '../../lib/host/mkfs.ts';
import { roomFor } from '../../operator/placement/largest.ts';
import { GetCapacityResponse, type GetCapacityRequest } from '../generated/csi.ts';
import { DEFAULT_FS_TYPE, volumeUses } from '../validation.ts';
import { MAX_BYTES, MIB } from './capacity.ts';
import type { ControllerDeps } from './deps.ts';
import { readParameters } from './parameters.ts';

/**
 * The largest volume that a StorageClass' parameters allow, and the room there is for all of them, by the rules by which
 * the operator places. It is the same for every topology: a volume can be used from everywhere, and where its pod runs is
 * only ever a goal of its placement.
 */
export function getCapacity(
  deps: Pick<ControllerDeps, 'candidates'>,
  { parameters, volumeCapabilities }: GetCapacityRequest,
): GetCapacityResponse {
  const { placement, replicas = DEFAULT_REPLICAS, provisioning } = readParameters(parameters);
  const uses = volumeCapabilities.length === 0 ? [] : volumeUses('volume_capabilities', volumeCapabilities);
  const least = uses.map((use) => (use.kind === 'mount' ? minFsBytes[use.fsType ?? DEFAULT_FS_TYPE] : 0));
  const { largestBytes, totalBytes } = roomFor(
    {
      placement: placement === undefined ? emptyPlacement : fromSpec(placement),
      nodes: deps.candidates(),
      count: replicas,
      thick: provisioning === 'Thick',
    },
    { overheadBytes: LEG_HEADER_BYTES, stepBytes: Number(MIB), mostBytes: Number(MAX_BYTES) },
  );
  return GetCapacityResponse.fromPartial({
    availableCapacity: BigInt(totalBytes),
    maximumVolumeSize: BigInt(largestBytes),
    minimumVolumeSize: BigInt(Math.max(Number(MIB), ...least)),
  });
}

const DEFAULT_REPLICAS = schemas.ReplicatedVolume.properties.spec.properties.replicas.default;
