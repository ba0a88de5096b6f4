import { describe, expect, test } from '@jest/globals';
import type { VolumeConnection } from '../lib/api/index.ts';
import { StorageHealthErrorType as StorageType, VolumeHealthErrorType as Type } from './generated/csi.ts';
import { healthOfConnection, healthOfStorage } from './health.ts';

const health = (phase: string, states: Readonly<Record<string, string>>, message = '') =>
  healthOfConnection('v', {
    spec: { legs: [{ replica: 'v-r0' }, { replica: 'v-r1' }] },
    status: { phase, message, legs: Object.entries(states).map(([replica, state]) => ({ replica, state })) },
  } as unknown as VolumeConnection).healthStatuses;

test('with every leg in sync, nothing ails the volume on this node', () => {
  expect(health('Connected', { 'v-r0': 'InSync', 'v-r1': 'InSync' })).toEqual([]);
});

test('a leg that is not in sync is told by name and state', () => {
  expect(health('Connected', { 'v-r0': 'InSync', 'v-r1': 'Syncing' })).toEqual([
    { status: Type.DEGRADED, reason: 'LegNotInSync', message: 'v-r1 is Syncing' },
  ]);
  expect(health('Connected', { 'v-r0': 'InSync' })).toMatchObject([{ message: 'v-r1 is Connecting' }]);
});

test.each([
  ['Waiting', 'IoWaits'],
  ['Fenced', 'Fenced'],
  ['Failed', 'NotStarted'],
])('a connection that is %s is out of reach', (phase, reason) => {
  expect(health(phase, {}, 'why')).toEqual([{ status: Type.INACCESSIBLE, reason, message: 'why' }]);
});

describe('the storage as a node sees it', () => {
  const connection = (states: readonly (string | undefined)[]): VolumeConnection =>
    ({
      spec: { legs: states.map((_, at) => ({ replica: `r${at}`, address: `10.0.0.${at}` })) },
      status: { legs: states.flatMap((state, at) => (state === undefined ? [] : [{ replica: `r${at}`, state }])) },
    }) as unknown as VolumeConnection;

  test.each([
    ['no volumes', []],
    ['every leg there', [connection(['InSync', 'Syncing'])]],
    [
      'one leg that is not there, of a storage node that answers',
      [connection(['InSync', 'Unreachable']), connection(['Syncing', 'InSync'])],
    ],
    ['a leg that was never connected', [connection(['InSync', undefined]), connection(['InSync', 'Connecting'])]],
  ])('is well with %s', (_, connections) => {
    expect(healthOfStorage(connections)).toEqual([]);
  });

  test('is degraded when no leg of a storage node is reached, and out of reach when none is', () => {
    expect(healthOfStorage([connection(['InSync', 'Unreachable'])])).toMatchObject([
      { status: StorageType.STORAGE_DEGRADED, reason: 'StorageNodeNotReached', message: 'no leg answers on 10.0.0.1' },
    ]);
    expect(healthOfStorage([connection(['Unreachable', 'Unreachable'])])).toMatchObject([
      { status: StorageType.STORAGE_UNREACHABLE, message: 'no leg answers on 10.0.0.0, 10.0.0.1' },
    ]);
  });
});
