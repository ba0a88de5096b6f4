import {
  ControllerGetCapabilitiesResponse,
  ControllerService,
  ControllerServiceCapability_RPC_Type as RpcType,
  CreateVolumeResponse,
  GetPluginCapabilitiesResponse,
  GetPluginInfoResponse,
  IdentityService,
  PluginCapability_Service_Type as ServiceType,
  ProbeResponse,
} from '../../csi-driver/generated/csi.ts';
import { serve, type RunningServer } from '../../csi-driver/grpc/server.ts';
import { silentLog } from '../../lib/log.ts';

export const NOOP_DRIVER = 'noop.csi.holdfast.dev';

/** A CSI driver that says yes at once to everything: what the sidecars reach with it, they reach with no driver. */
export async function serveNoopDriver(endpoint: string): Promise<RunningServer> {
  const identity = {
    getPluginInfo: async () => GetPluginInfoResponse.fromPartial({ name: NOOP_DRIVER, vendorVersion: '1' }),
    getPluginCapabilities: async () =>
      GetPluginCapabilitiesResponse.fromPartial({
        capabilities: [{ type: { $case: 'service', value: { type: ServiceType.CONTROLLER_SERVICE } } }],
      }),
    probe: async () => ProbeResponse.fromPartial({ ready: true }),
  };
  const controller = {
    controllerGetCapabilities: async () =>
      ControllerGetCapabilitiesResponse.fromPartial({
        capabilities: [{ type: { $case: 'rpc', value: { type: RpcType.CREATE_DELETE_VOLUME } } }],
      }),
    createVolume: async ({ name, capacityRange }: { name: string; capacityRange?: { requiredBytes: number } }) =>
      CreateVolumeResponse.fromPartial({
        volume: { volumeId: name, capacityBytes: capacityRange?.requiredBytes ?? 0 },
      }),
    deleteVolume: async () => ({}),
  };
  return await serve({
    endpoint,
    services: [
      { definition: IdentityService, handlers: identity },
      { definition: ControllerService, handlers: controller },
    ],
    log: silentLog,
    defaultTimeoutMs: 60_000,
  });
}
