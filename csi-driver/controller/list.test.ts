import { beforeEach, describe, expect, test } from '@jest/globals';
import type { ReplicatedVolume } from '../../lib/api/index.ts';
import { ListVolumesRequest, VolumeHealthErrorType as Type } from '../generated/csi.ts';
import { fakeCluster, type FakeCluster } from '../testing/fake-controller.ts';
import { getVolume, getVolumeHealth, listVolumeHealth, listVolumes } from './list.ts';

let cluster: FakeCluster;

function put(name: string, status: ReplicatedVolume['status'] = {}): void {
  cluster.volumes.put({ metadata: { name }, spec: { capacityBytes: 2 ** 30 }, status } as ReplicatedVolume);
}

beforeEach(() => {
  cluster = fakeCluster();
  for (const name of ['c', 'a', 'b']) put(name);
});

const list = (maxEntries = 0, startingToken = '') =>
  listVolumes(cluster, ListVolumesRequest.fromPartial({ maxEntries, startingToken }));
const names = (answer: ReturnType<typeof list>) => answer.entries.map(({ volume }) => volume?.volumeId);

describe('ListVolumes', () => {
  test('tells every volume with its size and the node that may write to it', () => {
    put('b', { attachment: { node: 'n1', hostNqn: 'nqn', epoch: 3, clean: false } });
    expect(list()).toMatchObject({
      entries: [
        { volume: { volumeId: 'a', capacityBytes: 2n ** 30n }, status: { publishedNodeIds: [] } },
        { volume: { volumeId: 'b' }, status: { publishedNodeIds: ['n1'] } },
        { volume: { volumeId: 'c' } },
      ],
      nextToken: '',
    });
  });

  // Given pages, when the last volume of one is deleted and another comes in, then none is left out or told twice.
  test('pages go on after the last name, whatever happens to it', () => {
    const first = list(1);
    expect(names(first)).toEqual(['a']);
    cluster.volumes.remove('a');
    put('aa');
    expect(names(list(1, first.nextToken))).toEqual(['aa']);
    expect(names(list(2, first.nextToken))).toEqual(['aa', 'b']);
    expect(names(list(0, list(2, first.nextToken).nextToken))).toEqual(['c']);
  });

  test('a token of somebody else and a negative number are refused', () => {
    expect(() => list(0, 'invalid-token')).toThrow('starting_token is "invalid-token"');
    expect(() => list(-1)).toThrow('max_entries is -1');
  });
});

describe('health', () => {
  test('only what ails is listed', () => {
    put('b', { phase: 'Degraded', message: '1 of 2 replicas in sync' });
    put('c', { phase: 'Waiting', message: 'waiting for c-r0' });
    const request = { maxEntries: 0, startingToken: '', secrets: {} };
    expect(listVolumeHealth(cluster, request).entries).toEqual([
      {
        volumeId: 'b',
        healthStatuses: [{ status: Type.DEGRADED, reason: 'ReplicaNotInSync', message: '1 of 2 replicas in sync' }],
      },
      {
        volumeId: 'c',
        healthStatuses: [{ status: Type.INACCESSIBLE, reason: 'WaitsForReplica', message: 'waiting for c-r0' }],
      },
    ]);
  });

  test('a volume that is well has nothing to tell', async () => {
    const answer = await getVolumeHealth(cluster, { volumeId: 'a', secrets: {} });
    expect(answer).toEqual({ volumeHealth: { volumeId: 'a', healthStatuses: [] } });
  });

  test('no volume, no health', async () => {
    await expect(getVolumeHealth(cluster, { volumeId: 'none', secrets: {} })).rejects.toMatchObject({
      status: 'NOT_FOUND',
    });
    await expect(getVolume(cluster, { volumeId: 'Not/A/Name' })).rejects.toMatchObject({ status: 'NOT_FOUND' });
    await expect(getVolume(cluster, { volumeId: '' })).rejects.toMatchObject({ status: 'INVALID_ARGUMENT' });
  });
});
