import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { verify } from '../history/log.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { capability, TARGET } from './csi.ts';
import { startSystem, storageReady, type System } from './system.ts';
import { look } from './watch.ts';
import { acksOf, dump, pause, runsOf, stageOn, startWriter, unstageFrom, waitForAck } from './workload.ts';

jest.setTimeout(5 * 60_000);

const VOLUME = 'mv';
const WRITER = { file: `${TARGET}/ledger`, blocks: 512 };

/** Given a client that is cut off but alive, when its volume moves on, then the old client never writes again. */
describe('a client that is cut off while its volume moves', () => {
  let lab: Lab;
  let system: System;
  let old: Vm;
  let next: Vm;

  beforeAll(async () => {
    lab = await startLab({ appDir: 'dist', storage: 3 });
    system = await startSystem(lab);
    old = lab.vm('c1');
    next = lab.vm('c2');
    await storageReady(system);
    await system.csi('controller', 'CreateVolume', {
      name: VOLUME,
      capacityRange: { requiredBytes: String(64 * 1024 * 1024) },
      volumeCapabilities: [capability('ext4')],
      parameters: { replicas: '2', placement: 'distinct(zone)', legTimeout: '3s', replicaTimeout: '10m' },
    });
    await stageOn(system, VOLUME, old);
    await startWriter(old, WRITER);
    await waitForAck(old, (acks) => acks[19]);
  });

  afterAll(async () => {
    await system.stop();
    await lab.stop();
  });

  test('its volume opens elsewhere with every acknowledged write', async () => {
    const before = (await look(system, VOLUME)).volume.status?.attachment?.epoch ?? 0;
    await lab.faults.cutLink(old);
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: VOLUME, nodeId: old.name }, 90_000);
    await stageOn(system, VOLUME, next);
    expect((await look(system, VOLUME)).volume.status?.attachment?.epoch).toBeGreaterThan(before);
    expect(verify(await runsOf(old), await dump(next, WRITER.file))).toMatchObject({ lost: [], torn: [] });
    await startWriter(next, WRITER);
    await waitForAck(next, (acks) => acks[19]);
  });

  test('coming back, it acknowledges nothing, kills the users of the volume and takes its array away', async () => {
    const acked = (await acksOf(old)).length;
    await lab.faults.restoreLink(old);
    const deadline = performance.now() + 60_000;
    const left = async (): Promise<string> =>
      (
        await old.exec(
          'cat /sys/block/md_hf_*/md/array_state 2>/dev/null; pgrep -f "[w]riter.mjs"; grep md_hf_ /proc/mounts',
          { check: false },
        )
      ).stdout.trim();
    while ((await left()) !== '' && performance.now() < deadline) await pause(500);
    expect(await left()).toBe('');
    expect((await acksOf(old)).length).toBe(acked);
  });

  test('the new client wrote all the time, and the volume can go back', async () => {
    const count = (await acksOf(next)).length;
    await waitForAck(next, (acks) => acks[count + 10]);
    await lab.faults.killProgram(next, 'writer.mjs', 'TERM');
    await pause(1000);
    const runs = await runsOf(next);
    await unstageFrom(system, VOLUME, next);
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: VOLUME, nodeId: next.name }, 90_000);
    expect((await look(system, VOLUME)).volume.status?.attachment?.clean).toBe(true);
    await system.csi(old, 'NodeUnpublishVolume', { volumeId: VOLUME, targetPath: TARGET });
    await stageOn(system, VOLUME, old);
    expect(verify(runs, await dump(old, WRITER.file))).toMatchObject({ lost: [], torn: [] });
  });
});
