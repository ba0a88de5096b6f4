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
  const volume = await deps.volumes.get(id);
  if (volume === undefined) return {};

  const { uid, resourceVersion, deletionTimestamp } = volume.metadata;
  if (deletionTimestamp === undefined) {
    const node = volume.spec.attachTo || volume.status?.attachment?.node;
    if (node) {
      const message = `volume ${id} is attached to node ${node}; it can be deleted once it is detached there`;
      throw new CsiError('FAILED_PRECONDITION', 'HF407', message, 'volume_id');
    }
    await deleteAsSeen(deps, id, { ...(uid && { uid }), ...(resourceVersion && { resourceVersion }) });
  }
  let message: string | undefined;
  const gone = await deps.changes.waitFor(id, context, async () => {
    // While the cache shows it there is nothing to ask the API server.
    const seen = deps.cachedVolume(id);
    const now = seen?.metadata.uid === uid ? seen : await deps.volumes.get(id);
    message = now?.status?.message;
    return now === undefined || now.metadata.uid !== uid ? true : undefined;
  });
  if (gone === undefined) throw notReady(`volume ${id} is being deleted`, message);
  return {};
}

/** The precondition holds off an attachment that began after we looked. */
async function deleteAsSeen(
  deps: ControllerDeps,
  id: string,
  seen: { uid?: string; resourceVersion?: string },
): Promise<void> {
  try {
    await deps.volumes.delete(id, seen);
  } catch (error) {
    if (!(error instanceof KubeError) || !error.isConflict) throw error;
    throw new CsiError('ABORTED', 'HF409', `volume ${id} changed while it was being deleted; try again`);
  }
}
