import { hostId, LEG_HEADER_BYTES, legSizeBytes, logicalVolumeName, replicaNqn } from '../../../lib/api/names.ts';
import type { ExportSpec } from '../../../lib/host/nvmet.ts';
import { hasBit } from '../kernel/bitmap.ts';
import { createClientKernel } from '../kernel/client.ts';
import { createStorageKernel, type StorageEnd } from '../kernel/storage.ts';
import { createNetwork } from '../network.ts';
import { createDice } from '../random.ts';
import { createScheduler, type ProgramHandle, type Scheduler } from '../scheduler.ts';
import { ARRAY, SIZE_BYTES, type DiskMode, type PendingWrite, type Stage } from './stage.ts';

const CLIENT = 'c1';
const HOST_NQN = 'nqn.2026-01.dev.holdfast:client:c1';
const PORT = 4420;
const HEADER_BLOCKS = LEG_HEADER_BYTES / 4096;
const BITMAP_BLOCK = 2;

const uidOf = (leg: number): string => `0000000${leg}-0000-4000-8000-000000000000`;
const addressOf = (leg: number): string => `10.0.0.${leg}`;

/** The stage on simulated kernels: a client machine, and a storage machine for each leg. */
export async function simulatedStage(seed: number): Promise<{ stage: Stage; scheduler: Scheduler }> {
  const dice = createDice(seed);
  const scheduler = createScheduler(dice);
  const network = createNetwork(dice);
  const world = { ...scheduler, fraction: () => dice.fraction(), network };
  const program: ProgramHandle = { name: 'agent', alive: true };
  const client = createClientKernel({ machine: CLIENT, world });
  const storage = new Map<number, StorageEnd>();
  const pool = { name: 'main', devices: ['/dev/vdb'], sizeBytes: 2 ** 30 };
  const ports = client.ports(program);
  const at = (leg: number): StorageEnd => {
    const found = storage.get(leg);
    if (!found) throw new Error(`no leg ${leg}`);
    return found;
  };
  const nqnOf = (leg: number): string => replicaNqn(uidOf(leg), at(leg).bootId);
  for (const leg of [1, 2]) {
    const machine = `s${leg}`;
    const kernel = createStorageKernel({ machine, world, pool });
    storage.set(leg, kernel);
    network.register(addressOf(leg), kernel);
    await run(scheduler, makeExport(kernel, program, leg, nqnOf(leg)));
  }

  const stage: Stage = {
    ...ports,
    nqnOf,
    sleep: (ms) => scheduler.timer(program, ms, 'sleep'),
    async connect(leg) {
      await ports.nvme.connectController({
        nqn: nqnOf(leg),
        address: addressOf(leg),
        port: PORT,
        hostNqn: HOST_NQN,
        hostId: hostId(CLIENT),
        keepAliveSeconds: 1,
        fastIoFailSeconds: 1,
      });
    },
    async cut(leg, cut) {
      const act = (from: string, to: string): void => (cut ? network.cut(from, to) : network.heal(from, to));
      act(CLIENT, `s${leg}`);
      act(`s${leg}`, CLIENT);
      await Promise.resolve();
    },
    async setDisk(leg, mode) {
      at(leg).setHealth(HEALTH[mode]);
      await Promise.resolve();
    },
    fence: (leg) => at(leg).host(program).nvmet.remove(nqnOf(leg)),
    async decoy(leg) {
      const nqn = `${nqnOf(leg)}-decoy`;
      const spec = {
        nqn,
        serial: 'd',
        model: 'test',
        uuid: uidOf(leg),
        devicePath: await pathOf(at(leg), program, leg),
      };
      await offer(at(leg), program, { ...spec, hostNqn: 'nqn.2026-01.dev.holdfast:client:nobody', listeners: [] }, leg);
    },
    bits(leg) {
      const page = at(leg).readBlock(uidOf(leg), BITMAP_BLOCK - HEADER_BLOCKS) ?? 0;
      return Array.from({ length: 48 }, (_, bit) => bit).filter((bit) => hasBit(page, bit));
    },
    data: (leg) => Array.from({ length: SIZE_BYTES / 4096 }, (_, block) => at(leg).readBlock(uidOf(leg), block) ?? -1),
    async poke(leg, block, value) {
      at(leg).pokeBlock(uidOf(leg), block, value);
      await Promise.resolve();
    },
    async pokeBits(leg, chunks) {
      const page = chunks.reduce((bits, chunk) => bits + 2 ** chunk, 0);
      at(leg).pokeBlock(uidOf(leg), BITMAP_BLOCK - HEADER_BLOCKS, page);
      await Promise.resolve();
    },
    write(block, value) {
      let result: ReturnType<PendingWrite['result']>;
      client.submitWrite(`/dev/${ARRAY}`, block, value, (ok) => (result = ok ? 'done' : 'error'));
      return { result: () => result };
    },
    flush: () => client.submitFlush(`/dev/${ARRAY}`),
    flushLeg: (leg) =>
      ports.flushDevice(ports.valves.list('gate-valve-').get(`gate-valve-${leg}`)?.device ?? '', 10_000),
    flushes: (leg) => at(leg).flushes(uidOf(leg)),
    release: () => client.releaseDevice(`/dev/${ARRAY}`),
  };
  return { stage, scheduler };
}

const HEALTH = {
  well: 'well',
  errors: 'errors',
  full: 'full',
  'full bitmap': 'full bitmap',
} as const satisfies Record<DiskMode, unknown>;

/** Runs the world until the work is done. @throws what the work throws */
export async function run<T>(scheduler: Scheduler, work: Promise<T>): Promise<T> {
  let outcome: { readonly value: T } | { readonly error: unknown } | undefined;
  work.then(
    (value) => (outcome = { value }),
    (error: unknown) => (outcome = { error }),
  );
  for (let step = 0; step < 1000 && outcome === undefined; step += 1) {
    await scheduler.run(scheduler.now() + 1000, () => outcome !== undefined);
  }
  if (outcome === undefined) throw new Error(`not done by ${scheduler.now()} ms`);
  if ('error' in outcome) throw outcome.error;
  return outcome.value;
}

async function makeExport(kernel: StorageEnd, program: ProgramHandle, leg: number, nqn: string): Promise<void> {
  await kernel.host(program).lvm.createThinVolume({
    group: 'hf-main',
    pool: 'holdfast-pool',
    name: logicalVolumeName(uidOf(leg)),
    sizeBytes: legSizeBytes(SIZE_BYTES),
    tags: ['holdfast'],
  });
  const spec = { nqn, serial: String(leg), model: 'test', uuid: uidOf(leg), hostNqn: HOST_NQN, listeners: [] };
  await offer(kernel, program, { ...spec, devicePath: await pathOf(kernel, program, leg) }, leg);
}

async function offer(kernel: StorageEnd, program: ProgramHandle, spec: ExportSpec, leg: number): Promise<void> {
  const { nvmet } = kernel.host(program);
  await nvmet.create(spec);
  await nvmet.connectable(spec.nqn, [{ ip: addressOf(leg), port: PORT }]);
}

async function pathOf(kernel: StorageEnd, program: ProgramHandle, leg: number): Promise<string> {
  const { lvm, disks } = kernel.host(program);
  const found = (await lvm.volumes()).find(({ name }) => name === logicalVolumeName(uidOf(leg)));
  return await disks.pathOf(found?.devNo ?? '');
}
