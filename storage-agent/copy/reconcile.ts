import { isDeepStrictEqual } from 'node:util';
import {
  copyVolumeName,
  HoldfastError,
  logicalVolumeName,
  STORAGE_AGENT_FINALIZER,
  THIN_POOL_NAME,
  type ReplicatedSnapshot,
  type SnapshotReplica,
  type SnapshotReplicaStatus,
} from '../../lib/api/index.ts';
import { KubeError } from '../../lib/kube/client.ts';
import { describeError } from '../../lib/log.ts';
import type { CopyApi, Ports } from '../ports.ts';
import { erase } from '../replica/execute.ts';
import { findNamed, poolFacts } from '../replica/observe.ts';
import type { VolumeCache } from '../volumes.ts';
import { planCopy, type CopyAction, type CopyWorld, type SnapshotRecord } from './plan.ts';

/** A copy needs at most five effects; more in one go means that the world doesn't follow the plan. */
const MAX_STEPS = 12;
const AGAIN_MS = 5_000;

/** The loop over one copy: `reconcile(name)` brings it from whatever state it is in to what its object asks for. */
export interface CopyLoop {
  reconcile(name: string): Promise<{ requeueAfterMs?: number }>;
}

export type CopyPorts = Pick<Ports, 'lvm' | 'disks' | 'log'> & { readonly api: CopyApi };

/** Makes the loop. It keeps nothing. */
export function createCopyLoop(ports: CopyPorts, volumes: VolumeCache): CopyLoop {
  const { api, lvm, disks, log } = ports;

  const observe = async (object: SnapshotReplica): Promise<CopyWorld> => {
    const { metadata, spec, status } = object;
    const uid = metadata.uid ?? '';
    const deleting = metadata.deletionTimestamp !== undefined;
    const list = await volumes.get();
    const pool = poolFacts(api.cachedNode(), spec.pool, list);
    const volume = findNamed(pool, copyVolumeName(uid), list);
    return {
      uid,
      spec,
      status,
      deleting,
      hasFinalizer: metadata.finalizers?.includes(STORAGE_AGENT_FINALIZER) ?? false,
      record: deleting ? recordOf(await api.readSnapshot(spec.snapshot), object) : 'unread',
      pool,
      thinPool: findNamed(pool, THIN_POOL_NAME, list),
      source: findNamed(pool, logicalVolumeName(spec.replicaUid), list),
      volume,
      devicePath: volume?.devNo === undefined ? undefined : await disks.pathOf(volume.devNo),
    };
  };

  const execute = async (name: string, uid: string, action: CopyAction): Promise<void> => {
    switch (action.kind) {
      case 'take':
        await lvm.createThinSnapshot(action);
        log.info('copy taken', { copy: name, volume: `${action.group}/${action.name}`, origin: action.origin });
        return;
      case 'activate':
        await lvm.activate(action.group, action.name);
        return;
      case 'erase':
        log.info('erasing the copy', { copy: name, volume: `${action.group}/${action.name}` });
        await erase(ports, action);
        return;
      case 'remove':
        await lvm.remove(action.group, action.name);
        return;
      case 'release':
        await api.releaseCopy(name, uid);
        return;
    }
  };

  const write = async (object: SnapshotReplica, status: SnapshotReplicaStatus): Promise<void> => {
    if (isDeepStrictEqual(object.status, status)) return;
    await api.writeCopyStatus(object.metadata.name, status);
    log.info(`copy ${status.phase}: ${status.message}`, { copy: object.metadata.name });
  };

  /** What failed is told; whatever was proved stays. */
  const writeError = async (object: SnapshotReplica, error: unknown): Promise<void> => {
    const text = error instanceof Error ? error.message : String(error);
    const message = (error instanceof HoldfastError ? text : `HF300: ${text}`).slice(0, 1024);
    await write(object, { ...object.status, phase: object.status?.phase ?? 'Pending', message }).catch(
      (writing: unknown) => log.warn('the error could not be written to the status', { error: describeError(writing) }),
    );
  };

  return {
    reconcile: async (name) => {
      for (let steps = 0; steps < MAX_STEPS; steps++) {
        const object = api.cachedCopy(name);
        if (object === undefined) return {};
        try {
          const plan = planCopy(await observe(object));
          if (plan.next === 'rest') {
            await write(object, plan.status);
            return plan.again ? { requeueAfterMs: AGAIN_MS } : {};
          }
          await execute(name, object.metadata.uid ?? '', plan.action);
          if (plan.action.kind === 'release') return {};
        } catch (error) {
          if (!(error instanceof KubeError)) await writeError(object, error);
          throw error;
        }
      }
      throw new Error(`copy ${name} isn't settled after ${MAX_STEPS} effects`);
    },
  };
}

/** Whether a snapshot counts on a copy. One that is not ready yet counts on none: what it may take is asked for anew. */
function recordOf(snapshot: ReplicatedSnapshot | undefined, copy: SnapshotReplica): SnapshotRecord {
  if (snapshot === undefined || snapshot.metadata.uid !== copy.spec.snapshotUid) return 'omits';
  if (snapshot.metadata.deletionTimestamp !== undefined) return 'omits';
  return (snapshot.status?.copies ?? []).some(({ uid }) => uid === copy.metadata.uid) ? 'names' : 'omits';
}
