import { expect, test } from '@jest/globals';
import { FakeNode, HOST_A, replicatedVolume, volumeReplica } from '../testing/world.ts';
import { cacheVolumes } from '../volumes.ts';
import { createReplicaLoop } from './reconcile.ts';

// A client waits for it: each report of LVM, and each look at the disk, is a process.
test('a replica is opened to a host with one look at its disk, and one report of LVM', async () => {
  const node = new FakeNode().withPool();
  node.replica = volumeReplica();
  node.volume = replicatedVolume({ replicas: [{ name: 'v-r0', storageNode: 's1', pool: 'main', role: 'Member' }] });
  await node.run();
  node.replica = volumeReplica({ hostNqn: HOST_A, epoch: 1 });
  const real = node.ports();
  const asked: string[] = [];
  const count =
    <Args extends unknown[], Result>(what: string, work: (...args: Args) => Result) =>
    (...args: Args): Result => {
      asked.push(what);
      return work(...args);
    };
  const { lvm, volumes } = cacheVolumes(
    Object.assign(Object.create(real.lvm) as typeof real.lvm, {
      volumes: count('report', () => real.lvm.volumes()),
      changeTags: count('tags', (...args: Parameters<typeof real.lvm.changeTags>) => real.lvm.changeTags(...args)),
    }),
    () => real.now(),
  );
  const disks = Object.assign(Object.create(real.disks) as typeof real.disks, {
    readStart: count('look', (device: string, length: number) => real.disks.readStart(device, length)),
  });
  await createReplicaLoop({ ...real, lvm, disks }, volumes).reconcile('v-r0');
  expect(asked).toEqual(['report', 'look', 'tags']);
  expect(node.replica?.status).toMatchObject({ fencedEpoch: 1, phase: 'Ready' });
});
