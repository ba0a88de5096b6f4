import { ExecError } from '../../lib/host/exec.ts';
import type { FsType } from '../../lib/host/mkfs.ts';
import type { MountEntry } from '../../lib/host/mount.ts';
import type { NodeExpandVolumeRequest, NodeExpandVolumeResponse } from '../generated/csi.ts';
import { CsiError } from '../grpc/errors.ts';
import type { CallContext } from '../grpc/handlers.ts';
import { required } from '../validation.ts';
import type { NodeDeps } from './deps.ts';
import { findMount } from './find-mount.ts';
import type { BlockDevice } from './paths.ts';

/**
 * Makes the filesystem as large as the volume, while it is used; of a block volume there is nothing to grow. Waits until the
 * volume's array has the size that was asked for. May be called again after a crash at any point.
 */
export async function nodeExpand(
  deps: NodeDeps,
  request: NodeExpandVolumeRequest,
  context: CallContext,
): Promise<NodeExpandVolumeResponse> {
  const id = required('volume_id', request.volumeId, 'the id of the volume');
  const { device, isNode, all } = await findMount(deps, id, request.volumePath);
  const { requiredBytes = 0n, limitBytes = 0n } = request.capacityRange ?? {};
  const sizeBytes = await sizeOnce(deps, id, Number(requiredBytes), context);
  if (limitBytes > 0n && BigInt(sizeBytes) > limitBytes) {
    const message = `volume ${id} has ${sizeBytes} bytes, more than the ${limitBytes} that were asked for at most; it is never made smaller`;
    throw new CsiError('OUT_OF_RANGE', 'HF403', message, 'capacity_range');
  }
  if (!isNode) await growFilesystem(deps, id, device, all);
  return { capacityBytes: BigInt(sizeBytes) };
}

/** The device's size, once it has as many bytes as are wanted. */
async function sizeOnce(deps: NodeDeps, id: string, wantedBytes: number, context: CallContext): Promise<number> {
  const device = await deps.devices.ready(id, 0, context, wantedBytes);
  const sizeBytes = await deps.filesystems.sizeBytes(device.path);
  if (sizeBytes >= wantedBytes) return sizeBytes;
  const message = `volume ${id} has ${sizeBytes} bytes on ${deps.node}, where ${wantedBytes} are wanted`;
  throw new CsiError('DEADLINE_EXCEEDED', 'HF406', message);
}

/** Grows what is mounted from a device; what has the device's size already is left as it is. */
export async function growFilesystem(
  deps: Pick<NodeDeps, 'filesystems'>,
  id: string,
  device: BlockDevice,
  all: readonly MountEntry[],
): Promise<void> {
  // Its writer is who may make it larger: a mount that is read-only, over one that is not, can't.
  const mounts = all.filter((each) => each.device === device.number && !each.superOptions.includes('ro'));
  const mount = mounts.find(({ options }) => !options.includes('ro'));
  if (mount === undefined) {
    const message = `the filesystem of volume ${id} is mounted read-only, and can't grow`;
    throw new CsiError('FAILED_PRECONDITION', 'HF411', message, 'volume_path');
  }
  try {
    await deps.filesystems.grow(device.path, mount.fsType as FsType, mount.target);
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    throw new CsiError('INTERNAL', 'HF411', `volume ${id}: its filesystem can't grow: ${error.message}`);
  }
}
