import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { devicePath } from '../../lib/api/names.ts';
import { longestStallMs, verify } from '../history/log.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { capability, CSI, TARGET } from './csi.ts';
import { startSystem, storageReady, type System } from './system.ts';
import { look, watchUntil, type View } from './watch.ts';
import { acksOf, dump, pause, runsOf, stageOn, startWriter, unstageFrom, waitForAck } from './workload.ts';

jest.setTimeout(12 * 60_000);

const VOLUME = 'ex';
const MIB = 1024 * 1024;
const WRITER = { file: `${TARGET}/ledger`, blocks: 1024 };
const EXPAND_MS = 120_000;
/** A stuck growth never ends; a machine with other labs on it takes half a minute for what hardware does in one second. */
const MOST_MS = 90_000;

/** A volume grows, with a writer on it, while what keeps it comes and goes. */
describe('a volume that is used', () => {
  let lab: Lab;
  let system: System;
  let client: Vm;

  const healthy = (): Promise<boolean> =>
    watchUntil(system, VOLUME, 'both legs are in sync', 300_000, ({ inSync, connection }) => {
      const legs = connection?.status?.legs ?? [];
      return inSync.length === 2 && legs.length === 2 && legs.every(({ state }) => state === 'InSync');
    });
  const out = async (vm: Vm, command: string): Promise<string> =>
    (await vm.exec(command, { timeoutMs: 60_000 })).stdout.trim();
  const range = (mib: number): object => ({ capacityRange: { requiredBytes: String(mib * MIB) } });
  /** Calls again until it is done, as the resizer and kubelet do. */
  const insist = async (call: () => Promise<Record<string, unknown>>, tries = 4): Promise<Record<string, unknown>> => {
    try {
      return await call();
    } catch (error) {
      if (tries === 1 || !/DEADLINE_EXCEEDED|UNAVAILABLE|ABORTED/.test(String(error))) throw error;
      return await insist(call, tries - 1);
    }
  };
  const grow = (mib: number): Promise<Record<string, unknown>> =>
    insist(() => system.csi('controller', 'ControllerExpandVolume', { volumeId: VOLUME, ...range(mib) }, EXPAND_MS));
  const growOnNode = (mib: number): Promise<Record<string, unknown>> =>
    insist(() =>
      system.csi(client, 'NodeExpandVolume', { volumeId: VOLUME, volumePath: TARGET, ...range(mib) }, EXPAND_MS),
    );
  const deviceBytes = async (): Promise<number> =>
    Number(await out(client, `blockdev --getsize64 ${devicePath(VOLUME)}`));
  /** What the filesystem offers, in MiB. */
  const filesystemMib = async (): Promise<number> =>
    Number(await out(client, `df -BM --output=size ${TARGET} | tail -1 | tr -d M`));
  const md = async (file: string): Promise<string> => await out(client, `cat /sys/block/md_hf_*/md/${file}`);
  /** md has compared what is new, and found nothing that differs. */
  const compared = (): Promise<boolean> =>
    watchUntil(system, VOLUME, 'what is new has been compared', 300_000, async () => {
      const [action, from] = [await md('sync_action'), await md('resync_start')];
      return action === 'idle' && from === 'none';
    });
  const second = async (): Promise<{ replica: string; vm: Vm }> => {
    const replica = (await look(system, VOLUME)).volume.status?.replicas?.at(-1);
    if (!replica) throw new Error('no replica');
    return { replica: replica.name, vm: lab.vm(replica.storageNode) };
  };
  const sizes = async (): Promise<(number | undefined)[]> =>
    (await system.replicas.list()).items
      .filter(({ spec }) => spec.volume === VOLUME)
      .map(({ status }) => status?.sizeBytes);

  beforeAll(async () => {
    lab = await startLab({ appDir: 'dist', clients: 1, storage: 2 });
    system = await startSystem(lab);
    client = lab.vm('c1');
    await storageReady(system);
    await system.csi('controller', 'CreateVolume', {
      name: VOLUME,
      ...range(64),
      volumeCapabilities: [capability('ext4')],
      parameters: { replicas: '2', placement: 'distinct(zone)', legTimeout: '3s', replicaTimeout: '10m' },
    });
    await stageOn(system, VOLUME, client);
    await startWriter(client, WRITER);
    await waitForAck(client, (acks) => acks[9]);
    await healthy();
  });

  afterAll(async () => {
    await system.stop();
    await lab.stop();
  });

  test('grows from its replicas to its filesystem, and nobody waits for it', async () => {
    const startedMs = Date.now();
    await expect(grow(192)).resolves.toMatchObject({ capacityBytes: String(192 * MIB), nodeExpansionRequired: true });
    const grownMs = Date.now();
    await expect(growOnNode(192)).resolves.toMatchObject({ capacityBytes: String(192 * MIB) });
    const doneMs = Date.now();
    expect(await deviceBytes()).toBe(192 * MIB);
    expect(await filesystemMib()).toBeGreaterThan(160);
    expect(await sizes()).toEqual([192 * MIB, 192 * MIB]);
    await compared();
    expect(await md('mismatch_cnt')).toBe('0');
    const acks = (await acksOf(client)).filter(({ endMs }) => endMs > startedMs);
    console.log(
      `grown in ${grownMs - startedMs} ms, its filesystem in ${doneMs - grownMs} ms; the longest pause of a writer: ${longestStallMs(acks)} ms; ` +
        `compared ${Date.now() - doneMs} ms later`,
    );
    expect(doneMs - startedMs).toBeLessThan(MOST_MS);
    // What nobody has written takes no room: comparing reads, and a copy would have written zeros.
    const { items } = await system.replicas.list();
    for (const { status } of items) expect(status?.usedBytes ?? 0).toBeLessThan(96 * MIB);
    // Once more: everything is there already.
    await expect(grow(192)).resolves.toMatchObject({ capacityBytes: String(192 * MIB) });
    await expect(growOnNode(192)).resolves.toMatchObject({ capacityBytes: String(192 * MIB) });
  });

  test('grows while a replica is away, which grows and joins when it is back', async () => {
    const { replica, vm } = await second();
    await lab.faults.cutLink(vm);
    await watchUntil(system, VOLUME, 'the leg is dropped', 120_000, (view) => !view.inSync.includes(replica));
    await grow(256);
    await growOnNode(256);
    expect(await deviceBytes()).toBe(256 * MIB);
    const before = (await acksOf(client)).length;
    await waitForAck(client, (acks) => acks[before + 10]);
    expect(await sizes()).toContain(192 * MIB);
    await lab.faults.restoreLink(vm);
    await healthy();
    expect(await sizes()).toEqual([256 * MIB, 256 * MIB]);
    expect((await look(system, VOLUME)).connection?.status?.lastSync).toMatchObject({ replica, kind: 'Bitmap' });
  });

  test('grows although its programs are killed on the way, again and again', async () => {
    const { vm } = await second();
    const growing = grow(320);
    for (const waitMs of [300, 700, 1500]) {
      await pause(waitMs);
      await lab.faults.killProgram(client, 'csi-driver.mjs');
      await lab.faults.killProgram(vm, 'storage-agent.mjs');
      await pause(waitMs);
      await Promise.all([system.startClientAgent(client), system.startStorageAgent(vm)]);
    }
    await expect(growing).resolves.toMatchObject({ capacityBytes: String(320 * MIB) });
    await watchUntil(system, VOLUME, 'the node service answers', 120_000, () =>
      growOnNode(320).then(
        () => true,
        () => false,
      ),
    );
    expect(await deviceBytes()).toBe(320 * MIB);
    await compared();
    await healthy();
  });

  test('refuses what no pool has room for, by its name and in bytes, and stays as it is', async () => {
    const { volume } = await look(system, VOLUME);
    await expect(grow(64 * 1024 * 1024)).rejects.toThrow(
      /OUT_OF_RANGE.*HF422.*pool pool of s\d .* bytes more are needed/,
    );
    expect((await look(system, VOLUME)).volume.spec).toEqual(volume.spec);
  });

  test('grows while it is detached, and is used with its new size afterwards', async () => {
    await lab.faults.killProgram(client, 'writer.mjs', 'TERM');
    await pause(1000);
    await unstageFrom(system, VOLUME, client);
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: VOLUME, nodeId: client.name }, 90_000);
    expect((await look(system, VOLUME)).volume.status?.attachment?.clean).toBe(true);
    await expect(grow(384)).resolves.toMatchObject({ nodeExpansionRequired: true });
    await stageOn(system, VOLUME, client);
    await growOnNode(384);
    expect(await deviceBytes()).toBe(384 * MIB);
    expect(await filesystemMib()).toBeGreaterThan(330);
    const verdict = verify(await runsOf(client), await dump(client, WRITER.file));
    expect(verdict).toMatchObject({ lost: [], torn: [] });
    expect(verdict.acknowledged).toBeGreaterThan(100);
  });

  test('has the same data on each replica in the end, bit for bit', async () => {
    await compared();
    await healthy();
    await unstageFrom(system, VOLUME, client);
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: VOLUME, nodeId: client.name }, 90_000);
    expect((await look(system, VOLUME)).volume.status?.attachment?.clean).toBe(true);
    const device = '"$(dmsetup ls --target thin | cut -f1)"';
    const read = `dd if=/dev/mapper/${device} bs=1M skip=4 count=384 iflag=direct status=none | sha256sum`;
    const sums = await Promise.all(lab.storage.map((each) => out(each, read)));
    expect(sums[0]).toMatch(/^[0-9a-f]{64}/);
    expect(sums[0]).toBe(sums[1]);
  });

  // From 2 to 3 GiB each bit of the bitmap comes to stand for twice as much, while the array runs.
  test('a raw volume grows to another layout of its bitmap, with its client losing power on the way', async () => {
    const name = 'raw';
    const raw = async (method: string, request: object): Promise<Record<string, unknown>> =>
      await insist(() => system.csi(method.startsWith('Node') ? client : 'controller', method, request, EXPAND_MS));
    const large = { capacityRange: { requiredBytes: String(3 * 1024 * MIB) } };
    await raw('CreateVolume', {
      name,
      ...range(2048),
      volumeCapabilities: [capability('block')],
      parameters: { replicas: '2', placement: 'distinct(zone)', legTimeout: '3s' },
    });
    const context = async (): Promise<unknown> => {
      const { publishContext } = await raw('ControllerPublishVolume', CSI.publish(name, client.name, 'block'));
      await raw('NodeStageVolume', CSI.stage(name, publishContext, 'block'));
      return publishContext;
    };
    await context();
    const write = (mib: number, byte: string): string =>
      `head -c 1048576 /dev/zero | tr '\\0' ${byte} | dd of=${devicePath(name)} bs=1M seek=${mib} oflag=direct conv=fsync status=none`;
    await out(client, [write(1, 'a'), write(2047, 'b')].join(' && '));
    await expect(raw('ControllerExpandVolume', { volumeId: name, ...large })).resolves.toMatchObject({
      nodeExpansionRequired: true,
    });
    expect(await out(client, 'cat /sys/block/md_hf_*/md/bitmap/chunksize')).toBe(String(128 * 1024));
    await out(client, write(3071, 'c'));
    const before = (await look(system, name)).connection?.status?.bootId;
    expect(before).toBeDefined();
    // In the middle of the comparison.
    await client.powerOff();
    await client.powerOn();
    await system.startClientAgent(client);
    await watchUntil(system, name, 'the array runs again', 300_000, ({ connection }: View) => {
      const { phase, sizeBytes, bootId } = connection?.status ?? {};
      return bootId !== before && phase === 'Connected' && sizeBytes === 3 * 1024 * MIB;
    });
    const at = (mib: number): string =>
      `dd if=${devicePath(name)} bs=1M skip=${mib} count=1 iflag=direct status=none | tr -d '\\0' | cut -c1`;
    expect(await out(client, `set -o pipefail; ${[at(1), at(2047), at(3071)].join(' && ')}`)).toBe('a\nb\nc');
    await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: name, nodeId: client.name }, 90_000);
  });
});
