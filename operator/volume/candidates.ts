import { isTrue } from '../../lib/api/conditions.ts';
import { legSizeBytes } from '../../lib/api/names.ts';
import type { CandidateNode, Pool } from '../placement/request.ts';
import type { StorageNode, VolumeReplica } from './model.ts';

/**
 * Storage nodes as placement sees them. What a pool has promised is the greater of what its agent reports and of the
 * replicas that the API knows there: an agent has not yet seen the replicas of a moment ago. A node that is not Ready
 * offers no pool.
 * @param replicasOn the VolumeReplicas of a storage node, by its name
 * @param isAlive whether the node's storage agent renews its lease
 */
export function candidatesOf(
  nodes: readonly StorageNode[],
  replicasOn: (node: string) => readonly VolumeReplica[],
  isAlive: (node: string) => boolean,
): readonly CandidateNode[] {
  return nodes
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .map((node) => {
      const { name, labels = {} } = node.metadata;
      const replicas = replicasOn(name);
      return {
        name,
        labels,
        cordoned: node.spec.cordoned,
        draining: node.spec.draining,
        alive: isAlive(name),
        pools: isTrue(node.status?.conditions, 'Ready') ? poolsOf(node, replicas) : [],
        replicaCount: replicas.length,
      };
    });
}

function poolsOf(node: StorageNode, replicas: readonly VolumeReplica[]): readonly Pool[] {
  const wanted = new Set(node.spec.pools.map(({ name }) => name));
  return (node.status?.pools ?? [])
    .filter(({ name }) => wanted.has(name))
    .map(({ name, capacityBytes, usedBytes, provisionedBytes }) => {
      const knownBytes = replicas
        .filter(({ spec }) => spec.pool === name)
        .reduce((sum, { spec }) => sum + legSizeBytes(spec.sizeBytes), 0);
      return { name, capacityBytes, usedBytes, provisionedBytes: Math.max(provisionedBytes, knownBytes) };
    });
}
