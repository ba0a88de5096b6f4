import { HoldfastError, type VolumeReplicaStatus } from '../../lib/api/index.ts';
import type { Ports } from '../ports.ts';
import type { VolumeCache } from '../volumes.ts';
import { executeAction } from './execute.ts';
import { guard } from './guard.ts';
import { observeReplica, readFreshFacts } from './observe.ts';
import { planReplica, type Action, type StatusIntent } from './plan.ts';
import { isWorthWriting, messageOf, nextStatus } from './status.ts';
import type { ReplicaWorld } from './world.ts';

/** A replica needs at most about ten effects; more in one go means that the world doesn't follow the plan. */
const MAX_STEPS = 24;
/** What is waited for sends no event: look again after this time. */
const AGAIN_MS = 10_000;
const ORPHAN_AGAIN_MS = 3_000;
const REFUSED_AGAIN_MS = 1_000;

/** Effects that may take long, so that people want to read about them meanwhile. */
const LONG: ReadonlySet<Action['kind']> = new Set(['allocate-volume', 'erase-volume']);

/** The loop over one replica: `reconcile(name)` brings it from whatever state it is in to what its object asks for. */
export interface ReplicaLoop {
  reconcile(name: string): Promise<{ requeueAfterMs?: number }>;
}

/** Makes the loop. It keeps nothing but the time of the last write of each replica's usage. */
export function createReplicaLoop(ports: Ports, volumes: VolumeCache): ReplicaLoop {
  const lastWriteMs = new Map<string, number>();

  const write = async (world: ReplicaWorld, intent: StatusIntent): Promise<void> => {
    const { name } = world.replica;
    const before = ports.api.cachedReplica(name)?.status;
    const after = nextStatus(world, intent, before, ports.bootId);
    const sinceMs = ports.now() - (lastWriteMs.get(name) ?? Number.NEGATIVE_INFINITY);
    if (!isWorthWriting(before, after, sinceMs)) return;
    await ports.api.writeReplicaStatus(name, after);
    lastWriteMs.set(name, ports.now());
  };

  /** Given an effect that failed, Then people read why; phase and everything that was proved stay. */
  const writeError = async (world: ReplicaWorld, error: unknown): Promise<void> => {
    const before: VolumeReplicaStatus = ports.api.cachedReplica(world.replica.name)?.status ?? {};
    const text = error instanceof Error ? error.message : String(error);
    // An error of ours starts with its code already.
    const message = messageOf({ message: error instanceof HoldfastError ? text : `HF300: ${text}` });
    if (before.message === message) return;
    const { conditions: _, ...kept } = before;
    await ports.api.writeReplicaStatus(world.replica.name, { ...kept, phase: kept.phase ?? 'Pending', message });
  };

  const step = async (world: ReplicaWorld): Promise<{ requeueAfterMs?: number } | undefined> => {
    const plan = planReplica(world);
    if (plan.next === 'rest') {
      await write(world, plan.status);
      if (!plan.again) return {};
      return { requeueAfterMs: world.replica.state === 'Orphan' ? ORPHAN_AGAIN_MS : AGAIN_MS };
    }
    if (LONG.has(plan.action.kind)) await write(world, plan.status);
    const refusal = guard(plan.action, world.replica, await readFreshFacts(ports, volumes, world.replica, plan.action));
    if (refusal !== undefined) {
      ports.log.warn(`${plan.action.kind} put off: ${refusal}`, { replica: world.replica.name });
      return { requeueAfterMs: REFUSED_AGAIN_MS };
    }
    await executeAction(ports, volumes, world.replica, plan.action);
    return undefined;
  };

  return {
    reconcile: async (name) => {
      for (let steps = 0; steps < MAX_STEPS; steps++) {
        const world = await observeReplica(ports, volumes, name);
        if (world === undefined) {
          lastWriteMs.delete(name);
          return {};
        }
        try {
          const done = await step(world);
          if (done !== undefined) return done;
        } catch (error) {
          await writeError(world, error);
          throw error;
        }
      }
      throw new Error(`replica ${name} isn't settled after ${MAX_STEPS} effects`);
    },
  };
}
