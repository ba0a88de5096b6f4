import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { verify, type Run } from '../history/log.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { capability, TARGET } from './csi.ts';
import { startSystem, storageReady, type System } from './system.ts';
import { look, watchUntil } from './watch.ts';
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

  /** Waits until neither users nor an array of the volume are on a client. */
  const nothingLeftOn = async (vm: Vm): Promise<void> => {
    const script =
      'cat /sys/block/md_hf_*/md/array_state 2>/dev/null; pgrep -f "[w]riter.mjs"; grep md_hf_ /proc/mounts';
    const left = async (): Promise<string> => (await vm.exec(script, { check: false })).stdout.trim();
    const deadline = performance.now() + 60_000;
    while ((await left()) !== '' && performance.now() < deadline) await pause(500);
    expect(await left()).toBe('');
  };
  const epoch = async (): Promise<number> => (await look(system, VOLUME)).volume.status?.attachment?.epoch ?? 0;
  /** Detached without a word to the client, and attached elsewhere: what Kubernetes does to a node it has given up. */
  const force = async (from: Vm, to: Vm): Promise<void> => {
    const before = await epoch();
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: VOLUME, nodeId: from.name }, 90_000);
    await stageOn(system, VOLUME, to);
    expect(await epoch()).toBeGreaterThan(before);
  };
  /** What the last writer on a client has done. */
  const lastRun = async (vm: Vm): Promise<Run[]> => (await runsOf(vm)).slice(-1);

  afterAll(async () => {
    await system.stop();
    await lab.stop();
  });

  test('its volume opens elsewhere with every acknowledged write', async () => {
    await lab.faults.cutLink(old);
    await force(old, next);
    expect(verify(await runsOf(old), await dump(next, WRITER.file))).toMatchObject({ lost: [], torn: [] });
    await startWriter(next, WRITER);
    await waitForAck(next, (acks) => acks[19]);
  });

  test('coming back, it acknowledges nothing, kills the users of the volume and takes its array away', async () => {
    const acked = (await acksOf(old)).length;
    await lab.faults.restoreLink(old);
    await nothingLeftOn(old);
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

  // Given a client that lives and uses the volume, when it is taken away without asking, then nothing is torn from its users.
  test('a forced detach from a client that is well waits for its users, says so, and they go on', async () => {
    await startWriter(old, WRITER);
    await waitForAck(old, (acks) => acks[9]);
    const before = await epoch();
    const detach = system.csi(
      'controller',
      'ControllerUnpublishVolume',
      { volumeId: VOLUME, nodeId: old.name },
      90_000,
    );
    const message = await watchUntil(system, VOLUME, 'it says what it waits for', 30_000, ({ volume }) => {
      const told = volume.status?.message ?? '';
      return /waits until c1 .*unmount/.test(told) && told;
    });
    expect(message).toContain(TARGET);
    const from = Date.now();
    await waitForAck(old, (acks) => acks.find(({ endMs }) => endMs > from + 5000));
    expect(await epoch()).toBe(before);
    await lab.faults.killProgram(old, 'writer.mjs', 'TERM');
    await pause(1000);
    await unstageFrom(system, VOLUME, old);
    await detach;
    expect((await look(system, VOLUME)).volume.status?.attachment).toMatchObject({ node: '', clean: true });
  });

  // Given an agent that is silent while its kernel and its writer go on, then the storage nodes alone must keep it out.
  test('a client that is only slow: nothing is acknowledged after its epoch is gone', async () => {
    await stageOn(system, VOLUME, old);
    await startWriter(old, WRITER);
    await waitForAck(old, (acks) => acks[9]);
    await lab.faults.killProgram(old, '[c]si-driver.mjs', 'STOP');
    await force(old, next);
    const acked = (await acksOf(old)).length;
    expect(verify(await lastRun(old), await dump(next, WRITER.file))).toMatchObject({ lost: [], torn: [] });
    await startWriter(next, WRITER);
    await waitForAck(next, (acks) => acks[9]);
    expect((await acksOf(old)).length).toBe(acked);
    await lab.faults.killProgram(old, '[c]si-driver.mjs', 'CONT');
    await nothingLeftOn(old);
    expect((await acksOf(old)).length).toBe(acked);
  });

  // Given a machine that stood still for a while, when it goes on, then it sends what it was about to: to nobody.
  test('a client that stood still and goes on changes nothing that the next one has', async () => {
    await next.pause();
    await force(next, old);
    const held = await dump(old, WRITER.file);
    await next.unpause();
    await nothingLeftOn(next);
    // What it had been told before it stopped may be noted only now: it must be among what was found.
    expect(verify(await lastRun(next), held)).toMatchObject({ lost: [], torn: [] });
    await old.exec('echo 3 > /proc/sys/vm/drop_caches');
    expect(await dump(old, WRITER.file)).toEqual(held);
  });
});
