import { readFileSync } from 'node:fs';
import { LEG_HEADER_BYTES } from '../../../lib/api/names.ts';
import { run } from '../../../lib/host/exec.ts';
import { createConfigFs, createNvmet, preferredPortId } from '../../../lib/host/nvmet.ts';
import { createDisk, diskPath, prepareDisks, removeDisks, setDisk, type DiskMode } from './disks.ts';
import { legBytes, nvme, until, untilDone, valveOf, valves, type Rig } from './rig.ts';

/** The legs' targets, and how the client reaches them. */

const NQN = 'nqn.2026-01.dev.holdfast:gate:';
const PORT = 4420;
const configFs = createConfigFs(run);
const nvmet = createNvmet({ fs: configFs, exec: run });
export const nqnOf = (leg: number): string => `${NQN}${leg}`;
export const addressOf = (leg: number): string => `10.99.${leg}.1`;

/** Makes the targets and connects them. */
export async function connectLegs(rig: Rig): Promise<void> {
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

/** Takes every target and its disk away, and the controllers that lead to it. */
export async function removeTargets(): Promise<void> {
  for (const { name } of nvme.listControllers((nqn) => nqn.startsWith(NQN))) await nvme.deleteController(name);
  for (const nqn of await nvmet.list(NQN)) await nvmet.remove(nqn);
  await untilDone('the disks are free', removeDisks);
}

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
  return await valves.make(valveOf(leg), legBytes(rig), namespaceOf(leg).devNo, 'closed');
}

export function memberOf(leg: number, rig: Rig): Device {
  if (!rig.valves) return namespaceOf(leg);
  const valve = valves.list('gate-valve-').get(valveOf(leg));
  if (valve === undefined) throw new Error(`leg ${leg} has no valve`);
  return valve;
}
