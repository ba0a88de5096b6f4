import type { ReplicatedVolume, VolumeConnection } from '../../../lib/api/index.ts';
import {
  VALVE_PREFIX,
  arrayName,
  devicePath,
  isReplicaNqn,
  nqnOfValve,
  replicaUidOfNqn,
  valveName,
} from '../../../lib/api/names.ts';
import { parseDurationMs } from '../../../lib/api/duration.ts';
import { policyDelayMs } from '../../../lib/api/policy.ts';
import { isRunning, type MdArray } from '../../../lib/host/md.ts';
import type { NvmeController, NvmeNamespace } from '../../../lib/host/nvme.ts';
import { readBlockStat } from '../../../lib/host/sysfs.ts';
import type { Valve } from '../../../lib/host/valve.ts';
import type { ConnectionFacts, LegFacts } from './facts.ts';
import { isHeldBack } from './glance.ts';
import { isWhole } from './join.ts';
import type { LegIdentity, LegMemory, VolumeMemory } from './memory.ts';
import type { AgentPorts } from './ports.ts';

type Leg = VolumeConnection['spec']['legs'][number];

/** What the kernel of this host has of all volumes; read once per look and shared. */
export interface HostFacts {
  readonly controllers: readonly NvmeController[];
  readonly namespaces: ReadonlyMap<string, NvmeNamespace>;
  readonly valves: ReadonlyMap<string, Valve>;
}

export function observeHost({ nvme, valves }: AgentPorts): HostFacts {
  return {
    controllers: nvme.listControllers(isReplicaNqn),
    namespaces: nvme.listNamespaces(isReplicaNqn),
    valves: valves.list(VALVE_PREFIX),
  };
}

/** One look at the kernel serves all loops that ask within a moment. */
export interface SharedHostFacts {
  read(): HostFacts;
  /** The kernel has been changed: who asks next is to see it. */
  forget(): void;
}

export interface ObserveInput {
  readonly node: string;
  readonly ports: AgentPorts;
  readonly connection: VolumeConnection;
  readonly volume: ReplicatedVolume | undefined;
  readonly host: HostFacts;
  readonly memory: VolumeMemory;
  readonly nowMs: number;
}

/** Gathers the facts of one volume: the record, the connection wanted, the kernel, and what the trackers remember. */
export async function observe(input: ObserveInput): Promise<ConnectionFacts> {
  const { connection, volume, memory, nowMs, node, ports } = input;
  const { bootId } = ports;
  const { spec } = connection;
  const name = arrayName(spec.volumeUid);
  const array = ports.md.readArray(name);
  const status = volume?.status;
  const inSync = status?.inSync ?? [];
  const releasing = connection.metadata.deletionTimestamp !== undefined;
  for (const leg of spec.legs) memory.learn(leg, nowMs);
  const running = isRunning(array);
  rememberDrains(connection, memory, bootId, running);
  for (const leg of unknownMembers(input, array)) memory.learn(leg, nowMs);
  forgetRetired(input);
  const isMember = (nqn: string): boolean =>
    (array?.members ?? []).some(({ device }) => device === input.host.valves.get(valveName(nqn))?.device);
  const present = new Set(spec.legs.filter(({ nqn }) => isMember(nqn)).map(({ replica }) => replica));
  const legs = await Promise.all(
    memory.legs().map((leg) =>
      observeLeg(leg, {
        ...input,
        array,
        desired: spec.legs.find((wanted) => wanted.nqn === leg.nqn),
        inRecord: inSync.includes(leg.replica),
        hasSuccessor: present.has(leg.replica),
        bitmapCovers: covers(status?.outOfSync?.[leg.replica], spec.epoch, bootId, leg.nqn),
      }),
    ),
  );
  // Nobody is late before the first of them may be used.
  const sources = legs.filter((leg) => leg.desired && leg.recorded);
  const waitsForDrain = sources.length > 0 && sources.every((leg) => !leg.drained);
  const devNo = releasing ? ports.md.deviceNumber(name) : undefined;
  if (running || waitsForDrain) memory.startingSinceMs = undefined;
  else memory.startingSinceMs ??= nowMs;
  return {
    grant:
      running && !startedUnder(connection, memory, bootId) ? 'Lost' : grantOf(status?.attachment, spec.epoch, node),
    releasing,
    legTimeoutMs: parseDurationMs(spec.legTimeout),
    continueAfterMs: policyDelayMs('onControlPlaneLoss', spec.onControlPlaneLoss),
    dropSlowAfterMs: policyDelayMs('onSlowLeg', spec.onSlowLeg),
    unrecordableForMs: memory.unrecordableSinceMs === undefined ? 0 : nowMs - memory.unrecordableSinceMs,
    forgotten: memory.forgotten,
    told: isTold(connection, memory, bootId),
    raidDisks: spec.raidDisks,
    sizeBytes: spec.sizeBytes,
    settling: isSettling(memory, array),
    clean: status?.attachment?.clean ?? false,
    array,
    stopping: memory.array.busy,
    reshaping: memory.reshaping,
    startingForMs: running || waitsForDrain ? 0 : nowMs - (memory.startingSinceMs ?? nowMs),
    // Only a release asks for them.
    mountPoints: devNo !== undefined ? await ports.users.mountPoints(devNo) : [],
    linked: ports.links.read(devicePath(spec.volume)) === `/dev/${name}`,
    legs,
    suspension: observeSuspension(input, name),
    recordedElsewhere: inSync.filter((replica) => !legs.some((leg) => leg.replica === replica && leg.recorded)),
  };
}

/** What a process before this one has answered stands; one that it has begun is over, as each start of an agent ends all. */
function observeSuspension({ connection, memory, ports }: ObserveInput, array: string): ConnectionFacts['suspension'] {
  const { suspend: wanted } = connection.spec;
  const before = connection.status?.suspension;
  if (wanted !== undefined && memory.standstill === undefined && before?.request === wanted.request) {
    const { request, token, replicas = [], heldMs } = before;
    const state = before.state === 'Suspended' ? 'Broken' : before.state;
    if (state !== 'Ready') {
      memory.standstill = { request, token, replicas, state, ...(heldMs === undefined ? {} : { heldMs }) };
    }
  }
  if (wanted === undefined && memory.standstill === undefined) return undefined;
  return {
    wanted,
    current: memory.standstill,
    busy: memory.suspension.busy,
    resynced: ports.md.isResynced(array),
  };
}

/** Whether an array that was made larger is all done, but for what the legs say. */
function isSettling({ growing, reshaping }: VolumeMemory, array: MdArray | undefined): boolean {
  if (growing === undefined || reshaping !== undefined || !isRunning(array)) return false;
  return array.sizeBytes >= growing.toBytes && array.syncAction !== 'frozen';
}

/**
 * Forgets legs that are no longer wanted and of which the kernel has nothing, for example those under the NQNs of a former
 * boot of their storage nodes. They bear the names of replicas that the record has, and are no legs of it.
 */
function forgetRetired({ connection, memory, host }: ObserveInput): void {
  for (const { nqn, busy } of memory.legs()) {
    if (busy || connection.spec.legs.some((wanted) => wanted.nqn === nqn)) continue;
    const connected = host.namespaces.has(nqn) || host.controllers.some((found) => found.nqn === nqn);
    if (!connected && !host.valves.has(valveName(nqn))) memory.forget(nqn);
  }
}

/**
 * Members of the running array that neither the connection lists nor this process remembers: legs of before a restart of
 * the agent. Their valves tell who they are; the name of a replica that the connection no longer lists is the one that the
 * record has beyond the listed ones, if there is one such.
 */
function unknownMembers({ connection, volume, host, memory }: ObserveInput, array: MdArray | undefined): LegIdentity[] {
  const known = new Set([...connection.spec.legs, ...memory.legs()].map((leg) => valveName(leg.nqn)));
  const valves = [...host.valves.values()].filter((valve) => !known.has(valve.name));
  if (valves.length === 0) return [];
  const listed = connection.spec.legs;
  const unlisted = (volume?.status?.inSync ?? []).filter((name) => !listed.some((leg) => leg.replica === name));
  return (array?.members ?? []).flatMap((member) => {
    const valve = valves.find(({ device }) => device === member.device);
    if (!valve) return [];
    const nqn = nqnOfValve(valve.name);
    const uid = replicaUidOfNqn(nqn) ?? '';
    const replica = listed.find((leg) => leg.uid === uid)?.replica ?? (unlisted.length === 1 ? unlisted[0] : undefined);
    return [{ replica: replica ?? uid, uid, nqn, address: '', port: 0 }];
  });
}

/**
 * Whatever was sent to a leg under this epoch by an array that is gone (another boot of this node, or an array that was
 * stopped) may still be on its way to that leg's disk. So before the next start every leg is drained.
 */
function rememberDrains(
  { metadata, spec, status }: VolumeConnection,
  memory: VolumeMemory,
  bootId: string,
  running: boolean,
): void {
  memory.recallDrains(status?.legs ?? []);
  if (memory.hasRun === undefined) {
    const isOther = status?.bootId !== undefined && status.bootId !== bootId;
    memory.hasRun = isOther || status?.epoch === spec.epoch;
  }
  if (running) memory.hasRun = true;
  else if (memory.hasRun && metadata.deletionTimestamp === undefined) {
    for (const leg of spec.legs) memory.askDrain(leg);
    memory.hasRun = false;
  }
}

/** Whether the API server has accepted our boot and every drain that is asked for. */
function isTold({ spec, status }: VolumeConnection, memory: VolumeMemory, bootId: string): boolean {
  if (status?.bootId !== bootId) return false;
  return spec.legs.every(({ replica }) => {
    const asked = memory.drain(replica);
    return asked === undefined || (status.legs?.find((leg) => leg.replica === replica)?.drain ?? 0) >= asked;
  });
}

/** The running bitmap holds what a leg lacks only within one epoch, one boot of the client and one of the storage node. */
function covers(
  entry: { epoch: number; bootId?: string | undefined; nqn?: string | undefined } | undefined,
  epoch: number,
  bootId: string,
  nqn: string,
): boolean {
  return entry !== undefined && entry.epoch === epoch && entry.bootId === bootId && entry.nqn === nqn;
}

/**
 * Whether the array that runs was started under the connection's epoch. One of an earlier epoch may hold a file system
 * that another client has changed since. The proof is this process's own start, or what its predecessor in this boot
 * reported; one that started an array and died before it reported had no user yet, as users wait for the report.
 */
export function startedUnder(
  { spec, status }: Pick<VolumeConnection, 'spec' | 'status'>,
  memory: Pick<VolumeMemory, 'startedEpoch'>,
  bootId: string,
): boolean {
  if (memory.startedEpoch !== undefined) return memory.startedEpoch === spec.epoch;
  return status?.epoch === spec.epoch && status.bootId === bootId;
}

/** Caches lag: a record with a lower epoch than the connection's is old, one with a higher epoch is the truth. */
function grantOf(
  attachment: NonNullable<ReplicatedVolume['status']>['attachment'],
  epoch: number,
  node: string,
): ConnectionFacts['grant'] {
  if (attachment === undefined || attachment.epoch < epoch) return 'NotYet';
  return attachment.epoch === epoch && attachment.node === node ? 'Ours' : 'Lost';
}

interface LegContext extends ObserveInput {
  readonly array: MdArray | undefined;
  readonly desired: Leg | undefined;
  readonly inRecord: boolean;
  /** The leg under which its replica is offered now is a member already. */
  readonly hasSuccessor: boolean;
  readonly bitmapCovers: boolean;
}

async function observeLeg(leg: LegMemory, context: LegContext): Promise<LegFacts> {
  const { host, array, nowMs, ports } = context;
  const controller = host.controllers.find((found) => found.nqn === leg.nqn);
  const namespace = host.namespaces.get(leg.nqn);
  const valve = host.valves.get(valveName(leg.nqn));
  const member = valve && array?.members.find((found) => found.device === valve.device);
  const waiting = valve ? (readBlockStat(ports.sysfs, valve.device)?.inFlight ?? 0) : 0;
  const stat = namespace && readBlockStat(ports.sysfs, namespace.name);
  const ended = leg.tracker.sample({ live: controller?.state === 'live', stat }, nowMs);
  if (namespace === undefined) leg.suspectPath = true;
  if (member && isWhole(member)) leg.wasInSync = true;
  const pathFailed = await isPathFailed(leg, { valve, controller }, isHeldBack(waiting, stat, ended), ports);
  if (!pathFailed) leg.pathRestored();
  return {
    replica: leg.replica,
    uid: leg.uid,
    nqn: leg.nqn,
    address: leg.address,
    port: leg.port,
    desired: context.desired !== undefined,
    // A leg of an earlier boot of its storage node that is no member has nothing to do with what the record says.
    recorded: context.inRecord && (context.desired !== undefined || (member !== undefined && !context.hasSuccessor)),
    bitmapCovers: context.bitmapCovers,
    controller,
    namespace,
    valve,
    pathFailed,
    pathErred: pathFailed && leg.pathErred,
    reinstateInMs: leg.reinstateNotBeforeMs - nowMs,
    member,
    quietMs: pathFailed ? leg.pathFailedForMs(nowMs) : leg.tracker.quietMs(nowMs),
    goodForMs: pathFailed ? 0 : leg.tracker.goodForMs(nowMs),
    drained: (context.desired?.drained ?? 0) >= (context.memory.drain(leg.replica) ?? 0),
    drainAsked: leg.drainAsked,
    busy: leg.busy,
    joinInMs: leg.joinNotBeforeMs - nowMs,
    rescanInMs: leg.rescanNotBeforeMs - nowMs,
    latencyMs: leg.tracker.latencyMs,
  };
}

/** Asks device-mapper only when there is reason to: after the controller was away, or when I/O is held back in the valve. */
async function isPathFailed(
  leg: LegMemory,
  { valve, controller }: Pick<LegFacts, 'valve' | 'controller'>,
  heldBack: boolean,
  { valves }: AgentPorts,
): Promise<boolean> {
  if (!valve || controller?.state !== 'live') {
    leg.suspectPath = true;
    leg.pathErred = false;
    return false;
  }
  if (!leg.suspectPath && !heldBack) return false;
  const failed = (await valves.status(valve.name))?.pathFailed ?? false;
  // Found failed without the controller having been away: not the network, an answer.
  leg.pathErred = failed && (leg.pathErred || !leg.suspectPath);
  leg.suspectPath = failed;
  return failed;
}
