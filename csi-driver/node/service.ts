import {
  NodeGetCapabilitiesResponse,
  NodeGetInfoResponse,
  NodeGetStorageHealthResponse,
  NodeServiceCapability_RPC_Type as Rpc,
} from '../generated/csi.ts';
import type { NodeHandlers } from '../grpc/handlers.ts';
import { withVolumeLocks, type VolumeLocks } from '../grpc/volume-lock.ts';
import { healthOfStorage } from '../health.ts';
import type { NodeDeps } from './deps.ts';
import { nodeExpand } from './expand.ts';
import { nodePublish, nodeUnpublish } from './publish.ts';
import { nodeStage, nodeUnstage } from './stage.ts';
import { nodeVolumeHealth, nodeVolumeStats } from './stats.ts';

const capabilities = [
  Rpc.STAGE_UNSTAGE_VOLUME,
  Rpc.GET_VOLUME_STATS,
  Rpc.EXPAND_VOLUME,
  Rpc.SINGLE_NODE_MULTI_WRITER,
  Rpc.GET_VOLUME_HEALTH,
  Rpc.GET_STORAGE_HEALTH,
];

/** The CSI Node service: it formats and mounts the device that the client agent of this node has attached. */
export function nodeService(deps: NodeDeps, locks: VolumeLocks = new Map()): NodeHandlers {
  const handlers: NodeHandlers = {
    nodeStageVolume: (request, context) => nodeStage(deps, request, context),
    nodeUnstageVolume: (request) => nodeUnstage(deps, request),
    nodePublishVolume: (request, context) => nodePublish(deps, request, context),
    nodeUnpublishVolume: (request) => nodeUnpublish(deps, request),
    nodeExpandVolume: (request, context) => nodeExpand(deps, request, context),
    nodeGetVolumeStats: (request) => nodeVolumeStats(deps, request),
    nodeGetVolumeHealth: (request) => nodeVolumeHealth(deps, request),
    nodeGetStorageHealth: async () =>
      NodeGetStorageHealthResponse.fromPartial({ backendHealth: healthOfStorage(deps.connections()) }),
    nodeGetInfo: async () =>
      NodeGetInfoResponse.fromPartial({
        nodeId: deps.node,
        maxVolumesPerNode: BigInt(deps.maxVolumes),
        accessibleTopology: { segments: { ...(await deps.topology()) } },
      }),
    nodeGetCapabilities: async () =>
      NodeGetCapabilitiesResponse.fromPartial({
        capabilities: capabilities.map((type) => ({ type: { $case: 'rpc', value: { type } } })),
      }),
  };
  return withVolumeLocks(handlers, {
    locks,
    volumeOf: (request) => (request as { readonly volumeId?: string }).volumeId ?? '',
    unlocked: [
      'nodeGetVolumeStats',
      'nodeGetVolumeHealth',
      'nodeGetStorageHealth',
      'nodeGetInfo',
      'nodeGetCapabilities',
    ],
  });
}
