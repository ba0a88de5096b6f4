import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { verify } from '../history/log.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { capability, TARGET } from './csi.ts';
import { backUp, restore } from './etcd-backup.ts';
import { startSystem, storageReady, type System } from './system.ts';
import { look, watchUntil } from './watch.ts';
import { acksOf, dump, pause, runsOf, stageOn, startWriter, waitForAck } from './workload.ts';

jest.setTimeout(6 * 60_000);

const VOLUME = 'rv';
const WRITER = { file: `${TARGET}/ledger`, blocks: 512 };

let lab: Lab;
let system: System;
let c1: Vm;
let c2: Vm;

beforeAll(async () => {
  lab = await startLab({ appDir: 'dist', storage: 2 });
  system = await startSystem(lab);
  c1 = lab.vm('c1');
  c2 = lab.vm('c2');
  await storageReady(system);
  await system.csi('controller', 'CreateVolume', {
    name: VOLUME,
    capacityRange: { requiredBytes: String(32 * 1024 * 1024) },
    volumeCapabilities: [capability('ext4')],
    parameters: { replicas: '2', placement: 'distinct(zone)', legTimeout: '3s', replicaTimeout: '60m' },
  });
  await stageOn(system, VOLUME, c1);
});

afterAll(async () => {
  await system.stop();
  await lab.stop();
});

async function vmOf(replica: string): Promise<Vm> {
  return lab.vm((await system.replicas.get(replica))?.spec.storageNode ?? '');
}

async function powerOnStorage(vm: Vm): Promise<void> {
  await lab.faults.powerOn(vm);
  await system.startStorageAgent(vm);
}

async function powerOnClient(vm: Vm): Promise<void> {
  await lab.faults.powerOn(vm);
  await system.startClientAgent(vm);
}

async function writesMore(vm: Vm, more: number): Promise<void> {
  const count = (await acksOf(vm)).length;
  await waitForAck(vm, (acks) => acks[count + more]);
}

const untilInSync = (names: readonly string[]): Promise<unknown> =>
  watchUntil(system, VOLUME, `in sync: ${names.join(', ')}`, 120_000, ({ inSync }) => {
    return inSync.length === names.length && names.every((name) => inSync.includes(name));
  });

/** Detaches the volume from a client that is dead, and asks for it elsewhere. The answer may take as long as it likes. */
async function moveTo(next: Vm, from: Vm): Promise<void> {
  await system.volumes.patch(VOLUME, { spec: { attachTo: '' } });
  await watchUntil(system, VOLUME, `${from.name} is fenced or can't be`, 60_000, ({ volume }) => {
    const { attachment, message = '' } = volume.status ?? {};
    return attachment?.node === '' || /no in-sync replica can be reached|HF200/.test(message);
  });
  await system.volumes.patch(VOLUME, { spec: { attachTo: next.name } });
}

describe('an API server that is restored from a backup', () => {
  test('from before a leg was dropped does not roll the volume back', async () => {
    await startWriter(c1, WRITER);
    await waitForAck(c1, (acks) => acks[19]);
    const { inSync } = (await look(system, VOLUME)).volume.status ?? {};
    expect(inSync).toEqual(['rv-r0', 'rv-r1']);
    const backup = await backUp(lab.controlPlane.etcdUrl);

    const dropped = await vmOf('rv-r1');
    await lab.faults.powerOff(dropped);
    await untilInSync(['rv-r0']);
    await writesMore(c1, 30);
    await lab.faults.powerOff(c1);

    await lab.faults.stopApiServer();
    await restore(lab.controlPlane.etcdUrl, backup);
    await lab.faults.startApiServer();
    await powerOnStorage(dropped);
    expect((await look(system, VOLUME)).inSync).toEqual(['rv-r0', 'rv-r1']);

    await moveTo(c2, c1);
    const message = await watchUntil(system, VOLUME, 'the volume stops', 60_000, ({ volume }) => {
      const { phase, message: told = '' } = volume.status ?? {};
      return phase === 'Waiting' && told.startsWith('HF200') && told;
    });
    expect(message).toMatch(
      /rv-r0 on s\d: HF315: the API server has .*in sync: rv-r0, rv-r1.*the disk knows .*in sync: rv-r0\)/,
    );
    await pause(5_000);
    expect((await look(system, VOLUME)).volume.status?.attachment?.node).toBe('');
    expect(await system.holdfast('check')).toMatchObject({ code: 1, text: expect.stringContaining('HF315') });
  });

  test('holdfast recover brings the record back, and every acknowledged write is there', async () => {
    expect((await system.holdfast('recover')).text).toContain('record: in sync rv-r0;');
    expect((await look(system, VOLUME)).inSync).toEqual(['rv-r0', 'rv-r1']);
    expect(await system.holdfast('recover', '--apply')).toMatchObject({
      code: 0,
      text: expect.stringContaining('rv: recovered'),
    });
    await stageOn(system, VOLUME, c2);
    expect(verify(await runsOf(c1), await dump(c2, WRITER.file))).toMatchObject({ lost: [], torn: [] });
    await untilInSync(['rv-r0', 'rv-r1']);
    await startWriter(c2, WRITER);
    await waitForAck(c2, (acks) => acks[9]);
  });
});

describe('holdfast check on a machine', () => {
  const checkOn = async (vm: Vm): Promise<{ code: number; text: string }> => {
    const kubeconfig = '/root/admin.kubeconfig';
    await vm.writeFile(kubeconfig, await readFile(lab.controlPlane.kubeconfigPath, 'utf8'), 0o600);
    const command = `node /opt/holdfast/holdfast.mjs check --node ${vm.name} --kubeconfig ${kubeconfig}`;
    const { code, stdout, stderr } = await vm.exec(command, { check: false });
    return { code, text: `${stdout}${stderr}` };
  };

  test('tells of a client that was cut off and has not cleaned up yet', async () => {
    const waits = 'waits for c1 to let go';
    expect(await checkOn(c2)).toEqual({ code: 3, text: expect.stringContaining(waits) });
    await powerOnClient(c1);
    const isLeft = async (): Promise<boolean> => (await checkOn(c2)).text.includes(waits);
    for (let tries = 0; tries < 20 && (await isLeft()); tries++) await pause(1000);
    expect(await isLeft()).toBe(false);
  });

  test('finds nothing where all is well', async () => {
    for (const vm of [c2, await vmOf('rv-r0'), await vmOf('rv-r1')]) {
      expect(await checkOn(vm)).toEqual({ code: 0, text: expect.stringContaining('all is well') });
    }
  });

  test('finds what is left over, on a client and on a storage node', async () => {
    await c2.exec('ln -s /dev/null /dev/holdfast/stray');
    expect(await checkOn(c2)).toEqual({ code: 3, text: expect.stringContaining('/dev/holdfast/stray') });
    await c2.exec('rm /dev/holdfast/stray');
    const storage = await vmOf('rv-r0');
    const nqn = 'nqn.2026-01.dev.holdfast:replica:99999999-0000-4000-8000-000000000000:aaaaaaaa';
    await storage.exec(`mkdir /sys/kernel/config/nvmet/subsystems/${nqn}`);
    expect(await checkOn(storage)).toEqual({ code: 1, text: expect.stringContaining(nqn) });
    await storage.exec(`rmdir /sys/kernel/config/nvmet/subsystems/${nqn}`);
  });
});

describe('when only a replica that lacks writes can be reached', () => {
  test('the volume waits and says for which replica', async () => {
    const [newer, older] = [await vmOf('rv-r0'), await vmOf('rv-r1')];
    await lab.faults.powerOff(older);
    await untilInSync(['rv-r0']);
    await writesMore(c2, 10);
    await lab.faults.powerOff(c2);
    await lab.faults.powerOff(newer);
    await powerOnStorage(older);
    await moveTo(c1, c2);
    const message = await watchUntil(system, VOLUME, 'the volume waits', 60_000, ({ volume }) => {
      const { phase, message: told = '' } = volume.status ?? {};
      return phase === 'Waiting' && told.includes('answers, but lacks') && told;
    });
    expect(message).toMatch(
      /waits for rv-r0 on s\d: no in-sync replica can be reached.*rv-r1 on s\d answers, but lacks what was written since/,
    );
  });

  test('force-start needs the acceptance, and goes on from it', async () => {
    const refused = await system.holdfast('volume', 'force-start', VOLUME, '--replica', 'rv-r1');
    expect(refused).toMatchObject({ code: 1, text: expect.stringContaining('HF601') });
    const done = await system.holdfast('volume', 'force-start', VOLUME, '--replica', 'rv-r1', '--accept-data-loss');
    expect(done).toMatchObject({ code: 0 });
    await watchUntil(system, VOLUME, 'lineage 2', 60_000, ({ volume }) => volume.status?.lineage === 2);
    await stageOn(system, VOLUME, c1);
    expect((await look(system, VOLUME)).inSync).toEqual(['rv-r1']);
  });

  test('the old replica returns by a full copy and can not undo it', async () => {
    const before = await dump(c1, WRITER.file);
    await powerOnStorage(await vmOf('rv-r0'));
    await untilInSync(['rv-r0', 'rv-r1']);
    expect(await dump(c1, WRITER.file)).toEqual(before);
    const { connection } = await look(system, VOLUME);
    expect(connection?.status?.lastSync).toMatchObject({ replica: 'rv-r0', kind: 'Full' });
    await watchUntil(system, VOLUME, 'both disks know it', 60_000, async () => {
      const objects = await Promise.all(['rv-r0', 'rv-r1'].map((name) => system.replicas.get(name)));
      return objects.every((object) => object?.status?.disk?.lineage === 2);
    });
    // What the old leg had is gone: alone, it is what the volume is now.
    await lab.faults.powerOff(await vmOf('rv-r1'));
    await untilInSync(['rv-r0']);
    await c1.exec('echo 3 > /proc/sys/vm/drop_caches');
    expect(await dump(c1, WRITER.file)).toEqual(before);
  });
});
