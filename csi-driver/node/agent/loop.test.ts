import { expect, test } from '@jest/globals';
import type { ReplicatedVolume, VolumeConnection } from '../../../lib/api/index.ts';
import { silentLog } from '../../../lib/log.ts';
import { VolumeLoop, type LoopDependencies } from './loop.ts';

// Found by the simulation: a member that could not be removed yet kept the agent from dropping the leg for which it waited.
test('what fails does not keep the rest of the plan from being done', async () => {
  const connection = {
    metadata: { name: 'v.c1', uid: 'x', resourceVersion: '1' },
    spec: {
      volume: 'v',
      volumeUid: 'u',
      epoch: 7,
      legTimeout: '3s',
      onControlPlaneLoss: 'Wait',
      onSlowLeg: 'Report',
      raidDisks: 2,
      legs: [],
    },
    status: { epoch: 7, bootId: 'boot' },
  } as unknown as VolumeConnection;
  const volume = {
    metadata: { name: 'v', uid: 'u', resourceVersion: '1' },
    status: { inSync: [], attachment: { node: 'c1', epoch: 7 } },
  } as unknown as ReplicatedVolume;
  const done: string[] = [];
  const ports = {
    bootId: 'boot',
    clock: { now: () => 0, monotonicMs: () => 0, setTimeout: () => () => undefined },
    md: {
      readArray: () => ({ state: 'write-pending', syncAction: 'idle', members: [] }),
      activate: () => {
        done.push('active');
        loop.stop();
        return Promise.resolve();
      },
    },
    links: { read: () => undefined, point: () => Promise.reject(new Error('read-only file system')) },
  };
  const deps = {
    node: 'c1',
    ports,
    volumes: {},
    connections: { patch: () => Promise.resolve(connection) },
    log: silentLog,
    event: () => undefined,
    observeHost: {
      read: () => ({ controllers: [], namespaces: new Map(), valves: new Map() }),
      forget: () => undefined,
    },
    resumed: Promise.resolve(),
    cachedVolume: () => volume,
    cachedConnection: () => connection,
  } as unknown as LoopDependencies;
  const loop = new VolumeLoop(connection, deps);
  await loop.run();
  expect(done).toEqual(['active']);
});
