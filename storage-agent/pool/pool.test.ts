import { describe, expect, test } from '@jest/globals';
import { findCondition, type StorageNode } from '../../lib/api/index.ts';
import { Killed } from '../testing/crash.ts';
import { encodeLegHeader } from '../../lib/host/leg-header.ts';
import { FakeNode, REPLICA_UID, storageNode, volumeReplica } from '../testing/world.ts';
import { cacheVolumes } from '../volumes.ts';
import { poolGeometry } from './geometry.ts';
import { createNodeLoop } from './reconcile.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** One run of a freshly started agent's loop over its node. */
async function run(node: FakeNode): Promise<void> {
  const real = node.ports();
  const { lvm, volumes } = cacheVolumes(real.lvm, () => real.now());
  const options = { agentVersion: '1', onPoolsChanged: () => undefined };
  await createNodeLoop({ ...real, lvm }, volumes, options).reconcile();
}

function ready(node: FakeNode): { status: string; message: string; reason: string } | undefined {
  return findCondition(node.nodeStatus?.conditions, 'Ready');
}

function withPools(node: FakeNode, pools: StorageNode['spec']['pools']): FakeNode {
  const object = storageNode();
  node.node = { ...object, spec: { ...object.spec, pools } };
  return node;
}

/** A node with a volume group that somebody else has made. */
function existing(totalExtents: number): FakeNode {
  const node = withPools(new FakeNode(), [{ name: 'main', volumeGroup: 'data' }]);
  node.storage.vgs.set('data', { tags: [], totalExtents });
  return node;
}

describe('a pool of empty disks', () => {
  test('is made and reported', async () => {
    const node = new FakeNode();
    await run(node);
    expect(ready(node)).toMatchObject({ status: 'True', message: 'pool "main" can be used' });
    expect(node.storage.vgs.get('hf-main')?.tags).toEqual(['holdfast', 'hf.pool=main']);
    expect(node.nodeStatus).toMatchObject({
      bootId: node.bootId,
      agentVersion: '1',
      pools: [{ name: 'main', capacityBytes: 250 * 4 * MIB, usedBytes: 0, provisionedBytes: 0 }],
      summary: { capacity: '1000Mi', used: '0', provisioned: '0' },
    });
  });

  test('is finished by the next run wherever the first was killed', async () => {
    for (let index = 0; index < 3; index++) {
      for (const when of ['before', 'after'] as const) {
        const node = new FakeNode();
        node.killer.arm(index, when);
        await run(node).catch((error: unknown) => {
          if (!(error instanceof Killed)) throw error;
        });
        node.killer.disarm();
        await run(node);
        expect(ready(node)).toMatchObject({ status: 'True' });
        expect(node.storage.lvs.size).toBe(1);
      }
    }
  });

  test('is made over a label that a crash in vgcreate has left', async () => {
    const node = new FakeNode();
    node.storage.disks.set('/dev/vdb', { state: 'occupied', found: ['LVM2_member signature at 0x218'] });
    node.storage.labels.set('/dev/vdb', { group: '', inUse: false });
    await run(node);
    expect(ready(node)).toMatchObject({ status: 'True' });
  });

  // As lvcreate of LVM 2.03.16 left it when it was killed after 100 to 250 ms.
  test.each([
    ['lvol0', [] as string[]],
    ['holdfast-pool', ['holdfast']],
  ])('is made anew over the %s that a crash in lvcreate has left in its own group', async (name, tags) => {
    const node = new FakeNode().withPool();
    node.storage.lvs.clear();
    const half = { group: 'hf-main', name, sizeBytes: 8 * MIB, pool: '', tags };
    node.storage.lvs.set(`hf-main/${name}`, { ...half, layout: ['linear'], devNo: '253:1', mappedBytes: 0 });
    await run(node);
    expect(ready(node)).toMatchObject({ status: 'True' });
    expect([...node.storage.lvs.values()]).toMatchObject([{ name: 'holdfast-pool', layout: ['thin', 'pool'] }]);
  });

  test('is not written again while nothing changes', async () => {
    const node = new FakeNode();
    await run(node);
    node.node = { ...storageNode(), status: node.nodeStatus! };
    node.nowMs += 60_000;
    node.killer.arm(Number.POSITIVE_INFINITY, 'before');
    await run(node);
    expect(node.killer.effects).toEqual([]);
  });
});

describe('a disk is refused', () => {
  test('when it holds data, with what was found, and nothing is written', async () => {
    const node = new FakeNode();
    node.storage.disks.set('/dev/vdb', { state: 'occupied', found: ['ext4 signature at 0x438 "precious"'] });
    node.killer.arm(Number.POSITIVE_INFINITY, 'before');
    await run(node);
    expect(ready(node)).toMatchObject({ status: 'False', reason: 'DiskHoldsData' });
    expect(ready(node)?.message).toMatch(
      /^HF301: pool "main": \/dev\/vdb holds data: ext4 signature at 0x438 "precious"; /,
    );
    expect(node.killer.effects).toEqual(['write node status']);
  });

  test('when one of several holds data, the others stay untouched too', async () => {
    const node = withPools(new FakeNode(), [{ name: 'main', devices: ['/dev/vdb', '/dev/vdc'] }]);
    node.storage.disks.set('/dev/vdc', { state: 'occupied', found: ['partitions vdc1'] });
    await run(node);
    expect(ready(node)?.message).toMatch(/\/dev\/vdc holds data: partitions vdc1/);
    expect(node.storage.vgs.size).toBe(0);
  });

  test('when it belongs to somebody else in LVM, or is claimed by a group that is not here', async () => {
    for (const label of [
      { group: 'theirs', inUse: true },
      { group: '', inUse: true },
    ]) {
      const node = new FakeNode();
      node.storage.disks.set('/dev/vdb', { state: 'occupied', found: ['LVM2_member signature at 0x218'] });
      node.storage.labels.set('/dev/vdb', label);
      await run(node);
      expect(ready(node)).toMatchObject({ status: 'False', reason: 'DiskHoldsData' });
      expect(node.storage.vgs.size).toBe(0);
    }
  });

  test('when it is missing', async () => {
    const node = withPools(new FakeNode(), [{ name: 'main', devices: ['/dev/nope'] }]);
    await run(node);
    expect(ready(node)?.message).toBe('HF302: pool "main": /dev/nope does not exist');
  });
});

describe('an existing volume group', () => {
  test('gets only a thin pool', async () => {
    const node = existing(256);
    await run(node);
    expect(ready(node)).toMatchObject({ status: 'True' });
    expect([...node.storage.lvs.keys()]).toEqual(['data/holdfast-pool']);
    expect(node.storage.vgs.get('data')?.tags).toEqual([]);
  });

  test('that is missing is named', async () => {
    const node = withPools(new FakeNode(), [{ name: 'main', volumeGroup: 'data' }]);
    await run(node);
    expect(ready(node)?.message).toMatch(/^HF303: pool "main": volume group "data" does not exist: create it/);
  });

  test('without room is refused', async () => {
    const node = existing(4);
    await run(node);
    expect(ready(node)?.message).toMatch(/has 16 MiB free, too little for a thin pool/);
  });

  test("with somebody else's volume of the pool's name is refused", async () => {
    const node = existing(256);
    const theirs = { group: 'data', name: 'holdfast-pool', sizeBytes: 8 * MIB, pool: '' };
    node.storage.lvs.set('data/holdfast-pool', {
      ...theirs,
      tags: [],
      layout: ['linear'],
      devNo: undefined,
      mappedBytes: 1,
    });
    await run(node);
    expect(ready(node)).toMatchObject({ status: 'False', reason: 'PoolForeign' });
    expect(node.storage.lvs.size).toBe(1);
  });
});

test('a group of the name of ours that we did not make is refused', async () => {
  const node = new FakeNode();
  node.storage.vgs.set('hf-main', { tags: ['theirs'], totalExtents: 256 });
  await run(node);
  expect(ready(node)).toMatchObject({ status: 'False', reason: 'VolumeGroupForeign' });
});

test('after a reboot the pool is activated', async () => {
  const node = new FakeNode().withPool();
  node.storage.lvs.get('hf-main/holdfast-pool')!.devNo = undefined;
  await run(node);
  expect(ready(node)).toMatchObject({ status: 'True' });
});

test('replicas on disk that the API does not know are named and kept', async () => {
  const node = new FakeNode().withPool();
  const lv = { group: 'hf-main', name: `hf-${REPLICA_UID}`, sizeBytes: 68 * MIB, pool: 'holdfast-pool' };
  const names = ['hf.volume-name=v', 'hf.name=v-r0', `hf.size=${64 * MIB}`, 'hf.lineage=2', 'hf.epoch=7:nqn.a'];
  const tags = ['holdfast', `hf.replica=${REPLICA_UID}`, 'hf.volume=vol', ...names];
  const record = { lineage: 2, epoch: 7, generation: 12, inSync: ['v-r0'] };
  const header = { volume: 'v', volumeUid: 'vol', replica: 'v-r0', replicaUid: REPLICA_UID, ...record };
  node.storage.starts.set(lv.name, encodeLegHeader(header, 0));
  node.storage.lvs.set(`hf-main/${lv.name}`, {
    ...lv,
    tags,
    layout: ['thin', 'sparse'],
    devNo: '253:9',
    mappedBytes: MIB,
  });
  await run(node);
  expect(findCondition(node.nodeStatus?.conditions, 'UnknownReplicas')).toMatchObject({
    status: 'True',
    message: `HF312: no VolumeReplica has the UID of hf-main/hf-${REPLICA_UID}; they are kept, and holdfast recover can take them up`,
  });
  expect(node.nodeStatus?.unknownReplicas).toEqual([
    {
      logicalVolume: `hf-main/${lv.name}`,
      pool: 'main',
      volume: 'v',
      volumeUid: 'vol',
      replica: 'v-r0',
      replicaUid: REPLICA_UID,
      sizeBytes: 64 * MIB,
      provisioning: 'Thin',
      lineage: 2,
      epoch: 7,
      host: 'nqn.a',
      record,
    },
  ]);
  expect(node.storage.lvs.size).toBe(2);
  node.replica = volumeReplica();
  await run(node);
  expect(findCondition(node.nodeStatus?.conditions, 'UnknownReplicas')).toMatchObject({ status: 'False' });
});

test.each([
  ['Thin', 0],
  ['Thick', 68 * MIB],
] as const)('a copy of a %s replica promises nothing, and reserves %d bytes of the pool', async (kind, reserved) => {
  const node = new FakeNode().withPool();
  const tags = ['holdfast', 'hf.copy=u', ...(kind === 'Thick' ? ['hf.copy-of-thick'] : [])];
  const lv = { group: 'hf-main', name: 'hf-snap-u', sizeBytes: 68 * MIB, pool: 'holdfast-pool', devNo: undefined };
  node.storage.lvs.set(`hf-main/${lv.name}`, { ...lv, tags, layout: ['thin', 'sparse'], mappedBytes: 0 });
  await run(node);
  expect(node.nodeStatus?.pools).toMatchObject([{ provisionedBytes: 0, usedBytes: reserved }]);
});

describe('geometry', () => {
  test.each([
    [2 * GIB, 64 * 1024],
    [100 * GIB, 64 * 1024],
    [8 * 1024 * GIB, 64 * 1024],
    [64 * 1024 * GIB, 512 * 1024],
  ])('of %d bytes leaves room for metadata twice and a reserve', (bytes, chunkBytes) => {
    const extents = bytes / (4 * MIB);
    const geometry = poolGeometry(extents, 4 * MIB);
    expect(geometry?.chunkBytes).toBe(chunkBytes);
    const metadataExtents = (geometry?.metadataBytes ?? 0) / (4 * MIB);
    expect((geometry?.dataExtents ?? 0) + 2 * metadataExtents).toBeLessThan(extents);
    expect((geometry?.dataExtents ?? 0) / extents).toBeGreaterThan(0.97);
    // 64 bytes a chunk at the very least.
    expect(geometry?.metadataBytes).toBeGreaterThanOrEqual((bytes / chunkBytes) * 63);
  });

  test('refuses what is too small', () => {
    expect(poolGeometry(5, 4 * MIB)).toBeUndefined();
  });
});
