import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { longestStallMs, verify, type Ack } from '../history/log.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { capability, TARGET } from './csi.ts';
import { startSystem, storageReady, type System } from './system.ts';
import { look, watchUntil, type View } from './watch.ts';
import { acksOf, dump, pause, runsOf, stageOn, startWriter, waitForAck } from './workload.ts';

jest.setTimeout(5 * 60_000);

const VOLUME = 'db';
const WRITER = { file: `${TARGET}/ledger`, blocks: 1024 };
const LEG_TIMEOUT_MS = 3000;
/** Writes that were under way when a link was cut have ended, or wait, after this long. */
const SETTLED_MS = 1500;
/** How long killed programs stay away. */
const AWAY_MS = 8000;

/** One volume, attached and written to throughout, while what keeps it is taken away piece by piece. */
describe('faults under a running writer', () => {
  let lab: Lab;
  let system: System;
  let client: Vm;

  const ackedSince = async (sinceMs: number, untilMs = Infinity): Promise<Ack[]> =>
    (await acksOf(client)).filter((ack) => ack.endMs > sinceMs && ack.endMs <= untilMs);
  const ackAfter = (ms: number): Promise<Ack> => waitForAck(client, (acks) => acks.find((ack) => ack.endMs > ms));
  const inSync = (view: View): boolean => view.inSync.length === 2;
  const healthy = (): Promise<boolean> =>
    watchUntil(system, VOLUME, 'both legs are in sync', 90_000, (view) => inSync(view) && legsInSync(view));
  const legsInSync = ({ connection }: View): boolean =>
    connection?.status?.legs?.length === 2 && connection.status.legs.every(({ state }) => state === 'InSync');
  /** The storage VM of the volume's second replica. */
  const second = async (): Promise<{ replica: string; vm: Vm }> => {
    const replica = (await look(system, VOLUME)).volume.status?.replicas?.at(-1);
    if (!replica) throw new Error('no replica');
    return { replica: replica.name, vm: lab.vm(replica.storageNode) };
  };

  beforeAll(async () => {
    lab = await startLab({ appDir: 'dist', clients: 1 });
    system = await startSystem(lab);
    const [first] = lab.clients;
    if (!first) throw new Error('no client VM');
    client = first;
    await storageReady(system);
    await system.csi('controller', 'CreateVolume', {
      name: VOLUME,
      capacityRange: { requiredBytes: String(64 * 1024 * 1024) },
      volumeCapabilities: [capability('ext4')],
      parameters: {
        replicas: '2',
        placement: 'distinct(zone)',
        legTimeout: `${LEG_TIMEOUT_MS}ms`,
        replicaTimeout: '10m',
      },
    });
    await stageOn(system, VOLUME, client);
    await startWriter(client, WRITER);
    await waitForAck(client, (acks) => acks[9]);
  });

  afterAll(async () => {
    await system.stop();
    await lab.stop();
  });

  test('every program may be killed: no write waits for it', async () => {
    await healthy();
    const { vm } = await second();
    const from = Date.now();
    await lab.faults.killProgram(client, 'csi-driver.mjs');
    await lab.faults.killProgram(vm, 'storage-agent.mjs');
    await system.stopOperator();
    await pause(AWAY_MS);
    await Promise.all([system.startClientAgent(client), system.startStorageAgent(vm), system.startOperator()]);
    await pause(6000);
    const acks = await ackedSince(from);
    expect(acks.length).toBeGreaterThan(10);
    // A stall that a missing program causes lasts until its restart; a busy machine's are shorter.
    expect(longestStallMs(acks)).toBeLessThan(AWAY_MS * 0.75);
    await healthy();
  });

  // Given no agent, when a leg is lost, then writes wait; the agent that comes back records first and lets go then.
  test('a leg lost while the agent is dead holds the writes until the loss is recorded', async () => {
    await healthy();
    const { replica, vm } = await second();
    await lab.faults.killProgram(client, 'csi-driver.mjs');
    const cutAt = Date.now();
    await lab.faults.cutLink(vm);
    await pause(2 * LEG_TIMEOUT_MS);
    const heldUntil = Date.now();
    expect(await ackedSince(cutAt + SETTLED_MS, heldUntil)).toEqual([]);
    await system.startClientAgent(client);
    const ack = await ackAfter(heldUntil);
    const dropped = await watchUntil(system, VOLUME, 'the drop is reported', 20_000, ({ connection }) => {
      const drop = connection?.status?.lastDrop;
      return drop && drop.replica === replica && Date.parse(drop.recordedAt) > cutAt && drop;
    });
    expect(Date.parse(dropped.recordedAt)).toBeLessThanOrEqual(ack.endMs);
    await lab.faults.restoreLink(vm);
    await healthy();
  });

  test('a leg lost while the API server is away holds the writes until the loss can be recorded', async () => {
    await healthy();
    const { replica, vm } = await second();
    await lab.faults.stopApiServer();
    const cutAt = Date.now();
    await lab.faults.cutLink(vm);
    await pause(2 * LEG_TIMEOUT_MS);
    const heldUntil = Date.now();
    expect(await ackedSince(cutAt + SETTLED_MS, heldUntil)).toEqual([]);
    await lab.faults.startApiServer();
    await ackAfter(heldUntil);
    expect((await look(system, VOLUME)).inSync).not.toContain(replica);
    await lab.faults.restoreLink(vm);
    await healthy();
  });

  // Given the client's own network is away, when it returns, then I/O goes on: no leg was dropped, nothing is copied.
  test('a client that loses all its legs waits, and goes on without a degraded array', async () => {
    await healthy();
    const before = (await look(system, VOLUME)).connection?.status?.lastDrop;
    const cutAt = Date.now();
    await lab.faults.cutLink(client);
    await pause(2 * LEG_TIMEOUT_MS);
    const heldUntil = Date.now();
    expect(await ackedSince(cutAt + SETTLED_MS, heldUntil)).toEqual([]);
    await lab.faults.restoreLink(client);
    await ackAfter(heldUntil);
    await healthy();
    expect((await look(system, VOLUME)).connection?.status?.lastDrop).toEqual(before);
  });

  const policy = async (healing: { onControlPlaneLoss?: string; onSlowLeg?: string }): Promise<void> => {
    await system.volumes.patch(VOLUME, { spec: { healing } });
    await watchUntil(system, VOLUME, 'the client knows the policy', 20_000, ({ connection }) =>
      Object.entries(healing).every(([name, value]) => connection?.spec[name as keyof typeof healing] === value),
    );
  };

  // Given availability was chosen, when the API server stays away, then writes go on and the loss is recorded afterwards.
  test('a leg lost while the API server is away is dropped unrecorded only where the volume says so', async () => {
    await healthy();
    const { replica, vm } = await second();
    await policy({ onControlPlaneLoss: 'Continue after 2s' });
    await lab.faults.stopApiServer();
    const cutAt = Date.now();
    await lab.faults.cutLink(vm);
    const ack = await ackAfter(cutAt + SETTLED_MS);
    expect(ack.endMs - cutAt).toBeGreaterThan(LEG_TIMEOUT_MS + 2000 - 500);
    await ackAfter(Date.now() + 2000);
    await lab.faults.startApiServer();
    const dropped = await watchUntil(system, VOLUME, 'the loss is recorded', 60_000, ({ inSync: names, volume }) =>
      names.includes(replica) ? undefined : volume.status?.outOfSync?.[replica],
    );
    expect(dropped.reason).toContain('error');
    await lab.faults.restoreLink(vm);
    await healthy();
    await policy({ onControlPlaneLoss: 'Wait' });
  });

  // Given a leg whose storage stands still although its connection lives.
  test('a leg that stands still is waited for, and dropped only where the volume says so', async () => {
    await healthy();
    const { replica, vm } = await second();
    const thin = async (command: string): Promise<void> => {
      await vm.exec(`for d in $(dmsetup ls --target thin | cut -f1); do ${command} $d; done`);
    };
    await thin('dmsetup suspend --noflush --nolockfs');
    const stuckAt = Date.now();
    await watchUntil(system, VOLUME, 'the leg is told to stand still', 20_000, ({ connection }) =>
      connection?.status?.legs?.some((leg) => leg.replica === replica && leg.state === 'Stalled'),
    );
    await pause(2 * LEG_TIMEOUT_MS);
    const heldUntil = Date.now();
    expect(await ackedSince(stuckAt + SETTLED_MS, heldUntil)).toEqual([]);
    expect(inSync(await look(system, VOLUME))).toBe(true);
    await policy({ onSlowLeg: 'Drop after 4s' });
    await ackAfter(heldUntil);
    expect((await look(system, VOLUME)).inSync).not.toContain(replica);
    await thin('dmsetup resume');
    await policy({ onSlowLeg: 'Report' });
    await healthy();
  });

  test('a disk that answers with errors costs its leg, after a record', async () => {
    await healthy();
    const { replica, vm } = await second();
    const from = Date.now();
    await lab.faults.breakDisk(vm);
    await watchUntil(system, VOLUME, 'the leg is dropped', 60_000, (view) => !view.inSync.includes(replica));
    const dropped = await watchUntil(system, VOLUME, 'the drop is reported', 20_000, ({ connection }) => {
      const drop = connection?.status?.lastDrop;
      return drop && drop.replica === replica && Date.parse(drop.recordedAt) > from && drop;
    });
    await ackAfter(Date.parse(dropped.releasedAt));
    const held = await ackedSince(Date.parse(dropped.detectedAt) + SETTLED_MS, Date.parse(dropped.recordedAt));
    expect(held).toEqual([]);
  });

  test('after all of it, every acknowledged write is there', async () => {
    await lab.faults.killProgram(client, 'writer.mjs', 'TERM');
    await pause(1000);
    const verdict = verify(await runsOf(client), await dump(client, WRITER.file));
    expect(verdict).toMatchObject({ lost: [], torn: [] });
    expect(verdict.acknowledged).toBeGreaterThan(100);
  });
});
