import { expect, test } from '@jest/globals';
import type { Action, RecordChange } from './actions.ts';
import { neededForAction, neededForRecord } from './needed.ts';
import { world } from './testing/world.ts';

const { volume } = world({ attachment: { node: 'c1', epoch: 4, clean: false } });
const recorded = (volume.status?.replicas ?? []).map(({ name }) => name);
const action = (kind: Action['kind'], name: string): Action => ({ kind, name }) as unknown as Action;
const record = (kind: RecordChange['kind']): RecordChange => ({ kind }) as RecordChange;

// Each list may take 100 ms longer than what it answers, and a fail-over would make five, one after another.
test('while a volume is handed from one client to another nothing is listed', () => {
  expect(neededForAction(action('setAccess', 'v-r0'), volume)).toEqual({
    replicas: ['v-r0'],
    connections: undefined,
  });
  for (const kind of ['createConnection', 'updateConnection', 'deleteConnection'] as const) {
    expect(neededForAction(action(kind, 'v.c2'), volume)).toEqual({ replicas: recorded, connections: ['v.c2'] });
  }
  expect(neededForRecord(record('fenced'), volume)).toEqual({ replicas: recorded, connections: undefined });
  expect(neededForRecord(record('grant'), volume)).toEqual({ replicas: recorded, connections: undefined });
  expect(neededForRecord(record('released'), volume)).toEqual({ replicas: recorded, connections: ['v.c1'] });
  expect(recorded.length).toBeGreaterThan(0);
});

// A disk that knows more than the record may be that of a replica which neither the record nor a cache names.
test('before something is destroyed, all that names the volume is asked for', () => {
  for (const kind of ['orphanReplica', 'deleteReplica'] as const) {
    expect(neededForAction(action(kind, 'v-r0'), volume).replicas).toBe('all');
  }
  expect(neededForAction(action('removeFinalizer', ''), volume).connections).toBe('all');
  expect(neededForRecord(record('forget'), volume).replicas).toBe('all');
});
