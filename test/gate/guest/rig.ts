import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { bitmapChunkBytes, LEG_BITMAP_SECTOR, LEG_HEADER_BYTES } from '../../../lib/api/names.ts';
import { run } from '../../../lib/host/exec.ts';
import { createMd } from '../../../lib/host/md.ts';
import { createNvmeHost } from '../../../lib/host/nvme.ts';
import { createConfigFs, createNvmet, preferredPortId } from '../../../lib/host/nvmet.ts';
import { blockStatPath, parseBlockStat } from '../../../lib/host/sysfs.ts';
import { createValves } from '../../../lib/host/valve.ts';
import { numbersOn, readDevice, setBits } from './direct.ts';
import { exec, omitted, sysfs } from './kill.ts';
import { killWriters, type Ack } from './writer.ts';
import { createDisk, diskMemory, diskPath, prepareDisks, removeDisks, setDisk, type DiskMode } from './disks.ts';

/**
 * The gate by itself: legs (nvmet over RAM disks, NVMe/TCP over the guest's loopback), valves and an md array, in one
 * kernel, without any of our programs. A leg is known by its number, 1 to 4.
 */

export const ARRAY = 'md_gate';
export const DEVICE = `/dev/${ARRAY}`;
export const BLOCK = 4096;
const MD = `/sys/block/${ARRAY}/md`;
const NQN = 'nqn.2026-01.dev.holdfast:gate:';
const PORT = 4420;
/** The product's ports, over a machine on which a program can be killed (kill.ts). */
export const md = createMd(sysfs);
export const nvme = createNvmeHost(sysfs);
export const valves = createValves(sysfs, exec);
const configFs = createConfigFs(run);
const nvmet = createNvmet({ fs: configFs, exec: run });

export const nqnOf = (leg: number): string => `${NQN}${leg}`;
export const addressOf = (leg: number): string => `10.99.${leg}.1`;
export const valveOf = (leg: number): string => `gate-valve-${leg}`;

/** What an array rests on. */
export interface Rig {
  readonly legs: readonly number[];
  readonly sizeBytes: number;
  /** Without: md stands on the namespaces themselves. */
  readonly valves: boolean;
  /** Seconds; -1 is off. */
  readonly fastIoFailSeconds: number;
  readonly keepAliveSeconds: number;
  /** md's bad-block log for external metadata: a write error is noted there, and waits, before it costs the leg. */
  readonly badBlockLog: boolean;
}

export const DEFAULT_RIG: Rig = {
  legs: [1, 2],
  sizeBytes: 16 * 1024 ** 2,
  valves: true,
  fastIoFailSeconds: 1,
  // A busy machine's pauses are no loss of a leg.
  keepAliveSeconds: 5,
  badBlockLog: true,
};

export const blocksOf = (rig: Rig): number => rig.sizeBytes / BLOCK;
export const chunkBytesOf = (rig: Rig): number => bitmapChunkBytes(rig.sizeBytes);
const legBytes = (rig: Rig): number => LEG_HEADER_BYTES + rig.sizeBytes;

/** Waits until something is so. Throws with what it waited for. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}; ${JSON.stringify(shown())}`);
    await sleep(20);
  }
}

/** The array as JSON shows it. */
export function shown(): unknown {
  const array = md.readArray(ARRAY);
  return array && { ...array, members: array.members.map((member) => ({ ...member, state: [...member.state] })) };
}

/** Makes the targets and connects them. */
export async function connectRig(rig: Rig): Promise<void> {
  if (!rig.badBlockLog) omitted.add('external_bbl');
  await prepareDisks();
  await nvmet.prepare();
  for (const leg of rig.legs) await createTarget(leg, rig);
  for (const leg of rig.legs) await connectLeg(leg, rig);
}

/** A target with a fresh, zeroed disk. */
export async function createTarget(leg: number, rig: Rig): Promise<void> {
  await createDisk(leg, legBytes(rig));
  await run('ip', ['addr', 'add', `${addressOf(leg)}/32`, 'dev', 'lo'], { ok: [0, 2] });
  await offer(leg);
}

/** Makes the subsystem of a leg (again) and lets this host in. */
export async function offer(leg: number): Promise<void> {
  await nvmet.create({
    nqn: nqnOf(leg),
    serial: `gate${leg}`,
    model: 'gate',
    uuid: `00000000-0000-4000-8000-00000000000${leg}`,
    devicePath: diskPath(leg),
    hostNqn: hostNqn(),
    listeners: [],
  });
  await nvmet.connectable(nqnOf(leg), [{ ip: addressOf(leg), port: PORT }]);
}

/** Cuts the controllers of a leg and takes its subsystem away: what fencing does. */
export const fence = (leg: number): Promise<void> => nvmet.remove(nqnOf(leg));

/** Cuts the controllers of a leg and refuses new ones; the port goes on answering. */
export async function refuse(leg: number, how: 'host' | 'subsystem'): Promise<void> {
  const other = `${NQN}other`;
  await configFs.mkdir(`${CONFIG}/subsystems/${other}`);
  await configFs.link(`${CONFIG}/subsystems/${other}`, `${portOf(leg)}/subsystems/${other}`);
  if (how === 'host') await configFs.unlink(`${CONFIG}/subsystems/${nqnOf(leg)}/allowed_hosts/${hostNqn()}`);
  await configFs.unlink(`${portOf(leg)}/subsystems/${nqnOf(leg)}`);
  if (how === 'host') await linkToPort(leg);
}

/** Undoes it. */
export async function letIn(leg: number): Promise<void> {
  const at = `${CONFIG}/subsystems/${nqnOf(leg)}/allowed_hosts/${hostNqn()}`;
  await configFs.link(`${CONFIG}/hosts/${hostNqn()}`, at);
  await linkToPort(leg);
}

const CONFIG = '/sys/kernel/config/nvmet';
const portOf = (leg: number): string => `${CONFIG}/ports/${preferredPortId({ ip: addressOf(leg), port: PORT })}`;
const linkToPort = (leg: number): Promise<void> =>
  configFs.link(`${CONFIG}/subsystems/${nqnOf(leg)}`, `${portOf(leg)}/subsystems/${nqnOf(leg)}`);

/** What the agent does for a leg that is reachable again: connects it, puts its namespace below the valve, uses the path. */
export async function returned(leg: number, rig: Rig): Promise<void> {
  if (controllerOf(leg) === undefined) await connectLeg(leg, rig);
  await until(`the controller of leg ${leg} is live`, () => controllerOf(leg)?.state === 'live');
  const { device, devNo } = await until('a namespace', () => {
    const found = [...nvme.listNamespaces((nqn) => nqn === nqnOf(leg)).values()][0];
    return found && { device: found.name, devNo: found.devNo };
  });
  const valve = valves.list('gate-valve-').get(valveOf(leg));
  if (valve !== undefined && !valve.below.includes(device)) await valves.swap(valveOf(leg), legBytes(rig), devNo);
  else if ((await valves.status(valveOf(leg)))?.pathFailed === true) await valves.reinstatePath(valveOf(leg), devNo);
}

export const revalidate = (leg: number): Promise<void> => nvmet.revalidate(nqnOf(leg));

export const hostNqn = (): string => readFileSync('/etc/nvme/hostnqn', 'utf8').trim();
const hostId = (): string => readFileSync('/etc/nvme/hostid', 'utf8').trim();

export async function connectLeg(leg: number, rig: Rig): Promise<void> {
  await nvme.connectController({
    nqn: nqnOf(leg),
    address: addressOf(leg),
    port: PORT,
    hostNqn: hostNqn(),
    hostId: hostId(),
    keepAliveSeconds: rig.keepAliveSeconds,
    fastIoFailSeconds: rig.fastIoFailSeconds,
  });
  await until(`the namespace of leg ${leg}`, () => nvme.listNamespaces((nqn) => nqn === nqnOf(leg)).size > 0);
}

export const controllerOf = (leg: number): { name: string; state: string } | undefined =>
  nvme.listControllers((nqn) => nqn === nqnOf(leg))[0];

/** The network to a leg goes silently, or comes back. */
export async function cutLeg(leg: number, cut: boolean): Promise<void> {
  await run('ip', ['addr', cut ? 'del' : 'add', `${addressOf(leg)}/32`, 'dev', 'lo'], { ok: [0, 2] });
}

export const breakLeg = (leg: number, rig: Rig, mode: DiskMode): Promise<void> =>
  setDisk(leg, legBytes(rig), LEG_HEADER_BYTES, mode);

export interface Device {
  readonly device: string;
  readonly devNo: string;
}

export function namespaceOf(leg: number): Device {
  const namespace = [...nvme.listNamespaces((nqn) => nqn === nqnOf(leg)).values()][0];
  if (namespace === undefined) throw new Error(`leg ${leg} has no namespace`);
  return { device: namespace.name, devNo: namespace.devNo };
}

/** What md takes for the leg: a fresh valve, or the namespace itself. */
export async function freshMember(leg: number, rig: Rig): Promise<Device> {
  if (!rig.valves) return namespaceOf(leg);
  return await valves.make(valveOf(leg), legBytes(rig), namespaceOf(leg).devNo);
}

export function memberOf(leg: number, rig: Rig): Device {
  if (!rig.valves) return namespaceOf(leg);
  const valve = valves.list('gate-valve-').get(valveOf(leg));
  if (valve === undefined) throw new Error(`leg ${leg} has no valve`);
  return valve;
}

export interface Assembly {
  readonly legs?: readonly number[];
  readonly resyncStart?: 'none' | '0';
}

/** The agent's start: what an earlier try left is cleared away, then everything up to `readonly`. */
export async function assemble(rig: Rig, { legs = rig.legs, resyncStart = 'none' }: Assembly = {}): Promise<void> {
  if (md.readArray(ARRAY)) await md.stopArray(ARRAY);
  const members = [];
  for (const leg of legs) members.push({ ...(await freshMember(leg, rig)), slot: leg - 1 });
  await md.assembleReadOnly({
    name: ARRAY,
    raidDisks: rig.legs.length,
    sizeBytes: rig.sizeBytes,
    dataOffsetBytes: LEG_HEADER_BYTES,
    bitmapSector: LEG_BITMAP_SECTOR,
    bitmapChunkBytes: chunkBytesOf(rig),
    resyncStart,
    members,
  });
}

/** The same, and writable. */
export async function start(rig: Rig, assembly: Assembly = {}): Promise<void> {
  await assemble(rig, assembly);
  await activate();
}

/** Lets writes go on, and again while md waits for it: an array that becomes dirty asks once more. */
export async function activate(): Promise<void> {
  await md.activate(ARRAY);
}

/** After the record: the agent's order. */
export async function release(leg: number, rig: Rig): Promise<void> {
  const { device } = memberOf(leg, rig);
  const state = md.readArray(ARRAY)?.members.find((member) => member.device === device)?.state;
  if (!state?.has('faulty')) await md.failMember(ARRAY, device);
  if (rig.valves) {
    const live = controllerOf(leg)?.state === 'live';
    await valves.open(valveOf(leg), live ? namespaceOf(leg).devNo : undefined);
  } else {
    const controller = controllerOf(leg);
    if (controller !== undefined) await nvme.deleteController(controller.name);
  }
  await md.unblockMember(ARRAY, device);
  await md.activate(ARRAY);
}

/** Takes a leg that was given up out of the array. */
export async function remove(leg: number, rig: Rig): Promise<void> {
  const { device } = memberOf(leg, rig);
  await until(`leg ${leg} can be removed`, async () => {
    return await md.removeMember(ARRAY, device).then(
      () => true,
      () => undefined, // EBUSY while its I/O ends
    );
  });
  if (rig.valves) await valves.remove(valveOf(leg));
}

export interface Rejoin {
  readonly kind: 'Bitmap' | 'Full';
}

/** Puts a leg back, and waits until it is in sync. Gives the KiB that md wrote to it meanwhile. */
export async function rejoin(leg: number, rig: Rig, { kind }: Rejoin): Promise<number> {
  const member = await freshMember(leg, rig);
  const before = writtenKib(member.device);
  await addMember(leg, rig, member, kind);
  await synced();
  return writtenKib(member.device) - before;
}

export const addMember = (leg: number, rig: Rig, member: Device, kind: 'Bitmap' | 'Full'): Promise<void> =>
  md.addMember(ARRAY, {
    device: member.device,
    devNo: member.devNo,
    slot: leg - 1,
    kind,
    sizeBytes: rig.sizeBytes,
    dataOffsetBytes: LEG_HEADER_BYTES,
  });

/** Waits until nothing is missing and nothing is copied; md may ask for `active` on the way. */
export async function synced(timeoutMs = 60_000): Promise<void> {
  await until(
    'the array is in sync',
    async () => {
      const array = md.readArray(ARRAY);
      if (array?.state === 'write-pending') await md.activate(ARRAY);
      return (
        array?.syncAction === 'idle' &&
        attribute('degraded') === '0' &&
        array.members.every(({ state }) => state.has('in_sync'))
      );
    },
    timeoutMs,
  );
}

export const attribute = (name: string): string | undefined => sysfs.readAttribute(`${MD}/${name}`);
export const setAttribute = (name: string, value: string): Promise<void> =>
  sysfs.writeAttribute(`${MD}/${name}`, value);

/** Requests that a device was given and has not ended. */
export const inFlight = (device: string): number =>
  parseBlockStat(sysfs.readAttribute(blockStatPath(device)) ?? '').inFlight;

const writtenKib = (device: string): number =>
  parseBlockStat(sysfs.readAttribute(blockStatPath(device)) ?? '').writtenBytes / 1024;

export const deviceBytes = (): number => Number(sysfs.readAttribute(`/sys/block/${ARRAY}/size`)) * 512;

/** The chunks whose bit a leg's bitmap has set. */
export function bitsOn(leg: number, rig: Rig): number[] {
  const bytes = Math.ceil(rig.sizeBytes / chunkBytesOf(rig) / 8 / BLOCK) * BLOCK;
  return setBits(readDevice(diskMemory(leg), LEG_BITMAP_SECTOR * 512, bytes));
}

/** How many of the acknowledged writes a leg lacks: blocks that hold less than was last acknowledged for them. */
export function missingOn(leg: number, rig: Rig, acks: readonly Ack[]): number {
  const last = new Map<number, number>();
  for (const { number, at } of acks) last.set(at, Math.max(number, last.get(at) ?? 0));
  const found = numbersOn(diskMemory(leg), LEG_HEADER_BYTES, blocksOf(rig));
  return [...last].filter(([at, number]) => (found[at] ?? 0) < number).length;
}

/** Takes everything away, from any state. */
export async function tearDown(rig: Rig): Promise<void> {
  killWriters();
  for (const leg of rig.legs) await cutLeg(leg, false);
  // What still waits ends, with an error if it must.
  for (const name of valves.list('gate-valve-').keys()) await valves.open(name, undefined);
  await until('the array stops', async () => {
    for (const member of md.readArray(ARRAY)?.members ?? []) {
      if (member.state.has('blocked')) await md.unblockMember(ARRAY, member.device).catch(() => undefined);
    }
    if (md.readArray(ARRAY)?.state === 'write-pending') await md.activate(ARRAY).catch(() => undefined);
    return await md.stopArray(ARRAY).then(
      () => true,
      () => undefined, // EBUSY: the last one that had it open is going
    );
  });
  for (const name of valves.list('gate-valve-').keys()) {
    const status = await valves.status(name);
    await valves.open(name, status?.path);
    await valves.remove(name);
  }
  for (const { name } of nvme.listControllers((nqn) => nqn.startsWith(NQN))) await nvme.deleteController(name);
  for (const nqn of await nvmet.list(NQN)) await nvmet.remove(nqn);
  await until('the disks are free', () =>
    removeDisks().then(
      () => true,
      () => undefined,
    ),
  );
}
