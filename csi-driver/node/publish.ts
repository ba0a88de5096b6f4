import { ExecError } from '../../lib/host/exec.ts';
import type { MountEntry } from '../../lib/host/mount.ts';
import type {
  NodePublishVolumeRequest,
  NodePublishVolumeResponse,
  NodeUnpublishVolumeRequest,
  NodeUnpublishVolumeResponse,
} from '../generated/csi.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import type { CallContext } from '../grpc/handlers.ts';
import { absolutePath, volumeId, volumeUse, type VolumeUse } from '../validation.ts';
import { lookIfThere, unmountAll, type NodeDeps } from './deps.ts';

/** What is to be seen at the target path: a filesystem's device and the path in it, as the mount table has them. */
interface Wanted {
  readonly source: string;
  readonly root: string;
  /** Undefined for a device node: it is looked at by its path in devtmpfs alone. */
  readonly device: string | undefined;
}

/** Makes the volume visible at the target path: a bind mount of the staged filesystem, or of the device node. */
export async function nodePublish(
  deps: NodeDeps,
  request: NodePublishVolumeRequest,
  context: CallContext,
): Promise<NodePublishVolumeResponse> {
  const id = volumeId(request.volumeId);
  const target = absolutePath('target_path', request.targetPath);
  const staging = absolutePath('staging_target_path', request.stagingTargetPath);
  const use = volumeUse('volume_capability', request.volumeCapability);
  const readOnly =
    request.readonly || use.access === 'reader' || (use.kind === 'mount' && use.mountFlags.includes('ro'));

  const wanted = await whatToBind(deps, { id, staging, use, readOnly }, context);
  const { path, mount, all } = (await lookIfThere(deps.mounts, target)) ?? {
    path: target,
    mount: undefined,
    all: await deps.mounts.list(),
  };
  if (mount !== undefined && !isSame(mount, wanted)) {
    const message = `${path} already holds a mount of ${mount.source} (${mount.device}, ${mount.root}), not of volume ${id}`;
    throw new CsiError('FAILED_PRECONDITION', 'HF412', message, 'target_path');
  }
  if (mount?.options.includes('ro') && !readOnly) {
    throw new CsiError('ALREADY_EXISTS', 'HF412', `volume ${id} is already published read-only at ${path}`, 'readonly');
  }
  if (use.access === 'single-writer') await refuseSecondTarget(deps, id, { wanted, staging, path, all });
  // Nothing is made before it is sure that it may be.
  await (use.kind === 'block' ? deps.paths.ensureFile(target) : deps.paths.ensureDirectory(target));
  await bindSteps(deps, { id, wanted, path: await deps.mounts.canonical(target), readOnly, mount });
  return {};
}

/** Unmounts the target path and removes it. Success when it is gone already. */
export async function nodeUnpublish(
  deps: NodeDeps,
  request: NodeUnpublishVolumeRequest,
): Promise<NodeUnpublishVolumeResponse> {
  volumeId(request.volumeId);
  const target = absolutePath('target_path', request.targetPath);
  await unmountAll(deps.mounts, target);
  await deps.paths.remove(target);
  return {};
}

async function whatToBind(
  deps: NodeDeps,
  about: { readonly id: string; readonly staging: string; readonly use: VolumeUse; readonly readOnly: boolean },
  context: CallContext,
): Promise<Wanted> {
  const { id, staging, use, readOnly } = about;
  if (use.kind === 'block') {
    if (readOnly) {
      // The kernel lets a process write to a device through a read-only mount of its node.
      throw invalid(
        'readonly',
        true,
        'false for a block volume, as a device node can not be made read-only for one user',
      );
    }
    const device = await deps.devices.ready(id, 0, context);
    return { source: device.path, root: device.path.replace(/^\/dev/, ''), device: undefined };
  }
  const staged = await lookIfThere(deps.mounts, staging);
  if (staged?.mount === undefined) {
    const message = `volume ${id} is not staged at ${staging}; NodeStageVolume comes first`;
    throw new CsiError('FAILED_PRECONDITION', 'HF413', message, 'staging_target_path');
  }
  return { source: staged.path, root: staged.mount.root, device: staged.mount.device };
}

/** Each step looks at what is there, so that a call after a crash goes on where it broke off. */
async function bindSteps(
  deps: NodeDeps,
  plan: {
    readonly id: string;
    readonly wanted: Wanted;
    readonly path: string;
    readonly readOnly: boolean;
    readonly mount: MountEntry | undefined;
  },
): Promise<void> {
  const { id, wanted, path, readOnly, mount } = plan;
  try {
    if (mount === undefined) await deps.mounts.bind(wanted.source, path);
    if (readOnly && !mount?.options.includes('ro')) await deps.mounts.makeReadOnly(path);
  } catch (error) {
    if (!(error instanceof ExecError)) throw error;
    throw new CsiError('INTERNAL', 'HF411', `volume ${id} can't be mounted at ${path}: ${error.message}`);
  }
}

/** SINGLE_NODE_SINGLE_WRITER: at one target path at a time, which stands for one workload. */
async function refuseSecondTarget(
  deps: NodeDeps,
  id: string,
  about: {
    readonly wanted: Wanted;
    readonly staging: string;
    readonly path: string;
    readonly all: readonly MountEntry[];
  },
): Promise<void> {
  const staging = await deps.mounts.canonical(about.staging).catch(() => about.staging);
  const other = about.all.find(
    (entry) => isSame(entry, about.wanted) && entry.target !== about.path && entry.target !== staging,
  );
  if (other === undefined) return;
  const message = `volume ${id} is SINGLE_NODE_SINGLE_WRITER and already published at ${other.target}`;
  throw new CsiError('FAILED_PRECONDITION', 'HF407', message, 'target_path');
}

function isSame(mount: MountEntry, wanted: Wanted): boolean {
  return mount.root === wanted.root && (wanted.device === undefined || mount.device === wanted.device);
}
