import { CLIENT_AGENT_FINALIZER } from '../../lib/api/names.ts';
import type { VolumeConnection, VolumeReplica } from './model.ts';
import type { Ports } from './ports.ts';
import { isConflict, isNotFound } from './ports.ts';

/** What names a volume that no longer exists. */
export interface Left {
  readonly replicas: readonly VolumeReplica[];
  readonly connections: readonly VolumeConnection[];
}

/** What there is still to do about it; the rest is for the agents. */
export function undone({ replicas, connections }: Left, isClientAlive: (node: string) => boolean): Left {
  return {
    replicas: replicas.filter(
      ({ metadata, spec }) => spec.state !== 'Orphan' || metadata.deletionTimestamp === undefined,
    ),
    connections: connections.filter(
      ({ metadata, spec }) => metadata.deletionTimestamp === undefined || !isClientAlive(spec.node),
    ),
  };
}

/**
 * What is left of a volume that no longer exists: its replicas become orphans, its connections are deleted. It happens
 * only after the API server has listed the volume as absent: a cache may be behind, and a "not found" is also what the
 * API server answers for a kind that it does not serve at the moment, whereas listing such a kind fails.
 * @param isProved the API server has just said that the volume is gone, in answer to the removal of its last finalizer
 * @returns whether all of it is done
 */
export async function sweepStrays(
  volume: string,
  left: Left,
  isClientAlive: (node: string) => boolean,
  ports: Ports,
  isProved = false,
): Promise<boolean> {
  if (left.replicas.length === 0 && left.connections.length === 0) {
    return true;
  }
  if (!isProved) {
    const { items } = await ports.volumes.list({ fieldSelector: `metadata.name=${volume}` });
    if (items.length > 0) {
      return false;
    }
  }
  try {
    await sweepAll(volume, left, isClientAlive, ports);
    return true;
  } catch (error) {
    // Deleted or changed in between: its own event brings it here again.
    if (!isConflict(error) && !isNotFound(error)) throw error;
    return false;
  }
}

async function sweepAll(
  volume: string,
  left: Left,
  isClientAlive: (node: string) => boolean,
  ports: Ports,
): Promise<void> {
  for (const { metadata, spec } of left.replicas) {
    const { name, uid = '', deletionTimestamp } = metadata;
    if (spec.state !== 'Orphan') {
      await ports.replicas.patch(name, { metadata: { uid }, spec: { state: 'Orphan' } });
      ports.log.info('orphaned a replica whose volume is gone', {
        volume,
        replica: name,
        storageNode: spec.storageNode,
      });
    }
    if (deletionTimestamp === undefined) {
      await ports.replicas.delete(name, { uid });
    }
  }
  for (const { metadata, spec } of left.connections) {
    const { name, uid = '', resourceVersion, deletionTimestamp, finalizers = [] } = metadata;
    if (deletionTimestamp === undefined) {
      await ports.connections.delete(name, { uid });
    } else if (!isClientAlive(spec.node) && finalizers.includes(CLIENT_AGENT_FINALIZER)) {
      const kept = finalizers.filter((each) => each !== CLIENT_AGENT_FINALIZER);
      await ports.connections.patch(name, { metadata: { uid, resourceVersion, finalizers: kept } });
    }
  }
}
