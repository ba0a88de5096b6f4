import { clientLeaseName, connectionName, type ReplicatedVolume, type VolumeConnection } from '../../lib/api/index.ts';
import { MAX_VOLUMES_ANNOTATION } from '../../lib/api/names.ts';
import type {
  ControllerPublishVolumeRequest,
  ControllerPublishVolumeResponse,
  ControllerUnpublishVolumeRequest,
  ControllerUnpublishVolumeResponse,
} from '../generated/csi.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import type { CallContext } from '../grpc/handlers.ts';
import { isVolumeName, required, volumeUse } from '../validation.ts';
import { changeSpec, refuseDeleted } from './change.ts';
import { notReady, noVolume, type PublishDeps } from './deps.ts';
import { comparableLabels, wantsClient, type Segments } from './topology.ts';

/** Keys of the publish context, which the CO carries to the node. */
export const DEVICE_PATH_KEY = 'devicePath';
export const EPOCH_KEY = 'epoch';

/**
 * Asks for the volume to be attached to a node, and waits until the client agent there has its device under the epoch
 * that the operator granted.
 */
export async function controllerPublish(
  deps: PublishDeps,
  request: ControllerPublishVolumeRequest,
  context: CallContext,
): Promise<ControllerPublishVolumeResponse> {
  const id = required('volume_id', request.volumeId, 'the id of the volume to attach');
  const node = required('node_id', request.nodeId, 'the id that NodeGetInfo returned');
  volumeUse('volume_capability', request.volumeCapability);
  if (request.readonly) throw invalid('readonly', true, 'false, as PUBLISH_READONLY is not offered');
  if (!isVolumeName(id)) throw noVolume(id);
  const volume = await deps.volumes.get(id);
  if (volume === undefined) throw noVolume(id);
  const lease = await deps.leases.get(clientLeaseName(node));
  if (lease === undefined) {
    const message = `node_id is "${node}": no client agent has ever reported from a node of this name`;
    throw new CsiError('NOT_FOUND', 'HF408', message, 'node_id');
  }

  refuseTooMany(deps, id, node, Number(lease.metadata.annotations?.[MAX_VOLUMES_ANNOTATION] ?? 0));

  // Where replicas are placed later, near the client is near this node.
  const { labels } = wantsClient(volume.spec.placement) ? ((await deps.nodes.get(node))?.metadata ?? {}) : {};
  const client = labels && comparableLabels(labels, deps.candidates());
  const { uid } = (await setAttachTo(deps, volume, (current) => attachTo(current, node), client)).metadata;
  let last: ReplicatedVolume | undefined;
  let connection: VolumeConnection | undefined;
  const publishContext = await deps.changes.waitFor(id, context, async () => {
    last = await deps.volumes.get(id);
    if (last === undefined || last.metadata.uid !== uid) throw noVolume(id);
    if (last.spec.attachTo !== node) {
      throw new CsiError('ABORTED', 'HF409', `volume ${id} was detached from ${node} while it was being attached`);
    }
    connection = await deps.connections.get(connectionName(id, node));
    return deviceOf(last, connection, node);
  });
  if (publishContext !== undefined) return { publishContext };
  throw notReady(`volume ${id} is not attached to ${node} yet`, last?.status?.message, connection?.status?.message);
}

/**
 * Takes back the wish to have the volume on a node, and waits until the node can't write to it any more: it has released
 * the volume, or the operator has fenced it.
 */
export async function controllerUnpublish(
  deps: PublishDeps,
  request: ControllerUnpublishVolumeRequest,
  context: CallContext,
): Promise<ControllerUnpublishVolumeResponse> {
  const id = required('volume_id', request.volumeId, 'the id of the volume to detach');
  const node = request.nodeId;
  if (!isVolumeName(id)) return {};
  const volume = await deps.volumes.get(id);
  if (volume === undefined) return {};

  const isThere = (where: string | undefined): boolean =>
    where !== undefined && where !== '' && (node === '' || where === node);
  const { uid } = (await setAttachTo(deps, volume, ({ spec }) => (isThere(spec.attachTo) ? '' : undefined))).metadata;
  let last: ReplicatedVolume | undefined;
  const released = await deps.changes.waitFor(id, context, async () => {
    last = await deps.volumes.get(id);
    if (last === undefined || last.metadata.uid !== uid) return true;
    if (isThere(last.spec.attachTo)) {
      throw new CsiError('ABORTED', 'HF409', `volume ${id} was attached again while it was being detached`);
    }
    return isThere(last.status?.attachment?.node) ? undefined : true;
  });
  if (released !== undefined) return {};
  throw notReady(`volume ${id} is not released by ${node || 'its node'} yet`, last?.status?.message);
}

/** The scheduler counts too; this is for those who attach without it. */
function refuseTooMany({ cachedVolumes }: PublishDeps, id: string, node: string, most: number): void {
  const others = cachedVolumes().filter(
    ({ metadata, spec, status }) =>
      metadata.name !== id && (spec.attachTo === node || status?.attachment?.node === node),
  );
  if (!(most > 0 && others.length >= most)) return;
  const message = `node ${node} has ${others.length} volumes and takes no more than ${most}`;
  throw new CsiError('RESOURCE_EXHAUSTED', 'HF421', message, 'node_id');
}

/** The new value of `attachTo`, or undefined when it is right already. */
function attachTo(volume: ReplicatedVolume, node: string): string | undefined {
  const { name } = volume.metadata;
  refuseDeleted(volume);
  const current = volume.spec.attachTo;
  if (current === node) return undefined;
  if (current) {
    const message = `volume ${name} is attached to node ${current}; it must be detached there before ${node} can have it`;
    throw new CsiError('FAILED_PRECONDITION', 'HF407', message, 'node_id');
  }
  return node;
}

/**
 * Writes `spec.attachTo` as decided on what was read; after a conflict it is read and decided again.
 *
 * @param client the labels of the node, to be written with it
 */
async function setAttachTo(
  deps: PublishDeps,
  found: ReplicatedVolume,
  decide: (volume: ReplicatedVolume) => string | undefined,
  client?: Segments,
): Promise<ReplicatedVolume> {
  return await changeSpec(deps.volumes, found, (volume) => {
    const value = decide(volume);
    if (value === undefined) return undefined;
    // A merge patch keeps the keys that it doesn't name.
    const forgotten = Object.fromEntries(Object.keys(volume.spec.clientLabels ?? {}).map((key) => [key, null]));
    const clientLabels = client && { ...forgotten, ...client };
    return { attachTo: value, ...(clientLabels && { clientLabels }) };
  });
}

/** The publish context once the client agent has the device under the granted epoch. */
function deviceOf(
  volume: ReplicatedVolume,
  connection: VolumeConnection | undefined,
  node: string,
): Record<string, string> | undefined {
  const attachment = volume.status?.attachment;
  const status = connection?.status;
  if (attachment?.node !== node || connection?.spec.volumeUid !== volume.metadata.uid) return undefined;
  if (status?.phase !== 'Connected' || status.epoch !== attachment.epoch || !status.devicePath) return undefined;
  return { [DEVICE_PATH_KEY]: status.devicePath, [EPOCH_KEY]: String(attachment.epoch) };
}
