import { expect, test } from '@jest/globals';
import type { VolumeConnection } from '../lib/api/index.ts';
import { VolumeHealthErrorType as Type } from './generated/csi.ts';
import { healthOfConnection } from './health.ts';

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
