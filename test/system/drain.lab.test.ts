import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { verify } from '../history/log.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { capability, TARGET } from './csi.ts';
import { startSystem, storageReady, type System } from './system.ts';
import { look, watchUntil, type View } from './watch.ts';
import { acksOf, dump, pause, runsOf, stageOn, startWriter, unstageFrom, waitForAck } from './workload.ts';

jest.setTimeout(5 * 60_000);

const VOLUME = 'dr';
const SIZE_MIB = 64;
const WRITER = { file: `${TARGET}/ledger`, blocks: 256 };
const LEG_TIMEOUT_MS = 3000;
/** How long the link is whole again while the old I/O is still stuck. */
const STUCK_MS = 15_000;

/**
 * Given writes that reached a storage node and are stuck there, when their leg is dropped and its link is whole again, then
 * the leg joins only after they have ended: they would land on top of what was written since.
 */
describe('I/O that is stuck on a storage node', () => {
  let lab: Lab;
  let system: System;
  let client: Vm;
  let replica: string;
  let vm: Vm;

  const legOf = ({ connection }: View) => connection?.status?.legs?.find((leg) => leg.replica === replica);
  const healthy = (): Promise<boolean> =>
    watchUntil(system, VOLUME, 'both legs are in sync', 90_000, ({ inSync, connection }) => {
      const legs = connection?.status?.legs ?? [];
      return inSync.length === 2 && legs.length === 2 && legs.every(({ state }) => state === 'InSync');
    });
  /** A command for the volume's thin device on a storage VM, which is the only one there. */
  const thin = async (on: Vm, command: string): Promise<string> => {
    const device = '"$(dmsetup ls --target thin | cut -f1)"';
    return (await on.exec(command.replace('DEVICE', device), { timeoutMs: 60_000 })).stdout.trim();
  };
  /** `live` for each of the client's controllers of the leg that is. */
  const controllers = async (): Promise<string> => {
    const uid = (await system.replicas.get(replica))?.metadata.uid ?? 'no replica';
    const script = `for c in /sys/class/nvme/nvme*; do grep -q ${uid} $c/subsysnqn && cat $c/state; done; true`;
    return (await client.exec(script)).stdout.trim();
  };

  /** A machine that was just booted takes a while to start its programs. */
  const nodeServiceAnswers = async (): Promise<void> => {
    const deadline = performance.now() + 60_000;
    for (;;) {
      const answers = await system.csi(client, 'NodeGetInfo', {}).then(
        () => true,
        () => false,
      );
      if (answers) return;
      if (performance.now() > deadline) throw new Error(await system.guestLog(client));
      await pause(500);
    }
  };

  beforeAll(async () => {
    lab = await startLab({ appDir: 'dist', clients: 1, storage: 2 });
    system = await startSystem(lab);
    client = lab.vm('c1');
    await storageReady(system);
    await system.csi('controller', 'CreateVolume', {
      name: VOLUME,
      capacityRange: { requiredBytes: String(SIZE_MIB * 1024 * 1024) },
      volumeCapabilities: [capability('ext4')],
      parameters: { replicas: '2', placement: 'distinct(zone)', legTimeout: '3s', replicaTimeout: '10m' },
    });
    await stageOn(system, VOLUME, client);
    await startWriter(client, WRITER);
    await waitForAck(client, (acks) => acks[9]);
    await healthy();
    const last = (await look(system, VOLUME)).volume.status?.replicas?.at(-1);
    if (!last) throw new Error('no replica');
    replica = last.name;
    vm = lab.vm(last.storageNode);
  });

  afterAll(async () => {
    await system.stop();
    await lab.stop();
  });

  test('keeps its leg out until it has ended', async () => {
    await thin(vm, 'dmsetup suspend --noflush --nolockfs DEVICE');
    await pause(1000);
    await lab.faults.cutLink(vm);
    await watchUntil(system, VOLUME, 'the leg is dropped', 60_000, (view) => !view.inSync.includes(replica));
    const before = (await acksOf(client)).length;
    await waitForAck(client, (acks) => acks[before + 20]);
    await lab.faults.restoreLink(vm);
    const until = performance.now() + STUCK_MS;
    const seen = new Set<string>();
    while (performance.now() < until) {
      const leg = legOf(await look(system, VOLUME));
      const connected = await controllers();
      seen.add(`${leg?.state ?? 'no leg'}${connected === '' ? '' : `, controller ${connected}`}`);
      await pause(500);
    }
    expect([...seen].filter((what) => /Syncing|InSync|live/.test(what))).toEqual([]);
    const leg = legOf(await look(system, VOLUME));
    expect(leg?.message).toMatch('earlier I/O');
    expect((await system.replicas.get(replica))?.status?.drained ?? 0).toBeLessThan(leg?.drain ?? 0);
  });

  test('lets it join by bitmap once it has ended', async () => {
    const resumedAt = Date.now();
    await thin(vm, 'dmsetup resume DEVICE');
    await healthy();
    const { connection } = await look(system, VOLUME);
    const drained = connection?.spec.legs.find((leg) => leg.replica === replica)?.drained ?? 0;
    expect(drained).toBeGreaterThan(0);
    expect(connection?.status?.lastSync).toMatchObject({ replica, kind: 'Bitmap' });
    expect(Date.parse(connection?.status?.lastSync?.startedAt ?? '')).toBeGreaterThan(resumedAt);
  });

  test('a short absence costs about a second more than the link was away', async () => {
    await lab.faults.cutLink(vm);
    await watchUntil(system, VOLUME, 'the leg is dropped', 60_000, (view) => !view.inSync.includes(replica));
    await pause(LEG_TIMEOUT_MS);
    const mendedAt = Date.now();
    await lab.faults.restoreLink(vm);
    await healthy();
    const sync = (await look(system, VOLUME)).connection?.status?.lastSync;
    const waitedMs = Date.parse(sync?.startedAt ?? '') - mendedAt;
    console.log(`the leg joined ${waitedMs} ms after its link was mended`);
    // The storage agent's own way back to the API server is part of it, and a busy machine.
    expect(waitedMs).toBeLessThan(20_000);
  });

  test('a client that was booted again starts after what it sent before has ended', async () => {
    await lab.faults.killProgram(client, 'writer.mjs', 'TERM');
    await pause(1000);
    const { volume } = await look(system, VOLUME);
    const runs = await runsOf(client);
    await client.powerOff();
    await client.powerOn();
    await system.startClientAgent(client);
    await nodeServiceAnswers();
    await stageOn(system, VOLUME, client);
    const view = await look(system, VOLUME);
    expect(view.volume.status?.attachment?.epoch).toBe(volume.status?.attachment?.epoch);
    const legs = view.connection?.status?.legs ?? [];
    expect(legs.every(({ drain = 0 }) => drain > 0)).toBe(true);
    expect(view.connection?.spec.legs.every(({ drained = 0 }) => drained > 0)).toBe(true);
    const verdict = verify(runs, await dump(client, WRITER.file));
    expect(verdict).toMatchObject({ lost: [], torn: [] });
    expect(verdict.acknowledged).toBeGreaterThan(50);
  });

  test('after a detach in order the replicas are the same, bit for bit', async () => {
    await healthy();
    await unstageFrom(system, VOLUME, client);
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: VOLUME, nodeId: client.name }, 90_000);
    expect((await look(system, VOLUME)).volume.status?.attachment?.clean).toBe(true);
    const sums = await Promise.all(
      lab.storage.map((each) =>
        thin(each, `dd if=/dev/mapper/DEVICE bs=1M skip=4 count=${SIZE_MIB} iflag=direct status=none | sha256sum`),
      ),
    );
    expect(sums).toHaveLength(2);
    expect(sums[0]).toMatch(/^[0-9a-f]{64}/);
    expect(sums[0]).toBe(sums[1]);
  });
});
