import { describe, expect, test } from '@jest/globals';
import { markOfModel, replicaModel, replicaNqn, type VolumeReplica } from '../../lib/api/index.ts';
import { cacheVolumes } from '../volumes.ts';
import { FakeNode, HOST_A, REPLICA_UID, replicatedVolume, volumeReplica } from '../testing/world.ts';
import { createReplicaLoop } from './reconcile.ts';

const nqnOf = (node: FakeNode): string => replicaNqn(REPLICA_UID, node.bootId);

function update(node: FakeNode, spec: Partial<VolumeReplica['spec']>): void {
  if (node.replica === undefined) throw new Error('no replica');
  node.replica = { ...node.replica, spec: { ...node.replica.spec, ...spec } };
}

/** A replica that host A has, under epoch 1. */
async function attached(debugfs = true): Promise<FakeNode> {
  const node = new FakeNode({ debugfs }).withPool();
  node.replica = volumeReplica();
  const replicas = [{ name: 'v-r0', storageNode: 's1', pool: 'main', role: 'Member' as const }];
  node.volume = replicatedVolume({ replicas });
  await node.run();
  node.volume = replicatedVolume({ replicas, inSync: ['v-r0'] });
  update(node, { hostNqn: HOST_A, epoch: 1 });
  await node.run();
  if (!node.target.connect(nqnOf(node), HOST_A)) throw new Error('host A was refused');
  return node;
}

describe('a drain', () => {
  test.each([true, false])(
    'is reported only after every controller of before is gone (debugfs: %s)',
    async (debugfs) => {
      const make = async (): Promise<FakeNode> => {
        const node = await attached(debugfs);
        let isBack = false;
        node.onStatus = ({ drained = 0 }) => {
          // An agent that was killed in the middle of this write makes it again, with the host back already.
          if (drained !== 1 || isBack) return;
          const nqn = nqnOf(node);
          expect(node.target.controllers.get(nqn) ?? new Set()).not.toContain(HOST_A);
          if (debugfs) expect(node.target.leaving.has(nqn)).toBe(false);
          // What is reported stands: the same host can come in again at once.
          isBack = node.target.connect(nqn, HOST_A);
          expect(isBack).toBe(true);
        };
        update(node, { drain: 1 });
        return node;
      };
      await FakeNode.killEverywhere(make, (node) => {
        expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 1, drained: 1 });
      });
    },
  );

  test('that does not end is named, not reported, and the host stays out', async () => {
    const node = await attached();
    node.drainAfterSleeps = Number.POSITIVE_INFINITY;
    update(node, { drain: 3 });
    await expect(node.run()).rejects.toThrow(/HF309/);
    expect(node.replica?.status?.drained).toBeUndefined();
    expect(node.target.connect(nqnOf(node), HOST_A)).toBe(false);
    node.drainAfterSleeps = 0;
    await node.run();
    expect(node.replica?.status?.drained).toBe(3);
  });

  test('is done once: the agent that starts again leaves the export alone', async () => {
    const node = await attached();
    update(node, { drain: 1 });
    await node.run();
    expect(node.target.connect(nqnOf(node), HOST_A)).toBe(true);
    await node.run();
    expect(node.target.controllers.get(nqnOf(node))).toContain(HOST_A);
  });

  test('of before is not made again from a stale cache', async () => {
    const node = await attached();
    const stale = structuredClone(node.replica);
    update(node, { drain: 2 });
    await node.run();
    expect(node.target.connect(nqnOf(node), HOST_A)).toBe(true);
    const ports = node.ports();
    const { lvm, volumes } = cacheVolumes(ports.lvm, () => ports.now());
    const loop = createReplicaLoop({ ...ports, lvm, api: { ...ports.api, cachedReplica: () => stale } }, volumes);
    await loop.reconcile('v-r0');
    expect(node.target.controllers.get(nqnOf(node))).toContain(HOST_A);
    expect(node.replica?.status?.drained).toBe(2);
  });

  // Found by the simulation: an API server that was restored from a backup had forgotten the drain, and the volume stood still
  // for ever, although nobody has lost anything.
  test('that the API server has forgotten is made once more, and then under a number that was there before', async () => {
    const node = await attached();
    update(node, { drain: 2 });
    await node.run();
    expect(node.target.connect(nqnOf(node), HOST_A)).toBe(true);
    update(node, { drain: 0 });
    await node.run();
    expect(node.replica?.status).toMatchObject({ phase: 'Ready', fencedEpoch: 1 });
    expect(node.target.connect(nqnOf(node), HOST_A)).toBe(true);
    update(node, { drain: 2 });
    await node.run();
    expect(node.target.controllers.get(nqnOf(node)) ?? new Set()).not.toContain(HOST_A);
    expect(node.replica?.status?.drained).toBe(2);
  });

  test('is kept through the next epoch', async () => {
    const node = await attached();
    update(node, { drain: 2 });
    await node.run();
    update(node, { epoch: 2 });
    await node.run();
    expect(node.replica?.status).toMatchObject({ fencedEpoch: 2, drained: 2 });
  });
});

test('the model of an export says what it was made for; one of before there were drains is drain 0', () => {
  for (const mark of [
    { epoch: 7, drain: 0 },
    { epoch: 123_456, drain: 98_765 },
  ]) {
    expect(markOfModel(replicaModel(mark))).toEqual(mark);
    expect(replicaModel(mark).length).toBeLessThanOrEqual(40);
  }
  expect(replicaModel({ epoch: 7, drain: 0 })).toBe('Holdfast epoch 7');
  expect(markOfModel('Linux')).toBeUndefined();
});
