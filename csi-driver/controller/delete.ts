import type { ReplicatedVolume } from '../../lib/api/index.ts';
import { KubeError } from '../../lib/kube/client.ts';
import type { DeleteVolumeRequest, DeleteVolumeResponse } from '../generated/csi.ts';
import { CsiError } from '../grpc/errors.ts';
import type { CallContext } from '../grpc/handlers.ts';
import { isVolumeName, required } from '../validation.ts';
import { notReady, type ControllerDeps } from './deps.ts';

/**
 * Deletes the volume and waits until it is gone. Success when there is none; FAILED_PRECONDITION (HF407) while it is
 * attached: a node may still write.
 */
export async function deleteVolume(
  deps: ControllerDeps,
  request: DeleteVolumeRequest,
  context: CallContext,
): Promise<DeleteVolumeResponse> {
  const id = required('volume_id', request.volumeId, 'the id of the volume to delete');
  if (!isVolumeName(id)) return {};
  // What a cache has is good enough: should it be behind, the API server refuses to delete what it does not know.
  const cached = deps.cachedVolume(id);
  const volume = cached !== undefined && mayGo(cached) ? cached : await deps.volumes.get(id);
  if (volume === undefined) return {};
  const deleted = (await deleteAsSeen(deps, volume)) ? volume : await deleteAsItIs(deps, id);
  if (deleted === undefined) return {};

  const { uid } = deleted.metadata;
  let isKnown = deleted === cached;
  let message: string | undefined;
  const gone = await deps.changes.waitFor(id, context, async () => {
    const seen = deps.cachedVolume(id);
    // What the cache had and has no more is gone; one that never had it may be behind.
    const now = seen?.metadata.uid === uid || isKnown ? seen : await deps.volumes.get(id);
    isKnown ||= seen?.metadata.uid === uid;
    message = now?.status?.message;
    return now === undefined || now.metadata.uid !== uid ? true : undefined;
  });
  if (gone === undefined) throw notReady(`volume ${id} is being deleted`, message);
  return {};
}

/** Who has the volume, or is to have it; undefined for nobody. */
function userOf({ spec, status }: ReplicatedVolume): string | undefined {
  return spec.attachTo || status?.attachment?.node || undefined;
}

const mayGo = (volume: ReplicatedVolume): boolean =>
  volume.metadata.deletionTimestamp !== undefined || userOf(volume) === undefined;

/** Another look at a volume that has changed since the first one. @returns undefined when it is gone */
async function deleteAsItIs(deps: ControllerDeps, id: string): Promise<ReplicatedVolume | undefined> {
  const volume = await deps.volumes.get(id);
  if (volume === undefined || (await deleteAsSeen(deps, volume))) return volume;
  throw new CsiError('ABORTED', 'HF409', `volume ${id} changed while it was being deleted; try again`);
}

/** @returns false when it has changed: the precondition holds off an attachment that began after we looked */
async function deleteAsSeen(deps: ControllerDeps, volume: ReplicatedVolume): Promise<boolean> {
  const { name, uid, resourceVersion, deletionTimestamp } = volume.metadata;
  if (deletionTimestamp !== undefined) return true;
  const node = userOf(volume);
  if (node !== undefined) {
    const message = `volume ${name} is attached to node ${node}; it can be deleted once it is detached there`;
    throw new CsiError('FAILED_PRECONDITION', 'HF407', message, 'volume_id');
  }
  try {
    await deps.volumes.delete(name, { ...(uid && { uid }), ...(resourceVersion && { resourceVersion }) });
    return true;
  } catch (error) {
    if (!(error instanceof KubeError) || !error.isConflict) throw error;
    return false;
  }
}
