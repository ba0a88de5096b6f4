import type { CandidateNode, PlaceRequest, Pool } from './request.ts';
import { formatBytes } from './words.ts';

/** Thin volumes may promise this multiple of a pool's capacity, unless the request says otherwise. */
export const DEFAULT_OVER_PROVISIONING_RATIO = 10;

/** A thin pool that runs full stops every volume in it: below this free share it gets no more replicas. */
export const DEFAULT_MIN_FREE_SHARE = 0.05;

/** The part of a request that capacity depends on. */
export type Demand = Pick<
  PlaceRequest,
  'sizeBytes' | 'thick' | 'initialBytes' | 'overProvisioningRatio' | 'minFreeShare'
>;

/** Why a pool has no room, as it follows the count of nodes. */
export interface Shortage {
  readonly one: string;
  readonly many: string;
}

/**
 * Bytes of the pool that are neither used nor promised. Negative when the pool has promised more than it has. This is
 * the figure that `spread(capacity)` compares: on thin pools the used bytes alone would put all new, still empty
 * volumes on one node.
 */
export function freeBytes(pool: Pool): number {
  return pool.capacityBytes - Math.max(pool.usedBytes, pool.provisionedBytes);
}

/**
 * Why a replica doesn't fit into a pool; undefined when it fits. Conditions are written so that a figure that isn't
 * a number (an agent that reports nonsense) never fits.
 */
export function shortage(pool: Pool, demand: Demand): Shortage | undefined {
  if (!(pool.capacityBytes > 0)) {
    return { one: 'has no usable pool', many: 'have no usable pool' };
  }
  if (demand.thick === true) {
    const need = formatBytes(demand.sizeBytes);
    return freeBytes(pool) >= demand.sizeBytes
      ? undefined
      : { one: `has less than ${need} free`, many: `have less than ${need} free` };
  }
  const physicalBytes = pool.capacityBytes - pool.usedBytes;
  const reserveBytes = pool.capacityBytes * (demand.minFreeShare ?? DEFAULT_MIN_FREE_SHARE);
  if (!(physicalBytes > 0 && physicalBytes >= reserveBytes)) {
    return { one: 'is full', many: 'are full' };
  }
  const initialBytes = demand.initialBytes ?? 0;
  if (!(physicalBytes - initialBytes >= reserveBytes)) {
    const need = formatBytes(initialBytes);
    return { one: `has no room to copy ${need} to`, many: `have no room to copy ${need} to` };
  }
  const ratio = demand.overProvisioningRatio ?? DEFAULT_OVER_PROVISIONING_RATIO;
  if (!(pool.provisionedBytes + demand.sizeBytes <= pool.capacityBytes * ratio)) {
    const beyond = `would promise more than ${ratio} times its capacity`;
    return { one: beyond, many: `would promise more than ${ratio} times their capacity` };
  }
  return undefined;
}

export type PoolChoice = { readonly pool: Pool } | { readonly shortage: Shortage };

/** The node's pool with the most free bytes of those that have room (then by name), or why none has. */
export function choosePool(node: CandidateNode, demand: Demand): PoolChoice {
  let best: Pool | undefined;
  let problem: Shortage | undefined;
  for (const pool of node.pools.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const short = shortage(pool, demand);
    if (short !== undefined) {
      problem ??= short;
    } else if (best === undefined || freeBytes(pool) > freeBytes(best)) {
      best = pool;
    }
  }
  return best === undefined ? { shortage: problem ?? { one: 'has no pool', many: 'have no pool' } } : { pool: best };
}
