import { arrayState, memberState } from '../../../lib/host/md.ts';
import { controllerState } from '../../../lib/host/nvme.ts';
import { readBlockStat } from '../../../lib/host/sysfs.ts';
import type { ConnectionFacts } from './facts.ts';
import type { VolumeMemory } from './memory.ts';

/** What a glance reads, each a file of the kernel's. Undefined: it is gone. */
export const KERNEL = { arrayState, memberState, controllerState, readBlockStat };

/** What md's array_state says while nothing waits for the agent. */
const AT_EASE = new Set<string | undefined>(['active', 'active-idle', 'clean']);

/**
 * A glance at a volume that was calm at the last full look: the array's state, and of each leg the controller's state, what
 * md says of the member, and whether I/O gets through. It costs a fourth of a full look.
 * @param before the facts of the last full look
 * @returns whether all is as calm as it was; false asks for a full look, which decides
 */
export function stillCalm(
  array: string,
  before: Pick<ConnectionFacts, 'legs'>,
  memory: Pick<VolumeMemory, 'leg'>,
  nowMs: number,
  kernel = KERNEL,
): boolean {
  if (!AT_EASE.has(kernel.arrayState(array))) return false;
  return before.legs.every(({ nqn, controller, namespace, valve, member }) => {
    if (!controller || !namespace || !valve || !member) return false;
    const live = kernel.controllerState(controller.name) === 'live';
    const stat = kernel.readBlockStat(namespace.name);
    const { tracker } = memory.leg(nqn);
    tracker.sample({ live, stat }, nowMs);
    const state = kernel.memberState(array, member.device);
    const belongs = state?.has('in_sync') === true && !state.has('faulty') && !state.has('blocked');
    const waitsInValve = stat?.inFlight === 0 && (kernel.readBlockStat(valve.device)?.inFlight ?? 0) > 0;
    return live && belongs && !waitsInValve && tracker.quietMs(nowMs) === 0;
  });
}
