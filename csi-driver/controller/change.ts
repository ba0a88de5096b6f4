import type { ReplicatedVolume } from '../../lib/api/index.ts';
import { KubeError } from '../../lib/kube/client.ts';
import { CsiError } from '../grpc/errors.ts';
import { noVolume, type ControllerDeps } from './deps.ts';

/** Other writers of the object (the operator, `kubectl edit`) make a change of ours conflict a few times at most. */
const WRITE_ATTEMPTS = 5;

/** @throws CsiError (FAILED_PRECONDITION, HF407) for a volume that is being deleted */
export function refuseDeleted({ metadata: { name, deletionTimestamp } }: ReplicatedVolume): void {
  if (deletionTimestamp === undefined) return;
  throw new CsiError('FAILED_PRECONDITION', 'HF407', `volume ${name} is being deleted`, 'volume_id');
}

/**
 * Changes a volume's spec as decided on what was read; after a conflict it is read and decided again.
 *
 * @param decide the part of the spec to write (a merge patch), or undefined when all is right already
 * @returns the volume as it then is
 */
export async function changeSpec(
  volumes: Pick<ControllerDeps['volumes'], 'get' | 'patch'>,
  found: ReplicatedVolume,
  decide: (volume: ReplicatedVolume) => object | undefined,
): Promise<ReplicatedVolume> {
  const { name, uid } = found.metadata;
  let volume: ReplicatedVolume | undefined = found;
  for (let attempt = 1; attempt <= WRITE_ATTEMPTS; attempt++) {
    if (volume === undefined || volume.metadata.uid !== uid) throw noVolume(name);
    const spec = decide(volume);
    if (spec === undefined) return volume;
    try {
      return await volumes.patch(name, { metadata: { resourceVersion: volume.metadata.resourceVersion }, spec });
    } catch (error) {
      if (!(error instanceof KubeError) || !error.isConflict) throw error;
      volume = await volumes.get(name);
    }
  }
  throw new CsiError('ABORTED', 'HF409', `volume ${name} changed ${WRITE_ATTEMPTS} times while we wrote; try again`);
}
