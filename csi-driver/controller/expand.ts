import { volumeBytes, type ReplicatedVolume } from '../../lib/api/index.ts';
import { lackForGrowth } from '../../operator/placement/growth.ts';
import type { ControllerExpandVolumeRequest, ControllerExpandVolumeResponse } from '../generated/csi.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import type { CallContext } from '../grpc/handlers.ts';
import { isVolumeName, required, volumeUse } from '../validation.ts';
import { grownSize } from './capacity.ts';
import { changeSpec, refuseDeleted } from './change.ts';
import { notReady, noVolume, type ControllerDeps } from './deps.ts';

/**
 * Makes a volume larger, attached or not, and waits until it can be used with its new size; what is on it (a filesystem) is
 * grown on the node afterwards. A volume that has the size already is left alone; none is ever made smaller.
 *
 * @throws CsiError OUT_OF_RANGE (HF403) for a size that can't be had, HF422 when a pool has no room, DEADLINE_EXCEEDED (HF406)
 * with what it waits for
 */
export async function controllerExpand(
  deps: Pick<ControllerDeps, 'volumes' | 'candidates' | 'changes'>,
  request: ControllerExpandVolumeRequest,
  context: CallContext,
): Promise<ControllerExpandVolumeResponse> {
  const id = required('volume_id', request.volumeId, 'the id of the volume to expand');
  const { capacityRange: range, volumeCapability } = request;
  if (range === undefined) throw invalid('capacity_range', undefined, 'the size that the volume is to have');
  const uses = volumeCapability === undefined ? [] : [volumeUse('volume_capability', volumeCapability)];
  const found = isVolumeName(id) ? await deps.volumes.get(id) : undefined;
  if (found === undefined) throw noVolume(id);

  const { metadata, spec } = await changeSpec(deps.volumes, found, (volume) => {
    const capacityBytes = grownSize(volume.spec.capacityBytes, range, uses);
    if (capacityBytes === volume.spec.capacityBytes) return undefined;
    refuseDeleted(volume);
    checkRoom(deps, volume, capacityBytes);
    return { capacityBytes };
  });
  let last: ReplicatedVolume | undefined;
  const done = await deps.changes.waitFor(id, context, async () => {
    last = await deps.volumes.get(id);
    if (last === undefined || last.metadata.uid !== metadata.uid) throw noVolume(id);
    return (last.status?.capacityBytes ?? 0) >= spec.capacityBytes ? last : undefined;
  });
  if (done === undefined) throw notReady(`volume ${id} has not grown yet`, last?.status?.message);
  return { capacityBytes: BigInt(spec.capacityBytes), nodeExpansionRequired: true };
}

/**
 * Before anything is written, as a size can't be taken back. OUT_OF_RANGE has the resizer mark the claim as infeasible, so
 * that a person may ask for less.
 */
function checkRoom({ candidates }: Pick<ControllerDeps, 'candidates'>, volume: ReplicatedVolume, wantedBytes: number) {
  const { provisioning } = volume.spec;
  const presentBytes = volumeBytes(volume);
  // After a restore of the API server a volume may have been asked for less than it has.
  if (wantedBytes <= presentBytes) return;
  const nodes = candidates();
  const lacks = (volume.status?.replicas ?? [])
    .filter(({ role }) => role === 'Member')
    .flatMap(({ storageNode, pool }) => {
      const thick = provisioning === 'Thick';
      return lackForGrowth(nodes, { storageNode, pool, presentBytes, wantedBytes, thick }) ?? [];
    });
  if (lacks.length === 0) return;
  const message = `volume ${volume.metadata.name} can't grow from ${presentBytes} to ${wantedBytes} bytes: ${lacks.join('; ')}`;
  throw new CsiError('OUT_OF_RANGE', 'HF422', message, 'capacity_range');
}
