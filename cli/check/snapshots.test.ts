import { expect, test } from '@jest/globals';
import { copyVolumeName, type ReplicatedSnapshot, type SnapshotReplica } from '../../lib/api/index.ts';
import type { NodeFacts } from './node.ts';
import type { Objects } from './objects.ts';
import { checkCopiesHere, checkSnapshots } from './snapshots.ts';

const snapshot = {
  metadata: { name: 'snap', uid: 'u' },
  spec: { volume: 'v' },
  status: {
    phase: 'Ready',
    copies: [{ name: 'snap.v-r0.1', uid: 'c0', replica: 'v-r0', storageNode: 's1', pool: 'p' }],
  },
} as ReplicatedSnapshot;
const copy = {
  metadata: { name: 'snap.v-r0.1', uid: 'c0' },
  spec: { snapshot: 'snap', snapshotUid: 'u', storageNode: 's1' },
  status: { phase: 'Taken' },
} as unknown as SnapshotReplica;
const objects = {
  snapshots: [snapshot],
  copies: [copy],
  nodes: [{ metadata: { name: 's1' } }],
} as unknown as Objects;
const whats = (found: readonly { readonly what: string }[]): string[] => found.map(({ what }) => what);

test('where all is well nothing is found', () => {
  expect(checkSnapshots(objects)).toEqual([]);
});

test.each<[string, Partial<Objects>, string]>([
  ['a copy without its snapshot', { snapshots: [] }, 'waits to be erased: nothing heard yet'],
  ['a snapshot without its copies', { copies: [] }, 'all of its copies are lost: that of v-r0 on s1'],
  [
    'one that is not taken yet',
    { snapshots: [{ ...snapshot, status: { phase: 'Taking', message: 'x' } }] },
    'of v is not taken yet: x',
  ],
  ['a node that is not there', { nodes: [] }, 'its storage node s1 is not there'],
])('%s is told', (_, changes, what) => {
  expect(whats(checkSnapshots({ ...objects, ...changes }))).toContain(what);
});

test('what a storage node has is compared, both ways', () => {
  const volume = (uid: string) => ({ group: 'g', name: copyVolumeName(uid), tags: [`hf.copy=${uid}`] });
  const facts = (...uids: string[]) => ({ node: 's1', logicalVolumes: uids.map(volume) }) as unknown as NodeFacts;
  expect(checkCopiesHere(facts('c0'), objects)).toEqual([]);
  expect(whats(checkCopiesHere(facts('c0', 'c9'), objects))).toEqual([
    'the logical volume g/hf-snap-c9 has no SnapshotReplica',
  ]);
  expect(whats(checkCopiesHere(facts(), objects))).toEqual(['its logical volume hf-snap-c0 is not on s1']);
});
