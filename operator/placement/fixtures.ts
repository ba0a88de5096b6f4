/** Builders and a repeatable random source for this folder's tests. */
import { parsePlacement } from './parse.ts';
import type { CandidateNode, PlaceRequest, Pool } from './request.ts';

export const GIB = 1024 ** 3;

export function pool(fields: Partial<Pool> = {}): Pool {
  return { name: 'main', capacityBytes: 10 * GIB, usedBytes: 0, provisionedBytes: 0, ...fields };
}

export function node(
  name: string,
  labels: Record<string, string> = {},
  fields: Partial<CandidateNode> = {},
): CandidateNode {
  return { name, labels, cordoned: false, draining: false, alive: true, pools: [pool()], replicaCount: 0, ...fields };
}

/** Nodes n1, n2, ... with these zones. */
export function zones(...names: readonly string[]): readonly CandidateNode[] {
  return names.map((zone, i) => node(`n${i + 1}`, { zone }));
}

export function request(
  placement: string,
  nodes: readonly CandidateNode[],
  fields: Partial<Omit<PlaceRequest, 'placement' | 'nodes'>> = {},
): PlaceRequest {
  return {
    volumeUid: 'volume-1',
    placement: parsePlacement(placement),
    nodes,
    members: [],
    exclude: [],
    count: 1,
    sizeBytes: GIB,
    ...fields,
  };
}

export interface Random {
  /** An integer from 0 to `below` - 1. */
  readonly integer: (below: number) => number;
  readonly pick: <T>(items: readonly [T, ...T[]]) => T;
}

/** The same numbers for the same seed (a 32-bit linear congruential generator; its upper bits are used). */
export function random(seed: number): Random {
  let state = seed >>> 0;
  const integer = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  return { integer, pick: (items) => items[integer(items.length)] ?? items[0] };
}
