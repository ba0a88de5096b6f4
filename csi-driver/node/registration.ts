import { CSI_DRIVER_NAME } from '../../lib/api/names.ts';
import type { Logger } from '../../lib/log.ts';
import { PluginInfo, RegistrationService } from '../generated/registration.ts';
import type { Handlers } from '../grpc/handlers.ts';
import type { Service } from '../grpc/server.ts';

/** kubelet's pluginwatcher looks for sockets and asks each what it is (k8s.io/kubelet, pluginregistration/v1). */
export interface Registration {
  readonly service: Service;
  /** Whether kubelet has taken the driver in. */
  readonly registered: () => boolean;
}

/**
 * Tells kubelet where this driver's CSI socket is. kubelet asks again when it was restarted, and after a failure.
 *
 * @param csiSocket path of the CSI socket as kubelet sees it
 */
export function registration(csiSocket: string, log: Logger): Registration {
  let isRegistered = false;
  const handlers: Handlers<typeof RegistrationService> = {
    getInfo: async () =>
      PluginInfo.fromPartial({
        type: 'CSIPlugin',
        name: CSI_DRIVER_NAME,
        endpoint: csiSocket,
        // The CSI versions that kubelet speaks begin with 1: it compares the first number only.
        supportedVersions: ['1.0.0'],
      }),
    notifyRegistrationStatus: async ({ pluginRegistered, error }) => {
      isRegistered = pluginRegistered;
      if (pluginRegistered) log.info('kubelet has registered the driver');
      else log.error('kubelet has refused the driver; it asks again by itself', { error });
      return {};
    },
  };
  return { service: { definition: RegistrationService, handlers }, registered: () => isRegistered };
}
