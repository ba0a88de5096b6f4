import { describe, expect, test } from '@jest/globals';
import { findCondition, logicalVolumeName, replicaNqn, type VolumeReplica } from '../../lib/api/index.ts';
import { KubeError } from '../../lib/kube/client.ts';
import { cacheVolumes } from '../volumes.ts';
import { FakeNode, HOST_A, HOST_B, REPLICA_UID, replicatedVolume, volumeReplica } from '../testing/world.ts';
import { createReplicaLoop } from './reconcile.ts';

const LV = `hf-main/${logicalVolumeName(REPLICA_UID)}`;
const MIB = 1024 * 1024;

const CREATING = replicatedVolume({ replicas: [{ name: 'v-r0', storageNode: 's1', pool: 'main', role: 'Member' }] });
const IN_SYNC = replicatedVolume({
  replicas: [{ name: 'v-r0', storageNode: 's1', pool: 'main', role: 'Member' }],
  inSync: ['v-r0'],
});
const WITHOUT_US = replicatedVolume({
  replicas: [{ name: 'v-r1', storageNode: 's2', pool: 'main', role: 'Member' }],
  inSync: ['v-r1'],
});

function nqnOf(node: FakeNode): string {
  return replicaNqn(REPLICA_UID, node.bootId);
}

function newNode(debugfs = true): FakeNode {
  const node = new FakeNode({ debugfs }).withPool();
  node.replica = volumeReplica();
  node.volume = CREATING;
  return node;
}

/** A replica that is exported to host A at epoch 1, with A connected and some data written. */
async function attachedNode(debugfs = true): Promise<FakeNode> {
  const node = newNode(debugfs);
  await node.run();
  node.volume = IN_SYNC;
  update(node, { hostNqn: HOST_A, epoch: 1 });
  await node.run();
  if (!node.target.connect(nqnOf(node), HOST_A)) throw new Error('host A was refused');
  lv(node).mappedBytes = 8 * MIB;
  return node;
}

function newThickNode(): Promise<FakeNode> {
  const node = newNode();
  update(node, { provisioning: 'Thick', hostNqn: HOST_A, epoch: 1 });
  return Promise.resolve(node);
}

/** A replica that is ready and has just been granted to host A. */
async function granted(): Promise<FakeNode> {
  const node = newNode();
  await node.run();
  update(node, { hostNqn: HOST_A, epoch: 1 });
  return node;
}

/** A replica that has just been taken from host A. */
async function withdrawn(): Promise<FakeNode> {
  const node = await attachedNode();
  update(node, { hostNqn: '', epoch: 2 });
  return node;
}

/** A replica that was used and has left its volume. */
async function orphaned(volume: FakeNode['volume']): Promise<FakeNode> {
  const node = await attachedNode();
  update(node, { state: 'Orphan' });
  remove(node);
  node.volume = volume;
  return node;
}

function update(node: FakeNode, spec: Partial<VolumeReplica['spec']>): void {
  if (node.replica === undefined) throw new Error('no replica');
  node.replica = { ...node.replica, spec: { ...node.replica.spec, ...spec } };
}

function remove(node: FakeNode): void {
  if (node.replica === undefined) throw new Error('no replica');
  node.replica.metadata.deletionTimestamp = '2026-01-01T00:00:00Z';
}

function lv(node: FakeNode): { mappedBytes: number; sizeBytes: number; tags: string[] } {
  const found = node.storage.lvs.get(LV);
  if (found === undefined) throw new Error(`no ${LV}`);
  return found;
}

describe('a new replica', () => {
  test('gets its volume, is exported to nobody, and reports where it will be', async () => {
    const node = newNode();
    await node.run();
    expect(lv(node)).toMatchObject({
      sizeBytes: 68 * MIB,
      tags: [
        'holdfast',
        `hf.volume=${node.replica?.spec.volumeUid}`,
        `hf.replica=${REPLICA_UID}`,
        'hf.volume-name=v',
        'hf.name=v-r0',
        `hf.size=${64 * MIB}`,
        'hf.lineage=1',
      ],
    });
    expect(node.replica?.status).toMatchObject({
      phase: 'Ready',
      nqn: nqnOf(node),
      address: '10.0.0.1',
      port: 4420,
      fencedEpoch: 0,
      bootId: node.bootId,
    });
    expect(node.target.connect(nqnOf(node), HOST_A)).toBe(false);
  });

  test('survives being killed at every effect', async () => {
    const count = await FakeNode.killEverywhere(
      () => Promise.resolve(newNode()),
      (node) => {
        expect(node.storage.lvs.size).toBe(2);
        expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 0 });
      },
    );
    expect(count).toBe(2);
  });

  test('a thick one is allocated whole before anybody may use it', async () => {
    await FakeNode.killEverywhere(newThickNode, (node) => {
      expect(lv(node).mappedBytes).toBe(68 * MIB);
      expect(lv(node).tags).toContain(`hf.allocated=${68 * MIB}`);
      expect(node.target.connect(nqnOf(node), HOST_A)).toBe(true);
    });
  });

  test.each(['Thin', 'Thick'] as const)('a %s one grows with its object, without leaving its host', async (kind) => {
    const make = async (): Promise<FakeNode> => {
      const node = kind === 'Thin' ? await attachedNode() : await newThickNode();
      await node.run();
      node.target.connect(nqnOf(node), HOST_A);
      expect(node.replica?.status?.sizeBytes).toBe(64 * MIB);
      // What it says is what anybody rests on: never before the volume has it.
      node.onStatus = ({ sizeBytes }) => {
        if (sizeBytes !== 128 * MIB) return;
        expect(lv(node).sizeBytes).toBe(132 * MIB);
        if (kind === 'Thick') expect(lv(node).mappedBytes).toBe(132 * MIB);
      };
      update(node, { sizeBytes: 128 * MIB });
      return node;
    };
    const effects = await FakeNode.killEverywhere(make, (node) => {
      expect(node.replica?.status).toMatchObject({ phase: 'Ready', sizeBytes: 128 * MIB });
      expect(lv(node).tags).toContain(`hf.size=${128 * MIB}`);
      expect(node.target.controllers.get(nqnOf(node))).toEqual(new Set([HOST_A]));
    });
    expect(effects).toBeGreaterThanOrEqual(4);
  });

  // Given an API server that was restored from a time before the volume had grown, then the disk goes on knowing its size.
  test('keeps its size when its object has forgotten it', async () => {
    const node = await attachedNode();
    update(node, { sizeBytes: 128 * MIB });
    await node.run();
    update(node, { sizeBytes: 64 * MIB });
    await node.run();
    expect(lv(node)).toMatchObject({ sizeBytes: 132 * MIB, tags: expect.arrayContaining([`hf.size=${128 * MIB}`]) });
  });
});

describe('an export', () => {
  test('lets only its own host in', async () => {
    const node = await attachedNode();
    expect(node.target.connect(nqnOf(node), HOST_B)).toBe(false);
    expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 1 });
  });

  test('is not disturbed when the agent starts again', async () => {
    const node = await attachedNode();
    node.killer.arm(Number.POSITIVE_INFINITY, 'before');
    await node.run();
    expect(node.killer.effects.filter((effect) => effect !== 'write status')).toEqual([]);
    expect(node.target.controllers.get(nqnOf(node))).toEqual(new Set([HOST_A]));
  });

  test('comes about however often the agent is killed', async () => {
    const count = await FakeNode.killEverywhere(granted, (node) => {
      expect(node.target.connect(nqnOf(node), HOST_A)).toBe(true);
      expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 1, address: '10.0.0.1' });
    });
    expect(count).toBeGreaterThan(14);
  });

  test('is rebuilt after a reboot under a new name', async () => {
    const node = await attachedNode();
    const before = nqnOf(node);
    node.reboot();
    await node.run();
    expect(nqnOf(node)).not.toBe(before);
    expect(node.replica?.status).toMatchObject({ nqn: nqnOf(node), bootId: node.bootId, fencedEpoch: 1 });
    expect(node.target.connect(nqnOf(node), HOST_A)).toBe(true);
    expect(node.target.connect(before, HOST_A)).toBe(false);
  });

  test('is not rebuilt from a stale cache', async () => {
    const node = await attachedNode();
    node.reboot();
    const stale = structuredClone(node.replica);
    update(node, { hostNqn: HOST_B, epoch: 2 });
    const ports = node.ports();
    const { lvm, volumes } = cacheVolumes(ports.lvm, () => ports.now());
    const loop = createReplicaLoop({ ...ports, lvm, api: { ...ports.api, cachedReplica: () => stale } }, volumes);
    await loop.reconcile('v-r0');
    expect(node.target.connect(nqnOf(node), HOST_A)).toBe(false);
    expect(node.target.connect(nqnOf(node), HOST_B)).toBe(false);
  });
});

describe('fencing', () => {
  test.each([true, false])('reports the epoch only when the former host is gone (debugfs: %s)', async (debugfs) => {
    const make = async (): Promise<FakeNode> => {
      const node = await attachedNode(debugfs);
      node.onStatus = (status) => {
        if (status.fencedEpoch !== 2) return;
        const nqn = nqnOf(node);
        expect(node.target.controllers.get(nqn) ?? new Set()).not.toContain(HOST_A);
        if (debugfs) expect(node.target.leaving.has(nqn)).toBe(false);
        expect(node.target.connect(nqn, HOST_A)).toBe(false);
        // What is reported stands: the new host can come in at once.
        expect(node.target.connect(nqn, HOST_B)).toBe(true);
      };
      update(node, { hostNqn: HOST_B, epoch: 2 });
      return node;
    };
    await FakeNode.killEverywhere(make, (node) => {
      expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 2 });
    });
  });

  test('to nobody leaves no export at all', async () => {
    await FakeNode.killEverywhere(withdrawn, (node) => {
      expect(node.target.connect(nqnOf(node), HOST_A)).toBe(false);
      expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 2 });
      expect(node.target.open.get('/dev/dm-1')).toBe(0);
    });
  });

  test('a controller that does not go is named and the epoch is not reported', async () => {
    const node = await attachedNode();
    node.drainAfterSleeps = Number.POSITIVE_INFINITY;
    update(node, { hostNqn: HOST_B, epoch: 2 });
    await expect(node.run()).rejects.toThrow(/HF309/);
    expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 1 });
    expect(node.replica?.status?.message).toMatch(/^HF309: /);
    expect(node.target.connect(nqnOf(node), HOST_B)).toBe(false);
    node.drainAfterSleeps = 0;
    await node.run();
    expect(node.replica?.status).toMatchObject({ fencedEpoch: 2 });
  });
});

describe('an orphan', () => {
  test.each([
    ['gone', undefined],
    ['without it', WITHOUT_US],
    ['another of the same name', { ...IN_SYNC, metadata: { name: 'v', uid: 'other' } }],
  ])('whose record is %s is unexported, erased, removed and let go, wherever the agent dies', async (_, volume) => {
    const count = await FakeNode.killEverywhere(
      () => orphaned(volume),
      (node) => {
        expect(node.storage.lvs.has(LV)).toBe(false);
        expect(node.replica).toBeUndefined();
        expect(node.target.controllers.size).toBe(0);
      },
    );
    expect(count).toBeGreaterThan(8);
  });

  test('where nothing can be discarded is overwritten', async () => {
    const node = await orphaned(undefined);
    node.storage.takesDiscards = false;
    await node.run();
    expect(node.storage.zeroed.size).toBeGreaterThan(0);
    expect(node.replica).toBeUndefined();
  });

  test.each([
    ['names it in sync', IN_SYNC, /in sync/],
    ['still names it', CREATING, /still names it \(Member\)/],
    ['is blank', replicatedVolume(undefined), /names no replicas at all/],
  ])('whose record %s is left alone', async (_, volume, message) => {
    const node = await orphaned(volume);
    const loop = node.start();
    await loop.reconcile('v-r0');
    // It is let go a moment later, as a rule: nothing is told yet.
    expect(node.replica?.status?.phase).toBe('Ready');
    node.nowMs += 3_000;
    await loop.reconcile('v-r0');
    expect(lv(node).mappedBytes).toBe(8 * MIB);
    expect(node.target.controllers.get(nqnOf(node))).toEqual(new Set([HOST_A]));
    expect(node.replica?.status?.message).toMatch(/^HF311: /);
    expect(node.replica?.status?.message).toMatch(message);
  });

  test('that was not deleted is left alone', async () => {
    const node = await orphaned(undefined);
    delete node.replica?.metadata.deletionTimestamp;
    await node.run();
    expect(lv(node).mappedBytes).toBe(8 * MIB);
  });

  test('whose pool is away is kept until the pool is back', async () => {
    const node = await orphaned(undefined);
    const pool = node.storage.lvs.get('hf-main/holdfast-pool');
    node.storage.lvs.delete('hf-main/holdfast-pool');
    await node.run();
    expect(node.replica?.status?.message).toMatch(/^HF304: can't be erased now/);
    node.storage.lvs.set('hf-main/holdfast-pool', pool!);
    await node.run();
    expect(node.replica).toBeUndefined();
  });
});

describe('an API server that is away', () => {
  test('leaves every export as it is, and nothing new is exported', async () => {
    const node = await attachedNode();
    const away = new KubeError(0, '', 'no answer');
    const ports = node.ports();
    const { lvm, volumes } = cacheVolumes(ports.lvm, () => ports.now());
    const api = { ...ports.api, readReplica: () => Promise.reject(away), readVolume: () => Promise.reject(away) };
    const loop = createReplicaLoop({ ...ports, lvm, api }, volumes);
    await loop.reconcile('v-r0');
    update(node, { hostNqn: HOST_B, epoch: 2 });
    await expect(loop.reconcile('v-r0')).rejects.toThrow('no answer');
    expect(node.target.controllers.get(nqnOf(node))).toEqual(new Set([HOST_A]));
    expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 1 });
    expect(node.replica?.status?.message).not.toMatch(/HF300/);
  });
});

describe('requests to the API server', () => {
  test('to make a replica: its record and its object as they are now, and one status', async () => {
    const node = newNode();
    await node.run();
    expect(node.requests).toEqual(['read volume', 'read replica', 'write status']);
  });

  test('to erase one: its record as it is now, and its end', async () => {
    const node = newNode();
    await node.run();
    node.requests.length = 0;
    update(node, { state: 'Orphan' });
    await node.run();
    expect(node.requests).toEqual([]);
    remove(node);
    node.volume = undefined;
    await node.run();
    expect(node.replica).toBeUndefined();
    expect(node.requests).toEqual(['read volume', 'release']);
  });

  test('the record is read anew before an erasure, whatever was done first', async () => {
    const node = await orphaned(undefined);
    node.requests.length = 0;
    // Given back by a restored API server while the export is being removed.
    node.target.controllers.clear();
    const remove = node.killer.effect.bind(node.killer);
    node.killer.effect = async (label, effect) => {
      const result = await remove(label, effect);
      node.volume = IN_SYNC;
      return result;
    };
    await node.run();
    expect(lv(node).mappedBytes).toBe(8 * MIB);
    expect(node.requests).toEqual(['read volume', 'read replica', 'read volume']);
  });
});

describe('what must never happen', () => {
  test('a replica that was deleted by hand but is still used keeps its data and its host', async () => {
    const node = await attachedNode();
    remove(node);
    await node.run();
    expect(node.target.controllers.get(nqnOf(node))).toEqual(new Set([HOST_A]));
    expect(node.replica?.status?.message).toMatch(/^HF310: it was deleted but is still a replica of volume v/);
  });

  test('an empty volume takes the place of one that was lost', async () => {
    const node = await attachedNode();
    node.reboot();
    node.storage.lvs.delete(LV);
    await node.run();
    expect(node.storage.lvs.has(LV)).toBe(false);
    expect(node.replica?.status).toMatchObject({ phase: 'Failed' });
    expect(node.replica?.status?.message).toMatch(/^HF307: /);
  });

  test('whoever waits for data that is gone is not told so', async () => {
    const node = await attachedNode();
    const dataPresent = () => findCondition(node.replica?.status?.conditions, 'DataPresent')?.status;
    expect(dataPresent()).toBeUndefined();
    const data = lv(node);
    node.reboot();
    node.storage.lvs.delete(LV);
    await node.run();
    expect(dataPresent()).toBe('False');
    node.storage.lvs.set(LV, data as never);
    await node.run();
    expect(node.replica?.status?.phase).toBe('Ready');
    expect(dataPresent()).toBe('True');
  });

  // Given an API server that was restored from a backup, when the replica's object is made anew, then its data is still there
  // under the object that was forgotten.
  test('an empty volume beside one of the same replica under a lost object', async () => {
    const node = newNode();
    await node.run();
    const data = lv(node);
    const lost = { ...structuredClone(data), name: 'hf-lost' };
    lost.tags = lost.tags.map((tag) => (tag.startsWith('hf.replica=') ? 'hf.replica=lost' : tag));
    node.storage.lvs.delete(LV);
    node.storage.lvs.set('hf-main/hf-lost', lost as never);
    node.replica = volumeReplica();
    await node.run();
    expect(node.storage.lvs.has(LV)).toBe(false);
    expect(node.replica.status).toMatchObject({ phase: 'Failed' });
    expect(node.replica.status?.message).toMatch(
      /^HF315: hf-main\/hf-lost holds v-r0 of this volume under another UID/,
    );
    // One that has been erased holds nothing.
    lost.tags.push('hf.erased');
    await node.run();
    expect(node.storage.lvs.has(LV)).toBe(true);
  });

  test('an empty volume takes the place of one whose status was lost, while the record counts on it', async () => {
    const node = newNode();
    node.volume = IN_SYNC;
    await node.run();
    expect(node.storage.lvs.has(LV)).toBe(false);
    expect(node.replica?.status?.message).toMatch(/^HF307: /);
  });

  test('a volume with the right name and somebody else as owner is used', async () => {
    const node = newNode();
    await node.run();
    lv(node).tags.splice(0, 3, 'precious');
    await node.run();
    expect(node.replica?.status).toMatchObject({ phase: 'Failed' });
    expect(node.replica?.status?.message).toMatch(/^HF308: /);
  });
});
