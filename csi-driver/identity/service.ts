import { CSI_DRIVER_NAME } from '../../lib/api/names.ts';
import {
  GetPluginCapabilitiesResponse,
  GetPluginInfoResponse,
  PluginCapability_Service_Type as ServiceType,
  PluginCapability_VolumeExpansion_Type as Expansion,
  ProbeResponse,
} from '../generated/csi.ts';
import type { IdentityHandlers } from '../grpc/handlers.ts';

/** The CSI Identity service. `ready` says whether the caches are filled and the API server answers. */
export function identityService(options: {
  readonly version: string;
  readonly ready: () => boolean;
}): IdentityHandlers {
  return {
    getPluginInfo: async () =>
      GetPluginInfoResponse.fromPartial({ name: CSI_DRIVER_NAME, vendorVersion: options.version }),
    getPluginCapabilities: async () =>
      GetPluginCapabilitiesResponse.fromPartial({
        capabilities: [
          ...[
            ServiceType.CONTROLLER_SERVICE,
            ServiceType.VOLUME_ACCESSIBILITY_CONSTRAINTS,
            ServiceType.GROUP_CONTROLLER_SERVICE,
          ].map((type) => ({
            type: { $case: 'service' as const, value: { type } },
          })),
          { type: { $case: 'volumeExpansion' as const, value: { type: Expansion.ONLINE } } },
        ],
      }),
    probe: async () => ProbeResponse.fromPartial({ ready: options.ready() }),
  };
}
