import { describe, expect, test } from '@jest/globals';
import type { ReplicatedVolume } from '../../../lib/api/index.ts';
import { KubeError, type Resource } from '../../../lib/kube/client.ts';
import { changeRecord, EpochLostError } from './record.ts';

type Status = NonNullable<ReplicatedVolume['status']>;

const owner = { node: 'c1', epoch: 7 };

function volume(version: number, status: Partial<Status> = {}): ReplicatedVolume {
  return {
    metadata: { name: 'v', uid: 'u', resourceVersion: String(version) },
    spec: {} as ReplicatedVolume['spec'],
    status: {
      attachment: { node: 'c1', hostNqn: 'h', epoch: 7, clean: false },
      inSync: ['v-a', 'v-b'],
      ...status,
    },
  };
}

/** An API server that holds one volume and refuses patches planned on an older one. */
function server(stored: ReplicatedVolume): {
  resource: Resource<ReplicatedVolume>;
  patches: unknown[];
  stored: () => ReplicatedVolume;
} {
  let current = stored;
  const patches: unknown[] = [];
  const resource = {
    get: async () => current,
    patch: async (_name: string, patch: { metadata: { resourceVersion: string }; status: Partial<Status> }) => {
      if (patch.metadata.resourceVersion !== current.metadata.resourceVersion) {
        throw new KubeError(409, 'Conflict', 'the object has been modified');
      }
      patches.push(patch.status);
      current = volume(Number(current.metadata.resourceVersion) + 1, { ...current.status, ...patch.status });
      return current;
    },
  } as unknown as Resource<ReplicatedVolume>;
  return { resource, patches, stored: () => current };
}

const withoutB = (status: Status): { inSync: string[]; outOfSync: Record<string, null> } => ({
  inSync: (status.inSync ?? []).filter((name) => name !== 'v-b'),
  outOfSync: {},
});

describe('the record', () => {
  test('is changed with the resourceVersion that the change was planned on', async () => {
    const api = server(volume(5));
    await changeRecord(api.resource, volume(5), owner, withoutB);
    expect(api.stored().status?.inSync).toEqual(['v-a']);
  });

  test('is planned again on a fresh read after a conflict', async () => {
    const api = server(volume(9, { inSync: ['v-a', 'v-b', 'v-c'] }));
    await changeRecord(api.resource, volume(5), owner, withoutB);
    expect(api.stored().status?.inSync).toEqual(['v-a', 'v-c']);
  });

  test('is not touched once another attachment has begun', async () => {
    const api = server(volume(9, { attachment: { node: 'c2', hostNqn: 'h', epoch: 8, clean: false } }));
    await expect(changeRecord(api.resource, volume(5), owner, withoutB)).rejects.toThrow(EpochLostError);
    expect(api.patches).toEqual([]);
  });

  test('is read afresh before a lagging cache may say that the epoch is lost', async () => {
    const api = server(volume(9));
    const old = volume(3, { attachment: { node: '', hostNqn: '', epoch: 6, clean: true } });
    await changeRecord(api.resource, old, owner, withoutB);
    expect(api.stored().status?.inSync).toEqual(['v-a']);
  });

  // Given an API server that was restored from a backup while the volume is in use, then its record is an older one: r-b was
  // out of sync by then, or is long since. What is written next rests on what it had accepted.
  test('goes on from what the API server had accepted and has forgotten', async () => {
    const away = { epoch: 7, at: '2026-01-01T00:00:00Z' };
    const api = server(volume(5, { inSync: ['v-b', 'v-c'], recordGeneration: 3, outOfSync: { 'v-a': away } }));
    const known = volume(9, { inSync: ['v-a', 'v-b'], recordGeneration: 6, outOfSync: { 'v-c': away } });
    await changeRecord(api.resource, known, owner, withoutB);
    const outOfSync = { 'v-a': null, 'v-c': away };
    expect(api.patches).toEqual([{ inSync: ['v-a'], recordGeneration: 7, outOfSync, attachment: { clean: false } }]);
  });

  test('is told to an API server that has forgotten it', async () => {
    const api = server(volume(5, { inSync: ['v-b'], recordGeneration: 3 }));
    const anew = ({ inSync = [] }: Status) => ({ inSync, outOfSync: {}, anew: true });
    await changeRecord(api.resource, volume(9, { recordGeneration: 6 }), owner, anew);
    expect(api.stored().status).toMatchObject({ inSync: ['v-a', 'v-b'], recordGeneration: 7 });
  });

  // Found by the simulation (seed 908108655): the array started anew without a resync after it had been taken away from its writers.
  test('is told with the array in use, of which a backup from before its start does not know', async () => {
    const attachment = { node: 'c1', hostNqn: 'h', epoch: 7, clean: true };
    const api = server(volume(5, { recordGeneration: 3, attachment }));
    const anew = ({ inSync = [] }: Status) => ({ inSync, outOfSync: {}, anew: true });
    const known = volume(9, { recordGeneration: 6, attachment: { ...attachment, clean: false } });
    await changeRecord(api.resource, known, owner, anew);
    expect(api.stored().status?.attachment).toMatchObject({ clean: false });
  });

  // Found by the simulation: by now the API server has given the name to another, empty replica.
  test('is told without the replicas that are no longer those of their names', async () => {
    const api = server(volume(5, { inSync: ['v-b'], recordGeneration: 3 }));
    const anew = ({ inSync = [] }: Status) => ({ inSync, outOfSync: {}, anew: true });
    const only = (name: string) => ({ isSame: () => Promise.resolve((replica: string) => replica === name) });
    await changeRecord(api.resource, volume(9, { recordGeneration: 6 }), owner, anew, only('v-b'));
    expect(api.stored().status).toMatchObject({ inSync: ['v-b'], recordGeneration: 7 });
    const none = server(volume(5, { inSync: ['v-b'], recordGeneration: 3 }));
    await expect(
      changeRecord(none.resource, volume(9, { recordGeneration: 6 }), owner, anew, only('v-z')),
    ).rejects.toThrow('empty');
  });

  test('never becomes empty', async () => {
    const api = server(volume(5));
    await expect(changeRecord(api.resource, volume(5), owner, () => ({ inSync: [], outOfSync: {} }))).rejects.toThrow(
      'empty',
    );
    expect(api.patches).toEqual([]);
  });

  test('stays when there is nothing to change', async () => {
    const api = server(volume(5));
    await changeRecord(api.resource, volume(5), owner, () => undefined);
    expect(api.patches).toEqual([]);
  });
});
