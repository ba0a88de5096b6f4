import { describe, expect, test } from '@jest/globals';
import { copyVolumeName, logicalVolumeName } from '../../lib/api/index.ts';
import { encodeLegHeader } from '../../lib/host/leg-header.ts';
import { FakeNode, replicatedVolume, REPLICA_UID, volumeReplica } from '../testing/world.ts';

const MIB = 1024 * 1024;
const COPY_UID = '99999999-2222-4333-8444-555555555555';
const COPY = copyVolumeName(COPY_UID);
const VOLUME = logicalVolumeName(REPLICA_UID);

/** A node with the copy of another volume's replica, header and all, and a replica that is to begin with it. */
function node({ sizeBytes = 64 * MIB, tags = [`hf.copy=${COPY_UID}`] } = {}): FakeNode {
  const made = new FakeNode().withPool();
  const shape = { group: 'hf-main', pool: 'holdfast-pool', layout: ['thin', 'sparse'], devNo: undefined };
  made.storage.lvs.set(`hf-main/${COPY}`, { ...shape, name: COPY, tags, sizeBytes: 68 * MIB, mappedBytes: 16 * MIB });
  const names = { volume: 'other', volumeUid: 'x', replica: 'other-r0', replicaUid: 'y' };
  const header = { ...names, lineage: 3, epoch: 9, generation: 12, inSync: ['other-r0'] };
  made.storage.starts.set(COPY, encodeLegHeader(header, 1));
  made.volume = replicatedVolume({ replicas: [{ name: 'v-r0', storageNode: 's1', pool: 'main', role: 'Member' }] });
  made.replica = volumeReplica({ sizeBytes, source: { copyUid: COPY_UID } });
  return made;
}

describe('a replica that begins with a snapshot', () => {
  test('has its content, and nothing of what the other volume had in front of it', async () => {
    const world = node({ sizeBytes: 128 * MIB });
    await world.run();
    expect(world.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 0 });
    const volume = world.storage.lvs.get(`hf-main/${VOLUME}`);
    expect(volume?.mappedBytes).toBe(16 * MIB);
    expect(volume?.sizeBytes).toBe(132 * MIB);
    expect(volume?.tags).not.toContain('hf.foreign-header');
    expect(world.storage.starts.has(VOLUME)).toBe(false);
    expect(world.storage.starts.has(COPY)).toBe(true);
    // It can be handed out: its header is that of nobody.
    world.replica = {
      ...world.replica,
      ...volumeReplica({ sizeBytes: 128 * MIB, source: { copyUid: COPY_UID }, hostNqn: 'c', epoch: 1 }),
      status: world.replica?.status ?? {},
    };
    await world.run();
    expect(world.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 1 });
  });

  test.each([
    ['is not there', (world: FakeNode) => world.storage.lvs.delete(`hf-main/${COPY}`)],
    ['was erased', (world: FakeNode) => world.storage.lvs.get(`hf-main/${COPY}`)?.tags.push('hf.erased')],
  ])('never begins empty when the copy %s', async (_, spoil) => {
    const world = node();
    spoil(world);
    await world.run();
    expect(world.replica?.status).toMatchObject({ phase: 'Failed', message: expect.stringContaining('HF319') });
    expect(world.storage.lvs.has(`hf-main/${VOLUME}`)).toBe(false);
  });

  // Given an agent that is killed before or after any effect, when it runs again, then the end is the same.
  test('is right whatever the agent was doing when it was killed', async () => {
    const count = await FakeNode.killEverywhere(
      () => Promise.resolve(node()),
      (world) => {
        expect(world.replica?.status).toMatchObject({ phase: 'Ready' });
        expect(world.storage.starts.has(VOLUME)).toBe(false);
        expect(world.storage.lvs.get(`hf-main/${VOLUME}`)?.mappedBytes).toBe(16 * MIB);
      },
    );
    expect(count).toBeGreaterThan(4);
  });
});
