import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { ReplicatedSnapshot, SnapshotReplica } from '../../lib/api/index.ts';
import { devicePath } from '../../lib/api/names.ts';
import { kinds, resource, type Resource } from '../../lib/kube/client.ts';
import { cutOf, type Cut } from '../history/cut.ts';
import { longestStallMs, onClock } from '../history/log.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { capability, CSI, TARGET } from './csi.ts';
import { startSystem, storageReady, type System } from './system.ts';
import { look, watchUntil } from './watch.ts';
import { acksOf, dump, pause, runsOf, stageOn, unstageFrom, waitForAck } from './workload.ts';

jest.setTimeout(6 * 60_000);

const BLOCKS = 512;
const SIZE = String(32 * 1024 * 1024);
const LOG = '/dev/virtio-ports/holdfast.log';

let lab: Lab;
let system: System;
let snapshots: Resource<ReplicatedSnapshot>;
let copies: Resource<SnapshotReplica>;
let c1: Vm;
let c2: Vm;

beforeAll(async () => {
  lab = await startLab({ appDir: 'dist', storage: 2 });
  // Emulated CPUs take seconds for one lvcreate, and more beside other work. It ends as soon as all is taken.
  system = await startSystem(lab, { operatorArgs: ['--snapshot-standstill', '40s'] });
  snapshots = resource(system.connection, kinds.replicatedSnapshots);
  copies = resource(system.connection, kinds.snapshotReplicas);
  c1 = lab.vm('c1');
  c2 = lab.vm('c2');
  await storageReady(system);
});

afterAll(async () => {
  await system.stop();
  await lab.stop();
});

async function create(name: string, kind: 'block' | 'ext4', source?: object): Promise<void> {
  await system.csi('controller', 'CreateVolume', {
    name,
    capacityRange: { requiredBytes: SIZE },
    volumeCapabilities: [capability(kind)],
    parameters: { replicas: '2', placement: 'distinct(zone)' },
    ...(source === undefined ? {} : { volumeContentSource: source }),
  });
}

async function attach(name: string, client: Vm): Promise<void> {
  await system.csi('controller', 'ControllerPublishVolume', CSI.publish(name, client.name, 'block'), 90_000);
}

async function detach(name: string, client: Vm): Promise<void> {
  await system.csi('controller', 'ControllerUnpublishVolume', { volumeId: name, nodeId: client.name }, 90_000);
}

/** A writer with several writes at a time, so that each moment finds some under way. */
async function startWriter(client: Vm, volume: string, options = ''): Promise<void> {
  const command = `node /opt/holdfast/writer.mjs write ${devicePath(volume)} ${BLOCKS} ${LOG} --depth 4 ${options}`;
  await client.spawn(command, { logFile: `/var/log/writer-${volume}.log` });
}

const stopWriters = (client: Vm): Promise<number> => lab.faults.killProgram(client, '[w]riter.mjs', 'TERM');

async function snapshot(name: string, volume: string): Promise<{ tookMs: number; object: ReplicatedSnapshot }> {
  const startedMs = performance.now();
  await system.csi('controller', 'CreateSnapshot', { name, sourceVolumeId: volume }, 120_000);
  const tookMs = performance.now() - startedMs;
  const object = await snapshots.get(name);
  if (!object) throw new Error(`there is no snapshot ${name}`);
  return { tookMs, object };
}

const fromSnapshot = (snapshotId: string): object => ({ snapshot: { snapshotId } });

/** What a client's writer has done to a volume, by the host's clock, and what a volume holds. */
async function cut(client: Vm, values: readonly number[], tag?: string): Promise<Cut> {
  const { offsetMs } = await client.clock();
  const operations = (await runsOf(client, tag)).flatMap((each) => onClock(each, offsetMs).operations);
  const found = cutOf(operations, values);
  // Otherwise nothing would tell when it was.
  expect(Math.min(found.fromBlock, found.untilBlock)).toBeGreaterThanOrEqual(0);
  return found;
}

describe('a snapshot under a running writer', () => {
  test('is the content of one instant on both replicas, and a volume begins with it without copying', async () => {
    await create('v', 'block');
    await attach('v', c1);
    await startWriter(c1, 'v');
    await waitForAck(c1, (acks) => acks[99]);
    const before = await acksOf(c1);
    const { tookMs, object } = await snapshot('snap', 'v');
    const after = await acksOf(c1);
    process.stderr.write(`snapshot: ${Math.round(tookMs)} ms; ${object.status?.message}\n`);
    expect(object.status).toMatchObject({ phase: 'Ready', copiesSummary: '2/2', attempt: 1 });
    await waitForAck(c1, (acks) => acks[after.length + 50]);

    await create('r', 'block', fromSnapshot('snap'));
    const { volume } = await look(system, 'r');
    // Both replicas began with the content: nothing is to be copied.
    expect(volume.status?.inSync).toHaveLength(2);
    const replicas = await Promise.all((volume.status?.inSync ?? []).map((name) => system.replicas.get(name)));
    const nodes = new Set(replicas.map((replica) => replica?.spec.storageNode));
    expect(nodes).toEqual(new Set(object.status?.copies?.map(({ storageNode }) => storageNode)));
    await attach('r', c2);
    const values = await dump(c2, devicePath('r'));
    const { fromMs, untilMs, ...blocks } = await cut(c1, values);
    process.stderr.write(`cut: ${fromMs} to ${untilMs}, ${JSON.stringify(blocks)}\n`);
    expect(fromMs).toBeLessThanOrEqual(untilMs);
    // All that had been acknowledged before it was asked for is in it.
    expect(Math.max(...before.map(({ endMs }) => endMs))).toBeLessThanOrEqual(untilMs);
    const { connection } = await look(system, 'r');
    expect(connection?.status?.lastSync).toBeUndefined();
  });

  // Each replica by itself: the volume is started from one of them alone.
  test('each copy has the same content', async () => {
    const { status } = (await snapshots.get('snap')) ?? {};
    const digests: string[] = [];
    for (const { uid, storageNode } of status?.copies ?? []) {
      const lv = `hf-pool/hf-snap-${uid}`;
      // No udev there makes device nodes, so LVM is not to wait for it.
      const change = "DM_DISABLE_UDEV=1 lvchange --config 'activation { udev_sync=0 udev_rules=0 }'";
      const device = `/dev/mapper/${lv.replaceAll('-', '--').replace('/', '-')}`;
      const read = `dd if=${device} bs=1M skip=4 count=32 iflag=direct status=none | sha256sum`;
      const script = `${change} -ay -K ${lv} && ${read}; ${change} -an ${lv}`;
      digests.push((await lab.vm(storageNode).exec(script, { timeoutMs: 60_000 })).stdout.trim());
    }
    expect(digests).toHaveLength(2);
    expect(new Set(digests).size).toBe(1);
  });

  test('a volume that was made from it lives by itself', async () => {
    // Written to, and its source goes.
    const text = `printf holdfast | dd of=${devicePath('r')} bs=4096 conv=sync oflag=direct seek=7 status=none`;
    await c2.exec(text);
    await system.csi('controller', 'DeleteSnapshot', { snapshotId: 'snap' }, 120_000);
    const left = async (): Promise<number> => (await copies.list()).items.length;
    await watchUntil(system, 'r', 'the copies are erased', 60_000, async () => (await left()) === 0);
    expect((await c2.exec(`dd if=${devicePath('r')} bs=4096 skip=7 count=1 iflag=direct status=none`)).stdout).toMatch(
      /^holdfast/,
    );
    await detach('r', c2);
    await system.csi('controller', 'DeleteVolume', { volumeId: 'r' }, 120_000);
  });
});

describe('a client agent that is killed while writes are held', () => {
  test('the writes go on without it, and the snapshot is taken anew', async () => {
    for (const vm of lab.storage) await lab.faults.killProgram(vm, '[s]torage-agent.mjs', 'STOP');
    // Made ready before they stood still: they had no time to. So let them, once the copies are there.
    const pending = system.csi('controller', 'CreateSnapshot', { name: 'killed', sourceVolumeId: 'v' }, 180_000);
    pending.catch(() => undefined);
    for (const vm of lab.storage) await lab.faults.killProgram(vm, '[s]torage-agent.mjs', 'CONT');
    await watchUntil(system, 'v', 'the copies are prepared', 60_000, async ({ connection }) => {
      const { items } = await copies.list();
      const isReady = items.length === 2 && items.every(({ status }) => status?.phase === 'Prepared');
      return isReady || connection?.status?.suspension?.state === 'Suspended';
    });
    for (const vm of lab.storage) await lab.faults.killProgram(vm, '[s]torage-agent.mjs', 'STOP');
    await c1.exec(
      'for i in $(seq 200); do cat /sys/block/md_hf_*/md/suspend_hi | grep -qvx 0 && break; sleep 0.05; done; pkill -KILL -f "[c]si-driver.mjs"',
      { timeoutMs: 30_000 },
    );
    const suspended = (await c1.exec('cat /sys/block/md_hf_*/md/suspend_hi')).stdout.trim();
    const acksAtKill = (await acksOf(c1)).length;
    process.stderr.write(`killed with suspend_hi ${suspended}\n`);
    for (const vm of lab.storage) await lab.faults.killProgram(vm, '[s]torage-agent.mjs', 'CONT');
    // No agent is there: the guard has let them go on.
    await waitForAck(c1, (acks) => acks[acksAtKill + 20]);
    await system.startClientAgent(c1);
    await pending;
    const stall = longestStallMs(await acksOf(c1));
    process.stderr.write(`longest stall ${JSON.stringify(stall)}\n`);
    await create('k', 'block', fromSnapshot('killed'));
    await attach('k', c2);
    const { fromMs, untilMs } = await cut(c1, await dump(c2, devicePath('k')));
    expect(fromMs).toBeLessThanOrEqual(untilMs);
    await detach('k', c2);
    await stopWriters(c1);
    await detach('v', c1);
  });
});

describe('several volumes', () => {
  test('a group is of one instant over all of them', async () => {
    await create('w', 'block');
    await attach('v', c1);
    await attach('w', c2);
    // Laid out anew, each with a log of its own: a client's has room for one writer at a time.
    await startWriter(c1, 'v', `--tag v`);
    await startWriter(c2, 'w', `--tag w --seed 2`);
    await pause(5_000);
    const startedMs = performance.now();
    const { groupSnapshot } = (await system.csi(
      'controller',
      'CreateVolumeGroupSnapshot',
      { name: 'group', sourceVolumeIds: ['v', 'w'] },
      120_000,
    )) as { groupSnapshot: { groupSnapshotId: string; snapshots: { snapshotId: string; sourceVolumeId: string }[] } };
    process.stderr.write(`group: ${Math.round(performance.now() - startedMs)} ms\n`);
    await pause(3_000);
    const cuts: Cut[] = [];
    for (const { snapshotId, sourceVolumeId } of groupSnapshot.snapshots) {
      const name = `g-${sourceVolumeId}`;
      await create(name, 'block', fromSnapshot(snapshotId));
      await attach(name, c2);
      const writer = sourceVolumeId === 'v' ? c1 : c2;
      cuts.push(await cut(writer, await dump(c2, devicePath(name)), sourceVolumeId));
      await detach(name, c2);
      await system.csi('controller', 'DeleteVolume', { volumeId: name }, 120_000);
    }
    process.stderr.write(`cuts ${JSON.stringify(cuts)}\n`);
    expect(Math.max(...cuts.map(({ fromMs }) => fromMs))).toBeLessThanOrEqual(
      Math.min(...cuts.map(({ untilMs }) => untilMs)),
    );
    await stopWriters(c1);
    await stopWriters(c2);
    const { groupSnapshotId } = groupSnapshot;
    const snapshotIds = groupSnapshot.snapshots.map(({ snapshotId }) => snapshotId);
    await system.csi('controller', 'DeleteVolumeGroupSnapshot', { groupSnapshotId, snapshotIds }, 120_000);
    await detach('w', c2);
    await detach('v', c1);
  });
});

describe('a filesystem', () => {
  test('a clone of a volume in use has the files that were closed before, synced or not', async () => {
    await create('fs', 'ext4');
    await stageOn(system, 'fs', c1);
    await c1.exec(`echo hello > ${TARGET}/file`);
    await create('clone', 'ext4', { volume: { volumeId: 'fs' } });
    await stageOn(system, 'clone', c2);
    expect((await c2.exec(`cat ${TARGET}/file`)).stdout).toBe('hello\n');
    // The passing snapshot has gone with its purpose.
    expect((await snapshots.list()).items.map(({ metadata }) => metadata.name)).toEqual(['killed']);
    await unstageFrom(system, 'clone', c2);
    await detach('clone', c2);
  });

  test('in the end nothing is left of any of it', async () => {
    await unstageFrom(system, 'fs', c1);
    await detach('fs', c1);
    await system.csi('controller', 'DeleteSnapshot', { snapshotId: 'killed' }, 120_000);
    for (const volumeId of ['v', 'w', 'k', 'fs', 'clone']) {
      await system.csi('controller', 'DeleteVolume', { volumeId }, 120_000);
    }
    const deadline = performance.now() + 60_000;
    const left = async (): Promise<string> => {
      const volumes = await Promise.all(lab.storage.map((vm) => vm.exec('lvs --noheadings -o lv_name')));
      const names = volumes
        .flatMap(({ stdout }) => stdout.trim().split(/\s+/))
        .filter((name) => name !== 'holdfast-pool');
      const objects = (await copies.list()).items.map(({ metadata }) => metadata.name);
      return [...names, ...objects].join(' ');
    };
    while ((await left()) !== '' && performance.now() < deadline) await pause(500);
    expect(await left()).toBe('');
    expect(await system.holdfast('check')).toMatchObject({ code: 0 });
  });
});
