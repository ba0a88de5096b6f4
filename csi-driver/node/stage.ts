import { ExecError } from '../../lib/host/exec.ts';
import type { FsType } from '../../lib/host/mkfs.ts';
import type {
  NodeStageVolumeRequest,
  NodeStageVolumeResponse,
  NodeUnstageVolumeRequest,
  NodeUnstageVolumeResponse,
} from '../generated/csi.ts';
import { DEVICE_PATH_KEY, EPOCH_KEY } from '../controller/publish.ts';
import { devicePath } from '../../lib/api/names.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import type { CallContext } from '../grpc/handlers.ts';
import {
  absolutePath,
  checkFilesystemSize,
  DEFAULT_FS_TYPE,
  volumeId,
  volumeUse,
  type VolumeUse,
} from '../validation.ts';
import { lookAt, unmountAll, type NodeDeps } from './deps.ts';
import type { AttachedDevice } from './device.ts';
import { growFilesystem } from './expand.ts';

/**
 * Mounts the volume's filesystem at the staging path, and makes it first when the device is blank. A device that holds
 * anything is never formatted. May be called again after a crash at any point. For block volumes it only waits for the
 * device.
 */
export async function nodeStage(
  deps: NodeDeps,
  request: NodeStageVolumeRequest,
  context: CallContext,
): Promise<NodeStageVolumeResponse> {
  const id = volumeId(request.volumeId);
  const staging = absolutePath('staging_target_path', request.stagingTargetPath);
  const use = volumeUse('volume_capability', request.volumeCapability);
  const minEpoch = epochOf(id, request.publishContext);
  const device = await deps.devices.ready(id, minEpoch, context);
  if (use.kind === 'block') return {};

  await deps.paths.ensureDirectory(staging);
  const { path, mount, all } = await lookAt(deps.mounts, staging);
  if (mount !== undefined) {
    if (mount.device === device.number && (use.fsType ?? mount.fsType) === mount.fsType) {
      // Another call may have been cut off before this.
      if (!mount.options.includes('ro')) await growFilesystem(deps, id, device, all);
      return {};
    }
    const message = `${path} already holds a mount of ${mount.source} (${mount.device}, ${mount.fsType}); volume ${id} is ${device.path} (${device.number}${use.fsType ? `, ${use.fsType}` : ''})`;
    throw new CsiError('FAILED_PRECONDITION', 'HF412', message, 'staging_target_path');
  }
  const mounted = all.find((entry) => entry.device === device.number);
  const fsType =
    mounted === undefined
      ? await prepareFilesystem(deps, id, device, use.fsType)
      : mountedType(id, device, mounted.fsType, use.fsType);
  const options = mountOptions(fsType, use);
  await hostStep(id, 'mounted', () => deps.mounts.mount(device.path, path, fsType, options));
  // What was made from a smaller volume is grown here, as nobody asks for that.
  if (mounted === undefined && !options.includes('ro')) {
    await growFilesystem(deps, id, device, (await lookAt(deps.mounts, staging)).all);
  }
  return {};
}

/** Unmounts the staging path. The folder itself belongs to the caller. */
export async function nodeUnstage(
  deps: NodeDeps,
  request: NodeUnstageVolumeRequest,
): Promise<NodeUnstageVolumeResponse> {
  volumeId(request.volumeId);
  await unmountAll(deps.mounts, absolutePath('staging_target_path', request.stagingTargetPath));
  return {};
}

/**
 * Sees to it that the device has a filesystem that can be mounted, and returns its type.
 *
 * @throws CsiError (FAILED_PRECONDITION, HF410) when the device holds something else
 */
async function prepareFilesystem(
  deps: NodeDeps,
  id: string,
  device: AttachedDevice,
  wanted: FsType | undefined,
): Promise<FsType> {
  const [begun, content] = await Promise.all([
    deps.formatRecord.isUnfinished(id),
    hostStep(id, 'read', () => deps.filesystems.probe(device.path)),
  ]);
  switch (content.kind) {
    case 'blank':
      return await format(deps, id, device, wanted ?? DEFAULT_FS_TYPE);
    case 'filesystem': {
      const { type, unfinished } = content;
      if (unfinished) return await format(deps, id, device, wanted ?? DEFAULT_FS_TYPE);
      if ((type !== 'ext4' && type !== 'xfs') || (wanted !== undefined && type !== wanted)) {
        throw notOurs(id, device, `a filesystem of type ${type}`, wanted);
      }
      await hostStep(id, 'checked', () => deps.filesystems.check(device.path, type));
      // The disk knows better than a record from an API server that was restored, or that we could not reach in time.
      if (begun) await deps.formatRecord.finish(id, device.epoch, type);
      return type;
    }
    case 'unknown':
      // What a format that broke off has left; nobody has had it mounted.
      if (begun) return await format(deps, id, device, wanted ?? DEFAULT_FS_TYPE);
      throw notOurs(id, device, content.what, wanted);
    case 'other':
      throw notOurs(id, device, content.what, wanted);
  }
}

/** Mounted at another path already, the device is not to be checked or formatted under the feet of its users. */
function mountedType(id: string, device: AttachedDevice, type: string, wanted: FsType | undefined): FsType {
  if ((type === 'ext4' || type === 'xfs') && (wanted ?? type) === type) return type;
  throw notOurs(id, device, `a filesystem of type ${type}`, wanted);
}

/**
 * Record, make, take the mark away, record: a crash anywhere in between leads here again. That it is done says the disk
 * itself, so that no state of the API server, however old, leads to a format of what may hold a user's data.
 */
async function format(deps: NodeDeps, id: string, device: AttachedDevice, fsType: FsType): Promise<FsType> {
  checkFilesystemSize(await hostStep(id, 'read', () => deps.filesystems.sizeBytes(device.path)), fsType);
  await deps.formatRecord.begin(id, device.epoch, fsType);
  await hostStep(id, `formatted as ${fsType}`, () => deps.filesystems.make(device.path, fsType));
  await hostStep(id, `finished as ${fsType}`, () => deps.filesystems.finish(device.path, fsType));
  await deps.formatRecord.finish(id, device.epoch, fsType);
  return fsType;
}

function notOurs(id: string, device: AttachedDevice, what: string, wanted: FsType | undefined): CsiError {
  const message = `the device of volume ${id} (${device.path}) holds ${what}, where ${wanted ?? 'ext4 or xfs'} was asked for; a device that holds something is never formatted`;
  return new CsiError('FAILED_PRECONDITION', 'HF410', message, 'volume_capability.mount.fs_type');
}

/** The user's mount flags come last, so they win. */
function mountOptions(fsType: FsType, use: Extract<VolumeUse, { kind: 'mount' }>): string[] {
  const defaults = [
    ...(use.access === 'reader' ? ['ro'] : []),
    // After an error ext4 goes on by default, over what it has just found to be damaged.
    // A volume that began with a snapshot has the UUID of its source, next to which XFS would not be mounted (xfs(5)).
    ...(fsType === 'xfs' ? ['nouuid'] : []),
    ...(fsType === 'ext4' && !use.mountFlags.some((flag) => flag.startsWith('errors=')) ? ['errors=remount-ro'] : []),
  ];
  return [...defaults, ...use.mountFlags];
}

function epochOf(id: string, publishContext: Readonly<Record<string, string>>): number {
  const path = publishContext[DEVICE_PATH_KEY];
  if (path !== undefined && path !== devicePath(id)) {
    throw invalid(`publish_context.${DEVICE_PATH_KEY}`, path, devicePath(id));
  }
  const text = publishContext[EPOCH_KEY] ?? '0';
  if (!/^[0-9]{1,15}$/.test(text)) throw invalid(`publish_context.${EPOCH_KEY}`, text, 'the epoch of the attachment');
  return Number(text);
}

/** A tool's failure, in the words of the tool. */
async function hostStep<T>(id: string, what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    throw new CsiError('INTERNAL', 'HF411', `volume ${id} can't be ${what}: ${error.message}`);
  }
}
