import { expect, test } from '@jest/globals';
import { legSizeBytes } from '../../lib/api/names.ts';
import { candidatesOf } from './candidates.ts';
import type { StorageNode, VolumeReplica } from './model.ts';
import { world } from './testing/world.ts';

const ready = {
  type: 'Ready',
  status: 'True' as const,
  reason: 'X',
  message: '',
  lastTransitionTime: '2026-01-01T00:00:00Z',
};
const pool = { name: 'main', capacityBytes: 1000, usedBytes: 1, provisionedBytes: 5 };

function node(more: Partial<StorageNode> = {}): StorageNode {
  return {
    metadata: { name: 's1', labels: { zone: 'a' } },
    spec: { addresses: [{ ip: '10.0.0.1', port: 4420 }], pools: [{ name: 'main' }], cordoned: false, draining: false },
    status: { pools: [pool], conditions: [ready] },
    ...more,
  };
}

const one = (object: StorageNode, replicas: readonly VolumeReplica[] = []) =>
  candidatesOf(
    [object],
    () => replicas,
    () => true,
  )[0];

test('labels, pools and flags are taken over', () => {
  expect(one(node())).toEqual({
    name: 's1',
    labels: { zone: 'a' },
    cordoned: false,
    draining: false,
    alive: true,
    pools: [pool],
    replicaCount: 0,
  });
});

test('a pool has promised what the API knows, even before its agent has seen it', () => {
  const replicas = world().replicas.slice(0, 1);
  expect(one(node(), replicas)).toMatchObject({
    replicaCount: 1,
    pools: [{ provisionedBytes: legSizeBytes(2 ** 30) }],
  });
});

test.each<[string, Partial<StorageNode>]>([
  ['is not Ready', { status: { pools: [pool], conditions: [{ ...ready, status: 'False' }] } }],
  ['has reported nothing yet', { status: {} }],
  ['reports a pool that is no longer wanted', { status: { pools: [{ ...pool, name: 'old' }], conditions: [ready] } }],
])('a node that %s offers no pool', (_what, more) => {
  expect(one(node(more))?.pools).toEqual([]);
});

test('a node that is being deleted is none', () => {
  expect(one(node({ metadata: { name: 's1', deletionTimestamp: '2026-01-01T00:00:00Z' } }))).toBeUndefined();
});
