import { HoldfastError, type VolumeReplicaStatus } from '../../lib/api/index.ts';
import { KubeError } from '../../lib/kube/client.ts';
import { describeError } from '../../lib/log.ts';
import type { Ports } from '../ports.ts';
import type { VolumeCache } from '../volumes.ts';
import { executeAction } from './execute.ts';
import { guard } from './guard.ts';
import { isSettled, observeExport, observeReplica, readFreshFacts } from './observe.ts';
import { planFencingFirst, planReplica, type Action, type ExportWorld, type StatusIntent } from './plan.ts';
import { isWorthWriting, messageOf, nextStatus, usedBytes } from './status.ts';
import type { RecordFacts, ReplicaFacts, ReplicaWorld } from './world.ts';

/** A replica needs at most about ten effects; more in one go means that the world doesn't follow the plan. */
const MAX_STEPS = 24;
/** What is waited for sends no event: look again after this time. */
const AGAIN_MS = 10_000;
const ORPHAN_AGAIN_MS = 3_000;
const REFUSED_AGAIN_MS = 1_000;

/** A record lets an orphan go a moment after it is one; only what lasts longer is worth telling. */
const UNTOLD_MS = 2_000;
/** Fewer bytes are discarded before anybody could read about it. */
const LONG_BYTES = 1024 ** 3;

/** The loop over one replica: `reconcile(name)` brings it from whatever state it is in to what its object asks for. */
export interface ReplicaLoop {
  reconcile(name: string): Promise<{ requeueAfterMs?: number }>;
}

/** What one run over a replica has learned that can't change any more. */
interface Run {
  settled?: RecordFacts;
}

/** Whether people want to read about an effect meanwhile. */
function isLong(action: Action, world: ReplicaWorld): boolean {
  if (action.kind === 'allocate-volume') return true;
  return action.kind === 'erase-volume' && (usedBytes(world) ?? action.sizeBytes) >= LONG_BYTES;
}

/** Makes the loop. It keeps times only: of the last write of each replica's usage, and since when an orphan is kept. */
export function createReplicaLoop(ports: Ports, volumes: VolumeCache): ReplicaLoop {
  const lastWriteMs = new Map<string, number>();
  const keptSinceMs = new Map<string, number>();

  const write = async (world: ReplicaWorld, intent: StatusIntent): Promise<void> => {
    const { name } = world.replica;
    const before = ports.api.cachedReplica(name)?.status;
    const after = nextStatus(world, intent, before, ports.bootId, new Date(ports.now()));
    const sinceMs = ports.now() - (lastWriteMs.get(name) ?? Number.NEGATIVE_INFINITY);
    if (!isWorthWriting(before, after, sinceMs)) return;
    await ports.api.writeReplicaStatus(name, after);
    lastWriteMs.set(name, ports.now());
    if (before?.phase !== after.phase || before?.fencedEpoch !== after.fencedEpoch) {
      ports.log.info(`${after.phase}: ${after.message}`, { replica: name, fencedEpoch: after.fencedEpoch });
    }
  };

  /** Given an effect that failed, Then people read why; phase and everything that was proved stay. */
  const writeError = async (name: string, error: unknown): Promise<void> => {
    const before: VolumeReplicaStatus = ports.api.cachedReplica(name)?.status ?? {};
    const text = error instanceof Error ? error.message : String(error);
    // An error of ours starts with its code already.
    const message = messageOf({ message: error instanceof HoldfastError ? text : `HF300: ${text}` });
    if (before.message === message) return;
    try {
      await ports.api.writeReplicaStatus(name, { ...before, phase: before.phase ?? 'Pending', message });
    } catch (writing) {
      // What went wrong first is what counts; the loop comes back for both.
      ports.log.warn('the error could not be written to the status', { replica: name, error: describeError(writing) });
    }
  };

  /** Whether it is told that an orphan is not erased. */
  const isKeptLong = (name: string): boolean => {
    const sinceMs = keptSinceMs.get(name) ?? ports.now();
    keptSinceMs.set(name, sinceMs);
    return ports.now() - sinceMs >= UNTOLD_MS;
  };

  /** One look and at most one effect. Undefined when there may be more to do. */
  const step = async (seen: ExportWorld, run: Run): Promise<{ requeueAfterMs?: number } | undefined> => {
    const { replica } = seen;
    const fencing = planFencingFirst(seen);
    if (fencing?.next === 'act') return await carryOut(replica, fencing.action, { state: 'unread' });
    const world = await observeReplica(ports, volumes, seen, run.settled);
    if (isSettled(replica, world.record)) run.settled = world.record;
    const plan = planReplica(world);
    if (plan.next === 'rest') {
      // Our cache may be behind; only what the API server says now contradicts the disk.
      if (plan.status.conflict === true && (await isOutdated(replica))) return { requeueAfterMs: REFUSED_AGAIN_MS };
      if (plan.status.code !== 'HF311' || isKeptLong(replica.name)) await write(world, plan.status);
      if (!plan.again) return {};
      return { requeueAfterMs: replica.state === 'Orphan' ? ORPHAN_AGAIN_MS : AGAIN_MS };
    }
    if (isLong(plan.action, world)) await write(world, plan.status);
    return await carryOut(replica, plan.action, world.record);
  };

  const isOutdated = async (seen: ReplicaFacts): Promise<boolean> => {
    const object = await ports.api.readReplica(seen.name);
    if (object === undefined || object.metadata.uid !== seen.uid) return true;
    const { epoch, drain, hostNqn, lineage } = object.spec;
    return epoch !== seen.epoch || drain !== seen.drain || hostNqn !== seen.hostNqn || lineage !== seen.lineage;
  };

  const carryOut = async (
    replica: ReplicaFacts,
    action: Action,
    record: RecordFacts,
  ): Promise<{ requeueAfterMs?: number } | undefined> => {
    const refusal = guard(action, replica, await readFreshFacts(ports, volumes, replica, action, record));
    if (refusal !== undefined) {
      ports.log.warn(`${action.kind} put off: ${refusal}`, { replica: replica.name });
      return { requeueAfterMs: REFUSED_AGAIN_MS };
    }
    await executeAction(ports, replica, action);
    // The object goes; the cache may not know yet.
    return action.kind === 'release' ? {} : undefined;
  };

  return {
    reconcile: async (name) => {
      const run: Run = {};
      for (let steps = 0; steps < MAX_STEPS; steps++) {
        const seen = await observeExport(ports, name);
        if (seen === undefined) {
          lastWriteMs.delete(name);
          keptSinceMs.delete(name);
          return {};
        }
        try {
          const done = await step(seen, run);
          if (done !== undefined) return done;
        } catch (error) {
          // An API server that is away or newer than our cache is no fault of the replica.
          if (!(error instanceof KubeError)) await writeError(name, error);
          throw error;
        }
      }
      throw new Error(`replica ${name} isn't settled after ${MAX_STEPS} effects`);
    },
  };
}
