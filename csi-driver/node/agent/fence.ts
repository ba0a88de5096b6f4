import { isReplicaNqn, VALVE_PREFIX } from '../../../lib/api/names.ts';
import type { MdMember } from '../../../lib/host/md.ts';
import { SysfsError } from '../../../lib/host/sysfs.ts';
import type { Logger } from '../../../lib/log.ts';
import type { AgentPorts } from './ports.ts';

/** A program that starts others faster than this often is killed in the next round. */
const KILL_LISTS = 5;

/**
 * Takes an array away that is no longer ours. First its users are killed, so that nobody is told of a write that only
 * this side has; then its legs fail, so that what waits in the kernel ends; then it is stopped. Works from what the
 * kernel has alone. One call is one round; the caller comes back until it returns false.
 * @returns whether anything is left.
 */
export async function fenceArray(
  name: string,
  { ports, log }: { readonly ports: AgentPorts; readonly log: Logger },
): Promise<boolean> {
  const { md, valves, nvme, users, sysfs, links } = ports;
  const array = md.readArray(name);
  const devNo = md.deviceNumber(name);
  if (array === undefined || devNo === undefined) {
    // A start that was cut off may have left one without anything in it.
    await md.stopArray(name);
    return false;
  }
  // First of all nobody new finds it.
  for (const path of links.list()) if (links.read(path) === `/dev/${name}`) await links.remove(path);
  if (!(await killUsers(name, devNo, { ports, log }))) return true;
  for (const point of await users.mountPoints(devNo)) await users.unmountLazily(point);

  const found = [...valves.list(VALVE_PREFIX).values()];
  const controllers = nvme.listControllers(isReplicaNqn);
  const legs = array.members.map(async (member) => {
    const valve = found.find(({ device }) => device === member.device);
    if (!valve) return;
    const below = valve.below[0];
    const path = below === undefined ? undefined : sysfs.readAttribute(`/sys/block/${below}/dev`);
    await valves.open(valve.name, path);
    const nqn = below === undefined ? undefined : sysfs.readAttribute(`/sys/block/${below}/device/subsysnqn`);
    const controller = controllers.find((candidate) => candidate.nqn === nqn);
    if (controller) await nvme.deleteController(controller.name);
    if (member.state.has('blocked')) await giveUp(name, member, md);
  });
  await Promise.all(legs);
  // Writes that were held for a snapshot end like the others; before this they would have found legs that work.
  if (md.isSuspended(name)) await md.resumeWrites(name);
  if (array.state === 'write-pending') await md.activate(name);
  try {
    await md.stopArray(name);
  } catch (error) {
    if (error instanceof SysfsError && error.code === 'EBUSY') return true;
    throw error;
  }
  for (const member of array.members) {
    const valve = found.find(({ device }) => device === member.device);
    if (valve) await valves.remove(valve.name);
  }
  log.warn('fenced: the array is gone', { array: name });
  return false;
}

/**
 * A member to which a write has failed is noted to be bad there: what is written there waits, also when it is no longer blocked,
 * unless the member has failed as a whole. That the last one can't be is as good: md takes no write any more then.
 */
async function giveUp(array: string, { device, state }: MdMember, md: AgentPorts['md']): Promise<void> {
  try {
    if (!state.has('faulty')) await md.failMember(array, device);
  } catch (error) {
    if (!(error instanceof SysfsError) || error.code !== 'EBUSY') throw error;
  }
  await md.unblockMember(array, device);
}

/**
 * Kills all who have the array open. They may go on being listed: what they wait for ends only with the legs. Whoever opened
 * it while they were listed is found by the next list.
 * @returns whether nobody is left who was not killed
 */
async function killUsers(
  array: string,
  devNo: string,
  { ports: { users }, log }: { readonly ports: AgentPorts; readonly log: Logger },
): Promise<boolean> {
  const killed = new Set<number>();
  for (let list = 0; list < KILL_LISTS; list++) {
    const fresh = (await users.list(devNo)).filter((pid) => !killed.has(pid));
    if (fresh.length === 0) return true;
    for (const pid of fresh) {
      users.kill(pid);
      killed.add(pid);
    }
    log.warn('fenced: killed the users of the array', { array, users: fresh });
  }
  return false;
}
