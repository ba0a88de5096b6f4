import { describe, expect, test } from '@jest/globals';
import { GIB, node, pool, random, request } from './fixtures.ts';
import { roomFor, spread } from './largest.ts';
import { parsePlacement } from './parse.ts';
import { place } from './place.ts';
import type { CandidateNode } from './request.ts';

const MIB = 1024 ** 2;
const sizes = { overheadBytes: 4 * MIB, stepBytes: MIB, mostBytes: 64 * 1024 * GIB };
const sized = (name: string, zone: string, gib: number, used = 0): CandidateNode =>
  node(
    name,
    { zone },
    { pools: [pool({ capacityBytes: gib * GIB, usedBytes: used * GIB, provisionedBytes: used * GIB })] },
  );
const kind = (placement: string, nodes: readonly CandidateNode[], count = 2, thick = true) => ({
  placement: parsePlacement(placement),
  nodes,
  count,
  thick,
});

describe('the largest volume', () => {
  test('of two replicas is as large as the second largest room, without what a replica takes for itself', () => {
    const nodes = [sized('a', 'x', 10), sized('b', 'y', 30), sized('c', 'z', 20, 5)];
    expect(roomFor(kind('', nodes), sizes).largestBytes).toBe(15 * GIB - 4 * MIB);
  });

  test('knows the domains', () => {
    const nodes = [sized('a', 'x', 10), sized('b', 'y', 30), sized('c', 'y', 20)];
    expect(roomFor(kind('distinct(zone)', nodes), sizes).largestBytes).toBe(10 * GIB - 4 * MIB);
    expect(roomFor(kind('same(zone)', nodes), sizes).largestBytes).toBe(20 * GIB - 4 * MIB);
  });

  test('of thin replicas is what may still be promised', () => {
    const nodes = [sized('a', 'x', 10, 4), sized('b', 'y', 30)];
    expect(roomFor(kind('', nodes, 2, false), sizes).largestBytes).toBe(96 * GIB - 4 * MIB);
  });

  test('is none when too few nodes can be had', () => {
    const away = { ...sized('b', 'y', 30), alive: false };
    expect(roomFor(kind('', [sized('a', 'x', 10), away]), sizes)).toEqual({ largestBytes: 0, totalBytes: 0 });
    expect(roomFor(kind('', []), sizes)).toEqual({ largestBytes: 0, totalBytes: 0 });
  });

  test('is never larger than volumes may be', () => {
    const nodes = [sized('a', 'x', 1e9), sized('b', 'y', 1e9)];
    expect(roomFor(kind('', nodes), sizes).largestBytes).toBe(64 * 1024 * GIB);
  });

  test('fits, and a step more does not, whatever the nodes', () => {
    const { integer, pick } = random(7);
    for (let round = 0; round < 100; round++) {
      const nodes = Array.from({ length: 1 + integer(6) }, (_, i) =>
        sized(`n${i}`, pick(['x', 'y', 'z']), 1 + integer(9)),
      );
      const of = kind(pick(['', 'distinct(zone)', 'same(zone)']), nodes, 1 + integer(3), pick([true, false]));
      const { largestBytes, totalBytes } = roomFor(of, sizes);
      const fits = (bytes: number): boolean =>
        place({ ...request('', nodes), ...of, sizeBytes: bytes + sizes.overheadBytes }).ok;
      expect(largestBytes === 0 || fits(largestBytes)).toBe(true);
      expect(fits(largestBytes + MIB)).toBe(false);
      expect(totalBytes).toBeGreaterThanOrEqual(largestBytes);
    }
  });
});

test.each([
  [[10, 10], 2, 10],
  [[10, 30], 2, 10],
  [[10, 10, 10], 2, 15],
  [[5, 5, 30], 2, 10],
  [[7], 1, 7],
  [[3, 4], 1, 7],
  [[9], 2, 0],
  [[], 2, 0],
])('in rooms of %j, %d times: %d', (rooms, count, most) => {
  expect(spread(rooms, count)).toBe(most);
});

test('the total of equal nodes is the room of all, by the replicas', () => {
  const nodes = ['x', 'y', 'z'].map((zone) => sized(zone, zone, 10));
  expect(roomFor(kind('distinct(zone)', nodes), sizes).totalBytes).toBe(15 * GIB);
});
