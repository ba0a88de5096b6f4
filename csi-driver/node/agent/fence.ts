import { run } from '../../../lib/host/exec.ts';
import * as md from '../../../lib/host/md.ts';
import { deleteController, listControllers } from '../../../lib/host/nvme.ts';
import { isReplicaNqn, VALVE_PREFIX } from '../../../lib/api/names.ts';
import { listDirectory, readAttribute, SysfsError } from '../../../lib/host/sysfs.ts';
import { listValves, openValve, removeValve } from '../../../lib/host/valve.ts';
import type { Logger } from '../../../lib/log.ts';
import { mountPointsOf, usersOf } from './users.ts';

/**
 * Takes an array away that is no longer ours. First its users are killed, so that nobody is told of a write that only
 * this side has; then its legs fail, so that what waits in the kernel ends; then it is stopped. Works from what the
 * kernel has alone. One call is one round; the caller comes back until it returns false.
 * @returns whether anything is left.
 */
export async function fenceArray(name: string, log: Logger): Promise<boolean> {
  const array = md.readArray(name);
  const devNo = readAttribute(`/sys/block/${name}/dev`);
  if (array === undefined || devNo === undefined) return false;
  const users = await usersOf(devNo, [`/dev/${name}`]);
  for (const pid of users) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
  if (users.length > 0) log.warn('fenced: killed the users of the array', { array: name, users });
  for (const point of await mountPointsOf(devNo)) await run('umount', ['--lazy', point], { ok: [0, 1, 32] });

  const valves = listValves(VALVE_PREFIX);
  const controllers = listControllers(isReplicaNqn);
  for (const member of array.members) {
    const valve = [...valves.values()].find((found) => found.device === member.device);
    if (!valve) continue;
    const below = valve.below[0];
    const path = below === undefined ? undefined : readAttribute(`/sys/block/${below}/dev`);
    await openValve(valve.name, path);
    const nqn = below === undefined ? undefined : readAttribute(`/sys/block/${below}/device/subsysnqn`);
    const controller = controllers.find((found) => found.nqn === nqn);
    if (controller) await deleteController(controller.name);
    if (member.state.has('blocked')) await md.unblockMember(name, member.device);
  }
  if (array.state === 'write-pending') await md.activate(name);
  try {
    await md.stopArray(name);
  } catch (error) {
    if (error instanceof SysfsError && error.code === 'EBUSY') return true;
    throw error;
  }
  for (const member of array.members) {
    const valve = [...valves.values()].find((found) => found.device === member.device);
    if (valve) await removeValve(valve.name);
  }
  log.warn('fenced: the array is gone', { array: name });
  return false;
}

/** Names of the arrays of ours that the kernel has. */
export function listArrays(prefix: string): string[] {
  return listDirectory('/sys/block').filter((name) => name.startsWith(prefix) && md.readArray(name) !== undefined);
}
