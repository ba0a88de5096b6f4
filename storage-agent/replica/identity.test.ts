import { describe, expect, test } from '@jest/globals';
import { findCondition, logicalVolumeName, replicaNqn, type VolumeReplica } from '../../lib/api/index.ts';
import { encodeLegHeader, type LegHeader } from '../../lib/host/leg-header.ts';
import { cacheVolumes } from '../volumes.ts';
import {
  FakeNode,
  HOST_A,
  HOST_B,
  REPLICA_UID,
  replicatedVolume,
  VOLUME_UID,
  volumeReplica,
} from '../testing/world.ts';
import { contradiction, epochChange, identityOf, labelTags } from './identity.ts';
import { replicaFacts } from './observe.ts';
import { createReplicaLoop } from './reconcile.ts';

const LV = logicalVolumeName(REPLICA_UID);
const HEADER: LegHeader = {
  volume: 'v',
  volumeUid: VOLUME_UID,
  replica: 'v-r0',
  replicaUid: REPLICA_UID,
  lineage: 1,
  epoch: 1,
  generation: 3,
  inSync: ['v-r0'],
};

function record(generation: number, inSync: readonly string[]): FakeNode['volume'] {
  return replicatedVolume({
    replicas: [{ name: 'v-r0', storageNode: 's1', pool: 'main', role: 'Member' }],
    inSync: [...inSync],
    recordGeneration: generation,
    attachment: { node: '', hostNqn: '', epoch: 1, clean: true },
  });
}

function update(node: FakeNode, spec: Partial<VolumeReplica['spec']>): void {
  if (node.replica === undefined) throw new Error('no replica');
  node.replica = { ...node.replica, spec: { ...node.replica.spec, ...spec } };
}

/** A replica that was exported to host A under epoch 1, whose client left this header, and that nobody has now. */
async function used(header: LegHeader = HEADER): Promise<FakeNode> {
  const node = new FakeNode().withPool();
  node.replica = volumeReplica();
  node.volume = record(0, []);
  await node.run();
  update(node, { hostNqn: HOST_A, epoch: 1 });
  await node.run();
  node.storage.starts.set(LV, encodeLegHeader(header, 0));
  node.volume = record(3, ['v-r0']);
  update(node, { hostNqn: '', epoch: 2 });
  await node.run();
  return node;
}

function consistent(node: FakeNode): [string | undefined, string | undefined] {
  const found = findCondition(node.replica?.status?.conditions, 'Consistent');
  return [found?.status, found?.message];
}

describe('the tags of a logical volume', () => {
  test('name the last export before it stands, wherever the agent dies', async () => {
    const make = async (): Promise<FakeNode> => {
      const node = await used();
      const link = node.target.link.bind(node.target);
      node.target.link = (target, at) => {
        const tags = node.storage.lvs.get(`hf-main/${LV}`)?.tags ?? [];
        if (at.includes('/ports/')) expect(identityOf(tags)).toMatchObject({ epoch: 3, host: HOST_B });
        return link(target, at);
      };
      update(node, { hostNqn: HOST_B, epoch: 3 });
      return node;
    };
    await FakeNode.killEverywhere(make, (node) => {
      expect(node.replica?.status).toMatchObject({
        fencedEpoch: 3,
        disk: { lineage: 1, epoch: 3, host: HOST_B },
      });
      expect(consistent(node)[0]).toBe('True');
    });
  });

  test('are brought up to date on a volume of before', async () => {
    const node = await used();
    const volume = node.storage.lvs.get(`hf-main/${LV}`)!;
    volume.tags = volume.tags.slice(0, 3);
    update(node, { lineage: 2, hostNqn: HOST_B, epoch: 3 });
    await node.run();
    expect(identityOf(volume.tags)).toMatchObject({ volume: 'v', replica: 'v-r0', lineage: 2, epoch: 3, host: HOST_B });
  });

  test('after a crash between two of them the higher one counts', () => {
    expect(identityOf(['hf.epoch=2:nqn.a', 'hf.epoch=11:nqn.b', 'hf.lineage=1', 'hf.lineage=3'])).toMatchObject({
      epoch: 11,
      host: 'nqn.b',
      lineage: 3,
    });
  });

  test.each([
    ['an earlier epoch', { epoch: 2 }, 'epoch 3'],
    ['an earlier lineage', { lineage: 1 }, 'lineage 2'],
    ['another host', { hostNqn: HOST_B }, `${HOST_A} had it`],
    ['the same', {}, undefined],
    ['later ones', { epoch: 4, lineage: 3, hostNqn: '' }, undefined],
  ])('an object that says %s', (_what, spec, found) => {
    const replica = replicaFacts(volumeReplica({ epoch: 3, lineage: 2, hostNqn: HOST_A, ...spec }));
    const tags = [`hf.epoch=3:${HOST_A}`, 'hf.lineage=2'];
    const why = contradiction(replica, identityOf(tags));
    if (found === undefined) expect(why).toBeUndefined();
    else expect(why).toContain(found);
    expect(epochChange(replica, { tags } as never) === undefined).toBe(
      Object.keys(spec).every((key) => key === 'lineage'),
    );
  });
});

describe('an API server that was restored from an old backup', () => {
  test('does not get the replica exported: an earlier epoch', async () => {
    const node = await used();
    const old = structuredClone(node.replica);
    update(node, { hostNqn: HOST_A, epoch: 7 });
    await node.run();
    node.reboot();
    node.replica = old;
    update(node, { hostNqn: HOST_B, epoch: 3 });
    await node.run();
    expect(node.target.connect(replicaNqn(REPLICA_UID, node.bootId), HOST_B)).toBe(false);
    expect(node.replica?.status).toMatchObject({ phase: 'Failed', fencedEpoch: 2, disk: { epoch: 7, host: HOST_A } });
    // For whoever has to decide which record was the last one.
    expect(node.replica?.status?.disk?.record).toMatchObject({ generation: 3, inSync: ['v-r0'] });
    expect(consistent(node)).toEqual(['False', expect.stringMatching(/^HF315: .*epoch 3, the disk knows epoch 7/)]);
  });

  test('leaves a client that has the replica alone', async () => {
    const node = await used();
    update(node, { hostNqn: HOST_A, epoch: 7 });
    await node.run();
    const nqn = replicaNqn(REPLICA_UID, node.bootId);
    expect(node.target.connect(nqn, HOST_A)).toBe(true);
    update(node, { hostNqn: HOST_B, epoch: 3 });
    await node.run();
    expect(node.target.controllers.get(nqn)).toEqual(new Set([HOST_A]));
    expect(consistent(node)).toEqual(['False', expect.stringContaining('epoch 7 is exported')]);
  });

  test.each([
    ['a record from before a leg was dropped in the same epoch', 2, ['v-r0', 'v-r1'], 'record 2'],
    ['a record that went another way', 3, ['v-r1'], 'in sync: v-r1'],
  ])('does not get the replica exported: %s', async (_what, generation, inSync, found) => {
    const node = await used();
    node.volume = record(generation, inSync);
    update(node, { hostNqn: HOST_B, epoch: 3 });
    await node.run();
    expect(node.target.connect(replicaNqn(REPLICA_UID, node.bootId), HOST_B)).toBe(false);
    expect(node.replica?.status).toMatchObject({ fencedEpoch: 2, disk: { record: { generation: 3 } } });
    expect(consistent(node)).toEqual(['False', expect.stringContaining(found)]);
    expect(consistent(node)[1]).toContain('the disk knows lineage 1, epoch 1, record 3 (in sync: v-r0)');

    node.volume = record(4, ['v-r0']);
    await node.run();
    expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 3 });
    expect(consistent(node)[0]).toBe('True');
  });

  test('without the volume at all gets nothing exported', async () => {
    const node = await used();
    node.volume = undefined;
    update(node, { hostNqn: HOST_B, epoch: 3 });
    await node.run();
    expect(consistent(node)).toEqual(['False', expect.stringContaining('record 0 (in sync: nobody)')]);
  });

  test('a cache that is behind is no old backup', async () => {
    const node = await used();
    update(node, { hostNqn: HOST_A, epoch: 7 });
    await node.run();
    node.reboot();
    const stale = structuredClone(node.replica!);
    stale.spec.epoch = 6;
    const ports = node.ports();
    const { lvm, volumes } = cacheVolumes(ports.lvm, () => ports.now());
    const loop = createReplicaLoop({ ...ports, lvm, api: { ...ports.api, cachedReplica: () => stale } }, volumes);
    await loop.reconcile('v-r0');
    expect(consistent(node)[0]).toBe('True');
  });
});

describe('the header of a leg', () => {
  test('of another replica is not taken for ours', async () => {
    const node = await used({ ...HEADER, replicaUid: 'other', replica: 'w-r0' });
    update(node, { hostNqn: HOST_B, epoch: 3 });
    await node.run();
    expect(node.replica?.status?.message).toMatch(/^HF308: .*that of replica w-r0/);
  });

  test('that can not be read is told, and nothing is exported', async () => {
    const node = await used();
    node.storage.starts.set(LV, Buffer.alloc(8192, 7));
    update(node, { hostNqn: HOST_B, epoch: 3 });
    await node.run();
    expect(node.replica?.status?.message).toMatch(/^HF316: /);
    expect(node.target.connect(replicaNqn(REPLICA_UID, node.bootId), HOST_B)).toBe(false);
  });
});

describe('a replica whose object was lost', () => {
  const NEW_UID = '99999999-2222-4333-8444-555555555555';
  const NEW_VOLUME = 'ffffffff-bbbb-4ccc-8ddd-eeeeeeeeeeee';

  /** The old object is gone while its host was connected; a new one is to take the logical volume over. */
  async function lost(adopt = { replicaUid: REPLICA_UID, volumeUid: VOLUME_UID }): Promise<FakeNode> {
    const node = await used();
    update(node, { hostNqn: HOST_A, epoch: 3 });
    await node.run();
    if (!node.target.connect(replicaNqn(REPLICA_UID, node.bootId), HOST_A)) throw new Error('host A was refused');
    const object = volumeReplica({ volumeUid: NEW_VOLUME, adopt, epoch: 4, hostNqn: '' });
    node.replica = { ...object, metadata: { ...object.metadata, uid: NEW_UID } };
    const volume = record(4, ['v-r0'])!;
    node.volume = { ...volume, metadata: { ...volume.metadata, uid: NEW_VOLUME } };
    return node;
  }

  test('is taken over with its data, its former host is cut off, wherever the agent dies', async () => {
    const count = await FakeNode.killEverywhere(lost, (node) => {
      expect([...node.storage.lvs.keys()]).toEqual(['hf-main/holdfast-pool', `hf-main/${logicalVolumeName(NEW_UID)}`]);
      const tags = node.storage.lvs.get(`hf-main/${logicalVolumeName(NEW_UID)}`)?.tags ?? [];
      expect(identityOf(tags)).toMatchObject({ replicaUid: NEW_UID, volumeUid: NEW_VOLUME, epoch: 3 });
      expect(tags.filter((tag) => tag.includes(REPLICA_UID) || tag.includes(VOLUME_UID))).toEqual([]);
      expect(node.target.connect(replicaNqn(REPLICA_UID, node.bootId), HOST_A)).toBe(false);
      expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 4 });
    });
    expect(count).toBeGreaterThan(5);
  });

  test('is never replaced by an empty volume', async () => {
    const node = await lost({ replicaUid: 'elsewhere', volumeUid: VOLUME_UID });
    await node.run();
    expect(node.replica?.status).toMatchObject({ phase: 'Failed' });
    expect(node.replica?.status?.message).toMatch(/^HF317: /);
    expect(node.storage.lvs.has(`hf-main/${logicalVolumeName(NEW_UID)}`)).toBe(false);
  });

  test('is not taken over when it belongs to another volume', async () => {
    const node = await lost({ replicaUid: REPLICA_UID, volumeUid: 'other' });
    await node.run();
    expect(node.storage.lvs.has(`hf-main/${LV}`)).toBe(true);
  });
});

test('what was made from a copy of a snapshot says so, also when its object is lost', () => {
  const facts = { ...replicaFacts(volumeReplica()), copyUid: 'copy-1' };
  expect(identityOf(labelTags(facts)).beganWithCopy).toBe(true);
  expect(identityOf(labelTags({ ...facts, copyUid: undefined })).beganWithCopy).toBe(false);
});
