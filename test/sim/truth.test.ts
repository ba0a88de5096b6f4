import { beforeEach, expect, test } from '@jest/globals';
import { checkHistory } from '../history/check.ts';
import type { Operation } from '../history/history.ts';
import type { ApiServer } from './api.ts';
import type { StorageKernel } from './kernel/types.ts';
import { createTruth, type Truth } from './truth.ts';

/** What pg-r1 holds, by block. */
let held: Map<number, number>;
let history: Operation[];
let nowMs: number;
let truth: Truth;

beforeEach(() => {
  held = new Map();
  history = [];
  nowMs = 0;
  const object = { metadata: { name: 'pg-r1', uid: 'u1' }, spec: { storageNode: 's2' } };
  const read = (_uid: string, block: number): number => held.get(block) ?? 0;
  truth = createTruth({
    api: { replicas: { rows: new Map([['pg-r1', object]]) } } as unknown as ApiServer,
    storage: new Map([['s2', { readBlock: read, readDurableBlock: read } as unknown as StorageKernel]]),
    nowMs: () => nowMs,
    history,
  });
});

const write = (client: string, block: number, value: number, invokedMs: number, completedMs?: number): void => {
  history.push({ kind: 'write', client, block, value, invokedMs, completedMs });
  if (completedMs !== undefined) truth.acknowledge(block, value, true);
};
const read = (client: string, block: number, value: number, invokedMs: number): void => {
  history.push({ kind: 'read', client, block, value, invokedMs, completedMs: invokedMs + 1 });
};
const broken = (): string[] => checkHistory(truth.history()).map(({ kind }) => kind);

// Found by the simulation (seed 10003960): nobody was ever told of the write, but others were told that it was not there.
test('a write that was under way when the replica left may come back with a forced start from it', () => {
  write('old', 5, 1, 10);
  held.set(5, 1);
  truth.left('pg-r1');
  history[0] = { ...(history[0] as Operation & { kind: 'write' }), goneMs: 20 };
  read('old', 5, 0, 30);
  expect(broken()).toEqual([]);
  nowMs = 100;
  expect(truth.goOnFrom('pg-r1', 1)).toEqual([]);
  truth.granted(2, ['pg-r1']);
  read('new', 5, 1, 200);
  expect(broken()).toEqual([]);
});

test('what was acknowledged before the replica left does not go by a forced start', () => {
  write('old', 5, 1, 10, 20);
  write('old', 6, 2, 30, 40);
  held.set(6, 2);
  truth.left('pg-r1');
  write('old', 6, 3, 50, 60);
  nowMs = 100;
  expect(truth.goOnFrom('pg-r1', 1)).toEqual([
    'block 5 holds 0, acknowledged when it left was 1',
    'block 5 holds 0, flushed when it left was 1',
  ]);
});

test('what was acknowledged since it left is gone, and nothing of it may come back', () => {
  write('old', 6, 2, 30, 40);
  held.set(6, 2);
  truth.left('pg-r1');
  write('old', 6, 3, 50, 60);
  nowMs = 100;
  expect(truth.goOnFrom('pg-r1', 1)).toEqual([]);
  truth.granted(2, ['pg-r1']);
  read('new', 6, 2, 200);
  expect(broken()).toEqual([]);
  read('new', 6, 3, 300);
  expect(broken()).toEqual(['from-nowhere']);
});

test('what the old client still writes to the replica counts until it is closed to it, and then stays', () => {
  write('old', 6, 2, 30, 40);
  held.set(6, 2);
  nowMs = 100;
  truth.goOnFrom('pg-r1', 1);
  history.push({ kind: 'write', client: 'old', block: 6, value: 3, invokedMs: 110 });
  held.set(6, 3);
  nowMs = 150;
  truth.granted(2, ['pg-r1']);
  read('new', 6, 3, 200);
  expect(broken()).toEqual([]);
  read('new', 6, 2, 300);
  expect(broken()).toEqual(['from-nowhere']);
});

// Found by the simulation: of two sides that had gone on apart the person chose the one that had not been started from.
test('what was forgiven comes back when a person goes on from the replica that has it', () => {
  write('old', 6, 2, 30, 40);
  held.set(6, 2);
  truth.unrecorded.add('pg-r0');
  // pg-r0 is not there: it holds nothing.
  truth.startFrom(['pg-r0']);
  nowMs = 100;
  truth.goOnFrom('pg-r1', 1);
  truth.granted(2, ['pg-r1']);
  read('new', 6, 2, 200);
  expect(broken()).toEqual([]);
});
