import type { StorageNode } from '../../lib/api/index.ts';
import type { LvmGroup, LvmPhysical } from '../../lib/host/lvm.ts';
import type { Ports } from '../ports.ts';
import type { VolumeCache } from '../volumes.ts';
import {
  groupOf,
  planPool,
  type PoolAction,
  type PoolDevice,
  type PoolFigures,
  type PoolProblem,
  type PoolSpec,
  type PoolWorld,
} from './plan.ts';

/** A pool needs three effects at most: group, thin pool, activation (and one more after a crash). */
const MAX_STEPS = 6;

/** How a pool stands after its loop has done what can be done. */
export type PoolOutcome =
  | { readonly pool: string; readonly figures: PoolFigures; readonly problem: PoolProblem | undefined }
  | { readonly pool: string; readonly figures: undefined; readonly problem: PoolProblem };

async function observeDevices(
  ports: Ports,
  spec: PoolSpec,
  group: LvmGroup | undefined,
  physicals: readonly LvmPhysical[],
): Promise<PoolDevice[]> {
  return await Promise.all(
    (spec.devices ?? []).map(async (path) => {
      const real = await ports.disks.resolve(path);
      const physical = real === undefined ? undefined : physicals.find((each) => each.device === real);
      // Looked at before a group is made, never later: a disk in use needs no looking at.
      const disk = group === undefined ? await ports.disks.probe(path) : undefined;
      return { path, physical, disk };
    }),
  );
}

/** Looks at one pool. */
export async function observePool(ports: Ports, volumes: VolumeCache, spec: PoolSpec): Promise<PoolWorld> {
  const name = groupOf(spec);
  const group = (await ports.lvm.groups()).find((each) => each.name === name);
  const physicals = spec.devices === undefined ? [] : await ports.lvm.physicals();
  const list = group === undefined ? [] : (await volumes.get()).filter((each) => each.group === name);
  return { spec, group, volumes: list, devices: await observeDevices(ports, spec, group, physicals) };
}

async function execute(ports: Ports, action: PoolAction): Promise<void> {
  ports.log.info(`pool: ${action.kind}`, { ...action });
  switch (action.kind) {
    case 'create-group':
      await ports.lvm.createGroup(action.group, action.devices, action.tags);
      return;
    case 'create-pool':
      await ports.lvm.createThinPool(action.pool);
      return;
    case 'remove-half-made-pool':
      await ports.lvm.remove(action.group, action.name);
      return;
    case 'activate-pool':
      await ports.lvm.activate(action.group, action.name);
      return;
  }
}

/** Brings one pool as far as it goes: made, active, or refused with the reason. Errors become problems, pools don't share them. */
export async function setUpPool(ports: Ports, volumes: VolumeCache, spec: PoolSpec): Promise<PoolOutcome> {
  try {
    for (let steps = 0; steps < MAX_STEPS; steps++) {
      // The disks are probed in this very step, so the look is its own guard.
      const plan = planPool(await observePool(ports, volumes, spec));
      switch (plan.next) {
        case 'ready':
          return { pool: spec.name, figures: plan.figures, problem: plan.warning };
        case 'refuse':
          return { pool: spec.name, figures: undefined, problem: plan.problem };
        case 'act':
          await execute(ports, plan.action);
      }
    }
    throw new Error(`it isn't settled after ${MAX_STEPS} effects`);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    ports.log.error('a pool could not be set up', { pool: spec.name, error: message });
    return { pool: spec.name, figures: undefined, problem: { code: 'HF304', reason: 'SetupFailed', message } };
  }
}

/** All pools of a node, one after the other. */
export async function setUpPools(ports: Ports, volumes: VolumeCache, node: StorageNode): Promise<PoolOutcome[]> {
  const outcomes: PoolOutcome[] = [];
  for (const spec of node.spec.pools) outcomes.push(await setUpPool(ports, volumes, spec));
  return outcomes;
}
