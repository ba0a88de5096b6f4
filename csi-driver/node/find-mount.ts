import { CsiError } from '../grpc/errors.ts';
import { absolutePath, required } from '../validation.ts';
import { lookIfThere, type Look, type NodeDeps } from './deps.ts';
import type { BlockDevice } from './paths.ts';

/** Where a volume is mounted on this node. */
export interface FoundMount extends Pick<Look, 'path' | 'all'> {
  readonly device: BlockDevice;
  /** Its device node is there, as a block volume's; else its filesystem. */
  readonly isNode: boolean;
}

/**
 * Finds a volume at the path that kubelet names.
 *
 * @param volumePath as in the request
 * @throws CsiError (NOT_FOUND, HF413) when something else is there, or nothing
 */
export async function findMount(
  deps: Pick<NodeDeps, 'mounts' | 'devices'>,
  id: string,
  volumePath: string,
): Promise<FoundMount> {
  const asked = required('volume_path', volumePath, 'where the volume is mounted');
  // Nothing is mounted at a relative path.
  const found = asked.startsWith('/') ? await lookIfThere(deps.mounts, absolutePath('volume_path', asked)) : undefined;
  const device = await deps.devices.now(id);
  const mount = found?.mount;
  const isNode = device !== undefined && mount?.root === device.path.replace(/^\/dev/, '');
  if (
    found === undefined ||
    mount === undefined ||
    device === undefined ||
    !(isNode || mount.device === device.number)
  ) {
    throw new CsiError('NOT_FOUND', 'HF413', `volume ${id} is not mounted at ${asked}`, 'volume_path');
  }
  return { path: found.path, all: found.all, device, isNode };
}
