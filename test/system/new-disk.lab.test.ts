import { truncate } from 'node:fs/promises';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { verify } from '../history/log.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { capability, TARGET } from './csi.ts';
import { startSystem, storageReady, type System } from './system.ts';
import { watchUntil } from './watch.ts';
import { dump, pause, runsOf, stageOn, startWriter, waitForAck } from './workload.ts';

jest.setTimeout(5 * 60_000);

const VOLUME = 'nd';
const WRITER = { file: `${TARGET}/ledger`, blocks: 256 };

let lab: Lab;
let system: System;
let client: Vm;

beforeAll(async () => {
  lab = await startLab({ appDir: 'dist', clients: 1, storage: 2 });
  system = await startSystem(lab);
  client = lab.vm('c1');
  await storageReady(system);
  await system.csi('controller', 'CreateVolume', {
    name: VOLUME,
    capacityRange: { requiredBytes: String(64 * 1024 * 1024) },
    volumeCapabilities: [capability('ext4')],
    parameters: { replicas: '2', placement: 'distinct(zone)', legTimeout: '3s', replicaTimeout: '60m' },
  });
  await stageOn(system, VOLUME, client);
});

afterAll(async () => {
  await system.stop();
  await lab.stop();
});

// With as many storage nodes as replicas there is no other place, and replicaTimeout is far away: nothing may be waited for.
test('a storage node that comes back with an empty disk gets its replica anew', async () => {
  await startWriter(client, WRITER);
  await waitForAck(client, (acks) => acks[49]);
  const vm = lab.vm('s2');
  const lost = (await system.replicas.list()).items.find(({ spec }) => spec.storageNode === vm.name)?.metadata.name;
  await lab.faults.powerOff(vm);
  await watchUntil(system, VOLUME, 'the leg is dropped', 60_000, ({ inSync }) => inSync.length === 1);
  for (const { file, sizeBytes } of vm.dataDisks) {
    await truncate(file, 0);
    await truncate(file, sizeBytes);
  }
  await lab.faults.powerOn(vm);
  await system.startStorageAgent(vm);
  const found = await watchUntil(system, VOLUME, 'it heals', 120_000, ({ volume, inSync }) => {
    const members = volume.status?.replicas ?? [];
    return volume.status?.phase === 'Healthy' && inSync.length === 2 && members.length === 2 && members;
  });
  expect(found.map(({ storageNode }) => storageNode).toSorted()).toEqual(['s1', 's2']);
  expect(found.map(({ name }) => name)).not.toContain(lost);
  await lab.faults.killProgram(client, 'writer.mjs', 'TERM');
  await pause(1000);
  const verdict = verify(await runsOf(client), await dump(client, WRITER.file));
  expect(verdict).toMatchObject({ lost: [], torn: [] });
  expect(verdict.acknowledged).toBeGreaterThan(50);
  expect(await system.holdfast('check')).toMatchObject({ code: 0, text: expect.stringContaining('all is well') });
});
