import {
  ControllerServiceCapability_RPC_Type as Rpc,
  ControllerGetCapabilitiesResponse,
  ValidateVolumeCapabilitiesResponse,
  type ValidateVolumeCapabilitiesRequest,
} from '../generated/csi.ts';
import { CsiError } from '../grpc/errors.ts';
import type { ControllerHandlers } from '../grpc/handlers.ts';
import { withVolumeLocks, type VolumeLocks } from '../grpc/volume-lock.ts';
import { isVolumeName, required, volumeUses } from '../validation.ts';
import { createVolume } from './create.ts';
import { deleteVolume } from './delete.ts';
import { noVolume, type ControllerDeps } from './deps.ts';
import { controllerExpand } from './expand.ts';
import { controllerModify } from './modify.ts';
import { volumeNameFor } from './names.ts';
import { getVolume, getVolumeHealth, listVolumeHealth, listVolumes } from './list.ts';
import { getCapacity } from './room.ts';
import { createSnapshot, deleteSnapshot, getSnapshot, listSnapshots, snapshotKey } from './snapshot.ts';
import { controllerPublish, controllerUnpublish } from './publish.ts';

const capabilities = [
  Rpc.CREATE_DELETE_VOLUME,
  Rpc.PUBLISH_UNPUBLISH_VOLUME,
  Rpc.SINGLE_NODE_MULTI_WRITER,
  Rpc.LIST_VOLUMES,
  Rpc.LIST_VOLUMES_PUBLISHED_NODES,
  Rpc.GET_VOLUME,
  Rpc.GET_CAPACITY,
  Rpc.CREATE_DELETE_SNAPSHOT,
  Rpc.LIST_SNAPSHOTS,
  Rpc.GET_SNAPSHOT,
  Rpc.CLONE_VOLUME,
  Rpc.EXPAND_VOLUME,
  Rpc.MODIFY_VOLUME,
  Rpc.GET_VOLUME_HEALTH,
  Rpc.LIST_VOLUME_HEALTH,
];

/** The CSI Controller service: it turns calls into ReplicatedVolumes and waits. What happens is the operator's to decide. */
export function controllerService(deps: ControllerDeps, locks: VolumeLocks = new Map()): ControllerHandlers {
  const handlers: ControllerHandlers = {
    createVolume: (request, context) => createVolume(deps, request, context),
    deleteVolume: (request, context) => deleteVolume(deps, request, context),
    controllerPublishVolume: (request, context) => controllerPublish(deps, request, context),
    controllerUnpublishVolume: (request, context) => controllerUnpublish(deps, request, context),
    controllerExpandVolume: (request, context) => controllerExpand(deps, request, context),
    controllerModifyVolume: (request) => controllerModify(deps, request),
    listVolumes: async (request) => listVolumes(deps, request),
    controllerListVolumeHealth: async (request) => listVolumeHealth(deps, request),
    controllerGetVolume: (request) => getVolume(deps, request),
    controllerGetVolumeHealth: (request) => getVolumeHealth(deps, request),
    createSnapshot: (request, context) => createSnapshot(deps, request, context),
    deleteSnapshot: (request, context) => deleteSnapshot(deps, request, context),
    listSnapshots: (request) => listSnapshots(deps, request),
    getSnapshot: (request) => getSnapshot(deps, request),
    getCapacity: async (request) => getCapacity(deps, request),
    validateVolumeCapabilities: (request) => validateCapabilities(deps, request),
    controllerGetCapabilities: async () =>
      ControllerGetCapabilitiesResponse.fromPartial({
        capabilities: capabilities.map((type) => ({ type: { $case: 'rpc', value: { type } } })),
      }),
  };
  return withVolumeLocks(handlers, {
    locks,
    volumeOf: subject,
    unlocked: [
      'listVolumes',
      'controllerListVolumeHealth',
      'controllerGetVolume',
      'controllerGetVolumeHealth',
      'getCapacity',
      'listSnapshots',
      'getSnapshot',
      'validateVolumeCapabilities',
      'controllerGetCapabilities',
    ],
  });
}

/** CreateVolume carries a name, everything else an id; both stand for the same ReplicatedVolume. Snapshots are locked by themselves. */
function subject(request: object): string {
  const { volumeId, name, snapshotId } = request as Readonly<Record<string, string | undefined>>;
  if (snapshotId) return snapshotKey(snapshotId);
  if ('sourceVolumeId' in request) return name ? snapshotKey(volumeNameFor(name)) : '';
  if (volumeId) return volumeId;
  return name ? volumeNameFor(name) : '';
}

async function validateCapabilities(
  deps: ControllerDeps,
  request: ValidateVolumeCapabilitiesRequest,
): Promise<ValidateVolumeCapabilitiesResponse> {
  const id = required('volume_id', request.volumeId, 'the id of the volume to look at');
  if (request.volumeCapabilities.length === 0) volumeUses('volume_capabilities', []);
  if (!isVolumeName(id) || (await deps.volumes.get(id)) === undefined) throw noVolume(id);
  try {
    volumeUses('volume_capabilities', request.volumeCapabilities);
  } catch (error) {
    if (!(error instanceof CsiError)) throw error;
    return ValidateVolumeCapabilitiesResponse.fromPartial({ message: error.message });
  }
  const { volumeContext, volumeCapabilities, parameters, mutableParameters } = request;
  return ValidateVolumeCapabilitiesResponse.fromPartial({
    confirmed: { volumeContext, volumeCapabilities, parameters, mutableParameters },
  });
}
