import { shortage } from './capacity.ts';
import type { CandidateNode } from './request.ts';

/** A replica that is to grow where it is. */
export interface Growing {
  readonly storageNode: string;
  readonly pool: string;
  readonly presentBytes: number;
  readonly wantedBytes: number;
  readonly thick: boolean;
}

/** Why the pool of a replica has no room for what it is to grow by, with pool and bytes; undefined when it has, or nothing is known of it. */
export function lackForGrowth(nodes: readonly CandidateNode[], growing: Growing): string | undefined {
  const { storageNode, pool: name, presentBytes, wantedBytes, thick } = growing;
  const pool = nodes.find((each) => each.name === storageNode)?.pools.find((each) => each.name === name);
  const sizeBytes = wantedBytes - presentBytes;
  const lack = pool && shortage(pool, { sizeBytes, thick });
  return lack && `pool ${name} of ${storageNode} ${lack.one} (${sizeBytes} bytes more are needed)`;
}
