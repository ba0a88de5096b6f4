import { freeBytes, DEFAULT_OVER_PROVISIONING_RATIO } from './capacity.ts';
import { labelValue } from './labels.ts';
import { place } from './place.ts';
import type { CandidateNode, PlaceRequest, Pool } from './request.ts';

/** What the volumes of one kind have in common; everything of a request but its size. */
export type Kind = Pick<
  PlaceRequest,
  'placement' | 'nodes' | 'count' | 'thick' | 'overProvisioningRatio' | 'minFreeShare'
>;

/** How large a new volume may be, and how much room there is for all that may follow. */
export interface Room {
  /** A volume of this size can be placed now, one of `stepBytes` more can't. 0: none at all. */
  readonly largestBytes: number;
  /** What new volumes of this kind could have altogether: an upper bound. */
  readonly totalBytes: number;
}

export interface Sizes {
  /** Bytes that a replica takes beyond the size of its volume. */
  readonly overheadBytes: number;
  /** Sizes are multiples of it. */
  readonly stepBytes: number;
  /** The largest that any volume may be. */
  readonly mostBytes: number;
}

/**
 * The largest volume that could be placed: `place` itself is asked, by bisection (what fits, fits when it is smaller).
 * Goals choose among nodes and never refuse one, so they are left out.
 */
export function roomFor(kind: Kind, { overheadBytes, stepBytes, mostBytes }: Sizes): Room {
  const fits = (steps: number): boolean =>
    place({
      ...kind,
      volumeUid: '',
      placement: { ...kind.placement, goals: [] },
      members: [],
      exclude: [],
      sizeBytes: steps * stepBytes + overheadBytes,
    }).ok;
  // Between what fits and what doesn't.
  let least = 0;
  let most = Math.floor(mostBytes / stepBytes) + 1;
  while (most - least > 1) {
    const middle = Math.floor((least + most) / 2);
    if (fits(middle)) least = middle;
    else most = middle;
  }
  const largestBytes = least * stepBytes;
  return { largestBytes, totalBytes: largestBytes === 0 ? 0 : Math.max(largestBytes, totalOf(kind, overheadBytes)) };
}

/** The room of all nodes that could have a replica, for volumes of which each takes `count` different domains. */
function totalOf(kind: Kind, overheadBytes: number): number {
  // Who could have the smallest replica, without a look at the others.
  const alone = kind.nodes.filter((node) => couldHold(kind, node, overheadBytes));
  const domains = ['', ...kind.placement.constraints.flatMap((rule) => (rule.kind === 'distinct' ? [rule.label] : []))];
  const totals = domains.map((label) => {
    const rooms = new Map<string, number>();
    for (const node of alone) {
      const domain = label === '' ? node.name : (labelValue(node.labels, label) ?? '');
      rooms.set(domain, (rooms.get(domain) ?? 0) + roomOf(kind, node));
    }
    return spread([...rooms.values()], kind.count);
  });
  return Math.min(...totals);
}

function couldHold(kind: Kind, node: CandidateNode, sizeBytes: number): boolean {
  return place({
    ...kind,
    nodes: [node],
    volumeUid: '',
    placement: { ...kind.placement, goals: [] },
    members: [],
    exclude: [],
    count: 1,
    sizeBytes,
  }).ok;
}

function roomOf(kind: Kind, { pools }: CandidateNode): number {
  const promise = ({ capacityBytes, provisionedBytes }: Pool): number =>
    capacityBytes * (kind.overProvisioningRatio ?? DEFAULT_OVER_PROVISIONING_RATIO) - provisionedBytes;
  return pools.reduce((sum, pool) => sum + Math.max(0, kind.thick === true ? freeBytes(pool) : promise(pool)), 0);
}

/**
 * The most that can be stored `count` times, each time in different ones of these rooms: the greatest T for which the rooms,
 * none counted for more than T, hold count · T.
 */
export function spread(rooms: readonly number[], count: number): number {
  const sorted = rooms.toSorted((a, b) => b - a);
  let rest = sorted.reduce((sum, room) => sum + room, 0);
  // The k largest rooms are larger than T: they count for T each, and the others have to hold (count - k) · T.
  for (let k = 0; k < Math.min(count, sorted.length); k++) {
    const most = Math.floor(rest / (count - k));
    if ((sorted[k] ?? 0) <= most) return most;
    rest -= sorted[k] ?? 0;
  }
  return 0;
}
