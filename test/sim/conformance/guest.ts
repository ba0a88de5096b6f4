/**
 * The scenarios on the kernel of the VM that this runs in, which is client and storage at once: `conformance NAME...` prints
 * what was seen as JSON. A write that is held keeps a thread of Node's, so it wants UV_THREADPOOL_SIZE.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LEG_BITMAP_SECTOR, LEG_HEADER_BYTES } from '../../../lib/api/names.ts';
import { run } from '../../../lib/host/exec.ts';
import { createMd } from '../../../lib/host/md.ts';
import { createNvmeHost } from '../../../lib/host/nvme.ts';
import { createConfigFs, createNvmet } from '../../../lib/host/nvmet.ts';
import { hostSysfs } from '../../../lib/host/sysfs.ts';
import { createValves } from '../../../lib/host/valve.ts';
import * as direct from '../../gate/guest/direct.ts';
import { createDisk, diskMemory, diskPath, prepareDisks, removeDisks, setDisk } from '../../gate/guest/disks.ts';
import { BLOCK_BYTES, fillBlock } from '../../history/block.ts';
import { scenarios, type Seen } from './scenarios.ts';
import { ARRAY, LEG_BYTES, LEGS, SIZE_BYTES, type PendingWrite, type Stage } from './stage.ts';

const NQN = 'nqn.2026-01.dev.holdfast:conformance:';
const PORT = 4420;
const HOST = { nqn: `${NQN}host`, id: '00000000-0000-4000-8000-0000000000c1' };
const ports = {
  md: createMd(hostSysfs),
  nvme: createNvmeHost(hostSysfs),
  valves: createValves(hostSysfs, run),
  sysfs: hostSysfs,
};
const nvmet = createNvmet({ fs: createConfigFs(run), exec: run });
const nqnOf = (leg: number | string): string => `${NQN}${leg}`;
const addressOf = (leg: number): string => `10.98.${leg}.1`;

const DISK = { well: 'good', errors: 'error', full: 'data-nospc', 'full bitmap': 'bitmap-nospc' } as const;

let device: Promise<FileHandle> | undefined;

/** Overwrites part of a leg's memory, past the page cache. */
async function pokeBytes(leg: number, offsetBytes: number, block: Buffer): Promise<void> {
  const file = await open(diskMemory(leg), constants.O_RDWR | constants.O_DIRECT);
  await file.write(block, 0, block.length, offsetBytes);
  await file.close();
}

async function offer(name: number | string, leg: number, hostNqn: string): Promise<void> {
  const nqn = nqnOf(name);
  const uuid = `00000000-0000-4000-8000-0000000000${leg}${typeof name === 'number' ? 0 : 1}`;
  await nvmet.create({
    nqn,
    serial: `c${name}`,
    model: 'test',
    uuid,
    devicePath: diskPath(leg),
    hostNqn,
    listeners: [],
  });
  await nvmet.connectable(nqn, [{ ip: addressOf(leg), port: PORT }]);
}

const stage: Stage = {
  ...ports,
  nqnOf,
  sleep: (ms) => sleep(ms),
  async connect(leg) {
    await ports.nvme.connectController({
      nqn: nqnOf(leg),
      address: addressOf(leg),
      port: PORT,
      hostNqn: HOST.nqn,
      hostId: HOST.id,
      keepAliveSeconds: 1,
      fastIoFailSeconds: 1,
    });
    while (!ports.nvme.listNamespaces((nqn) => nqn === nqnOf(leg)).has(nqnOf(leg))) await sleep(20);
  },
  async cut(leg, cut) {
    await run('ip', ['addr', cut ? 'del' : 'add', `${addressOf(leg)}/32`, 'dev', 'lo'], { ok: [0, 2] });
  },
  setDisk: (leg, mode) => setDisk(leg, LEG_BYTES, LEG_HEADER_BYTES, DISK[mode]),
  fence: (leg) => nvmet.remove(nqnOf(leg)),
  decoy: (leg) => offer('decoy', leg, `${NQN}nobody`),
  bits: (leg) => direct.setBits(direct.readDevice(diskMemory(leg), LEG_BITMAP_SECTOR * 512, BLOCK_BYTES)),
  data: (leg) => direct.numbersOn(diskMemory(leg), LEG_HEADER_BYTES, SIZE_BYTES / BLOCK_BYTES),
  async poke(leg, block, value) {
    const buffer = fillBlock(direct.alignedBuffer(BLOCK_BYTES), value, block);
    await pokeBytes(leg, LEG_HEADER_BYTES + block * BLOCK_BYTES, buffer);
  },
  async pokeBits(leg, chunks) {
    const page = direct.alignedBuffer(BLOCK_BYTES);
    for (const chunk of chunks) page.writeUInt8(page.readUInt8(chunk >> 3) | (1 << (chunk & 7)), chunk >> 3);
    await pokeBytes(leg, LEG_BITMAP_SECTOR * 512, page);
  },
  write(block, value) {
    let result: ReturnType<PendingWrite['result']>;
    const buffer = fillBlock(direct.alignedBuffer(BLOCK_BYTES), value, block);
    device ??= open(`/dev/${ARRAY}`, constants.O_RDWR | constants.O_DIRECT | constants.O_DSYNC);
    device
      .then((file) => file.write(buffer, 0, BLOCK_BYTES, block * BLOCK_BYTES))
      .then(
        () => (result = 'done'),
        () => (result = 'error'),
      );
    return { result: () => result };
  },
  async flush() {
    await (await device)?.datasync();
  },
  async flushLeg(leg) {
    await run('sync', ['--data', `/dev/${ports.valves.list('gate-valve-').get(`gate-valve-${leg}`)?.device}`]);
  },
  flushes(leg) {
    const [controller] = ports.nvme.listControllers((nqn) => nqn === nqnOf(leg));
    const dir = `/sys/class/nvme/${controller?.name}`;
    const [path = ''] = hostSysfs.listDirectory(dir).filter((name) => /^nvme\d+(c\d+)?n\d+$/.test(name));
    // Documentation/block/stat.rst: the sixteenth field.
    return Number(hostSysfs.readAttribute(`${dir}/${path}/stat`)?.trim().split(/\s+/)[15]);
  },
  async release() {
    await (await device)?.close();
    device = undefined;
  },
};

async function setUp(): Promise<void> {
  await prepareDisks();
  await nvmet.prepare();
  for (const leg of LEGS) {
    await createDisk(leg, LEG_BYTES);
    await stage.cut(leg, false);
    await offer(leg, leg, HOST.nqn);
  }
}

/** Takes everything away, from any state. */
async function tearDown(): Promise<void> {
  for (const leg of LEGS) await stage.cut(leg, false);
  for (const leg of LEGS) await stage.setDisk(leg, 'well');
  const letGo = async (): Promise<void> => {
    const array = ports.md.readArray(ARRAY);
    for (const name of ports.valves.list('gate-valve-').keys()) await ports.valves.open(name, undefined);
    for (const member of array?.members ?? []) {
      if (member.state.has('blocked')) await ports.md.unblockMember(ARRAY, member.device);
    }
    if (array?.state === 'write-pending') await ports.md.activate(ARRAY);
  };
  const closing = stage.release();
  await again(async () => {
    await letGo();
    await Promise.race([closing, sleep(200)]);
    await ports.md.stopArray(ARRAY);
  });
  for (const name of ports.valves.list('gate-valve-').keys()) {
    const status = await ports.valves.status(name);
    await ports.valves.open(name, status?.path);
    await again(() => ports.valves.remove(name));
  }
  for (const { name } of ports.nvme.listControllers((nqn) => nqn.startsWith(NQN)))
    await ports.nvme.deleteController(name);
  for (const nqn of await nvmet.list(NQN)) await nvmet.remove(nqn);
  await again(removeDisks);
}

/** Until it succeeds; the last failure is thrown. */
async function again(work: () => Promise<void>): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 50) throw error;
      await sleep(100);
    }
  }
}

const seen: Record<string, Seen> = {};
for (const name of process.argv.slice(2)) {
  const scenario = scenarios[name];
  if (!scenario) throw new Error(`no scenario ${name}; there are: ${Object.keys(scenarios).join(', ')}`);
  await setUp();
  try {
    seen[name] = await scenario(stage);
  } catch (error) {
    seen[name] = { failed: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  await tearDown();
}
console.log(JSON.stringify(seen));
