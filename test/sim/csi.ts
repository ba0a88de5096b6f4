/**
 * What Kubernetes does with a volume, over the real CSI code: the attacher calls the controller service, the kubelet of a
 * node calls the node service and runs a pod that writes. Calls that get no answer are made again, as Kubernetes does.
 */
import { createChanges, type Changes } from '../../csi-driver/changes.ts';
import { controllerPublish, controllerUnpublish } from '../../csi-driver/controller/publish.ts';
import {
  NodeStageVolumeRequest,
  NodeUnstageVolumeRequest,
  VolumeCapability,
  VolumeCapability_AccessMode_Mode as Mode,
} from '../../csi-driver/generated/csi.ts';
import type { CallContext } from '../../csi-driver/grpc/handlers.ts';
import { withVolumeLocks } from '../../csi-driver/grpc/volume-lock.ts';
import type { NodeDeps } from '../../csi-driver/node/deps.ts';
import { createAttachedDevices } from '../../csi-driver/node/device.ts';
import { createFormatRecord } from '../../csi-driver/node/format-record.ts';
import { nodeStage, nodeUnstage } from '../../csi-driver/node/stage.ts';
import { kinds } from '../../lib/kube/client.ts';
import type { Kube } from '../../lib/kube/kube.ts';
import type { ClientKernel } from './kernel/types.ts';
import type { ProgramHandle, Scheduler } from './scheduler.ts';

/** How a pod uses the volume. */
export type PodMode = 'block' | 'mount';

/** The services of one program, as a caller on the same machine has them. */
export interface NodeDriver {
  stage(publishContext: Readonly<Record<string, string>>): Promise<unknown>;
  unstage(): Promise<unknown>;
}

export interface ControllerDriver {
  publish(node: string): Promise<Readonly<Record<string, string>>>;
  unpublish(node: string): Promise<void>;
}

export const STAGING = '/var/lib/kubelet/plugins/holdfast/pg';
/** How long one call may take. */
const CALL_MS = 4000;

export interface DriverOptions {
  readonly scheduler: Scheduler;
  readonly handle: ProgramHandle;
  readonly kube: Kube;
  readonly namespace: string;
  readonly volume: string;
}

const accessMode = { mode: Mode.SINGLE_NODE_WRITER };
const capability = (mode: PodMode): VolumeCapability =>
  mode === 'block'
    ? VolumeCapability.fromPartial({ accessType: { $case: 'block', value: {} }, accessMode })
    : VolumeCapability.fromPartial({ accessType: { $case: 'mount', value: { fsType: 'ext4' } }, accessMode });

const contextOf = ({ scheduler, handle }: DriverOptions): CallContext => ({
  signal: new AbortController().signal,
  deadlineMs: scheduler.clockOf(handle).now() + CALL_MS,
});

export function startControllerDriver(options: DriverOptions): ControllerDriver {
  const { scheduler, handle, kube, namespace, volume } = options;
  const changes = createChanges(scheduler.clockOf(handle));
  kube.informer(kinds.replicatedVolumes, { onChange: () => changes.notify(volume) }).start();
  watchConnections(kube, changes, volume);
  const deps = {
    volumes: kube.resource(kinds.replicatedVolumes),
    connections: kube.resource(kinds.volumeConnections),
    leases: kube.resource(kinds.leases, namespace),
    // Nothing here is placed near its client.
    nodes: { get: async () => undefined },
    candidates: () => [],
    cachedVolumes: () => [],
    cachedVolume: () => undefined,
    changes,
  };
  return {
    publish: async (node) => {
      const request = {
        volumeId: volume,
        nodeId: node,
        volumeCapability: capability('block'),
        readonly: false,
        secrets: {},
        volumeContext: {},
      };
      return (await controllerPublish(deps, request, contextOf(options))).publishContext;
    },
    unpublish: async (node) => {
      await controllerUnpublish(deps, { volumeId: volume, nodeId: node, secrets: {} }, contextOf(options));
    },
  };
}

export function startNodeDriver(
  options: DriverOptions & { readonly kernel: ClientKernel; readonly mode: PodMode },
): NodeDriver {
  const { scheduler, handle, kube, volume, kernel, mode } = options;
  const clock = scheduler.clockOf(handle);
  const changes = createChanges(clock);
  watchConnections(kube, changes, volume, `spec.node=${kernel.machine}`);
  const { mounts, filesystems, paths } = kernel.csi(handle);
  const node = kernel.machine;
  const deps: NodeDeps = {
    node,
    maxVolumes: 0,
    topology: async () => ({}),
    connections: () => [],
    devices: createAttachedDevices({ node, connections: kube.resource(kinds.volumeConnections), changes, paths }),
    mounts,
    filesystems,
    formatRecord: createFormatRecord({ node, volumes: kube.resource(kinds.replicatedVolumes), clock }),
    paths,
    exec: () => Promise.reject(new Error('the simulation runs no commands')),
  };
  const service = withVolumeLocks(
    {
      stage: (request: NodeStageVolumeRequest, context: CallContext) => nodeStage(deps, request, context),
      unstage: (request: NodeUnstageVolumeRequest) => nodeUnstage(deps, request),
    },
    { locks: new Map(), volumeOf: (request) => (request as { readonly volumeId: string }).volumeId },
  );
  return {
    stage: async (publishContext) => {
      const request = { volumeId: volume, publishContext: { ...publishContext }, stagingTargetPath: STAGING };
      const volumeCapability = capability(mode);
      const whole = NodeStageVolumeRequest.fromPartial({ ...request, volumeCapability });
      return await service.stage(whole, contextOf(options));
    },
    unstage: async () =>
      await service.unstage(NodeUnstageVolumeRequest.fromPartial({ volumeId: volume, stagingTargetPath: STAGING })),
  };
}

function watchConnections(kube: Kube, changes: Changes, volume: string, fieldSelector = ''): void {
  kube.informer(kinds.volumeConnections, { fieldSelector, onChange: () => changes.notify(volume) }).start();
}
