import { arrayName } from '../../../lib/api/names.ts';
import { describeError } from '../../../lib/describe-error.ts';
import { hasErred } from '../../../lib/host/md.ts';
import { together } from '../../../lib/together.ts';
import type { ExecuteContext } from './context.ts';
import { ioTimeoutMs } from './leg-records.ts';
import type { VolumeMemory } from './memory.ts';
import type { AgentPorts } from './ports.ts';

/*
 * A standstill: the writes of a volume wait for a moment, so that the same content is on all its in-sync legs and can be
 * snapshotted there. Whoever asked may count on it only if it lasted until the release was read; that is checked here, against
 * the kernel, and no clock is part of it. It ends by itself: by a timer of this process, and should this process be gone, by a
 * guard, and by the next start of the agent.
 */

/** The guard comes so much later than this process's own timer. */
const GUARD_AFTER_MS = 1_000;
/** What a filesystem has in memory is written out before, as far as that is done within this time. */
const SYNC_MS = 5_000;
const RETRY_MS = 100;

/** Makes the standstill short: what the filesystem has in memory is written out before writes are held. */
export async function prepareSuspension(request: string, context: ExecuteContext): Promise<void> {
  const { memory, ports, connection, log } = context;
  memory.standstill = { request, state: 'Preparing', token: '', replicas: [] };
  const devNo = ports.md.deviceNumber(arrayName(connection.spec.volumeUid));
  const mounts = devNo === undefined ? [] : await ports.users.mountPoints(devNo);
  // All mounts of a device are one filesystem.
  const [mountPoint] = mounts;
  if (mountPoint !== undefined) {
    await ports.syncFilesystem(mountPoint, SYNC_MS).catch((error: unknown) => {
      log.warn('the filesystem was not written out before the snapshot, which then is as after a crash', {
        volume: connection.spec.volume,
        error: describeError(error),
      });
    });
  }
  memory.standstill = { request, state: 'Ready', token: '', replicas: [] };
}

/**
 * Holds writes, for `limitMs` at most. When it returns, nothing is under way on any leg and all of it is durable there, or the
 * standstill is over already.
 */
export async function suspend(
  { request, limitMs }: { readonly request: string; readonly limitMs: number },
  context: ExecuteContext,
): Promise<void> {
  const { memory, ports, connection, log } = context;
  const { clock, md } = ports;
  const name = arrayName(connection.spec.volumeUid);
  const token = ports.newToken();
  const startedMs = clock.monotonicMs();
  memory.standstill = { request, state: 'Suspending', token, replicas: [] };
  const endGuard = await ports.guardSuspension(name, limitMs + GUARD_AFTER_MS);
  let over: Promise<void> | undefined;
  const end = (released: boolean): Promise<void> => (over ??= endNow(released));
  const isOver = (): boolean => over !== undefined;
  const cancel = clock.setTimeout(() => {
    log.warn('a snapshot took too long: writes go on without it', { volume: connection.spec.volume });
    void end(false).then(() => context.changed());
  }, limitMs);

  async function endNow(released: boolean): Promise<void> {
    // Before it is lifted: what was read of the copies counts only if it has held until now.
    const held = md.isSuspended(name) && memory.standstill?.token === token && memory.standstill.state === 'Suspended';
    const replicas = memory.standstill?.token === token ? memory.standstill.replicas : [];
    await resume(name, ports);
    cancel();
    endGuard();
    const heldMs = Math.round(clock.monotonicMs() - startedMs);
    const isWhole = released && held;
    memory.standstill = { request, token, state: isWhole ? 'Released' : 'Broken', replicas, heldMs };
    memory.endStandstill = undefined;
    log.info(isWhole ? 'writes were held for a snapshot' : 'a standstill ended early', { array: name, heldMs });
  }

  memory.endStandstill = end;
  try {
    await md.suspendWrites(name);
  } catch (error) {
    await end(false);
    throw error;
  }
  if (isOver()) {
    // The time was up before md had ended all I/O: the end came first, and this after it.
    await end(false);
    await resume(name, ports);
    return;
  }
  const array = md.readArray(name);
  const equal = context.facts.legs.filter((leg) => {
    const member = array?.members.find(({ device }) => device === leg.member?.device);
    return leg.recorded && member?.state.has('in_sync') === true && !hasErred(member);
  });
  try {
    // What a leg's disks hold in a volatile cache would be in its copy, or not, if its node loses power before that is taken.
    await together(equal, ({ valve }) => ports.flushDevice(valve?.device ?? '', ioTimeoutMs(context)));
  } catch (error) {
    await end(false);
    throw error;
  }
  if (isOver()) return await end(false);
  memory.standstill = { request, state: 'Suspended', token, replicas: equal.map((leg) => leg.replica) };
}

/** Ends a standstill; what is not known here, of a process before this one, is over and counts for nothing. */
export async function endSuspension(request: string, released: boolean, memory: VolumeMemory): Promise<void> {
  if (memory.endStandstill) await memory.endStandstill(released);
  else memory.standstill = { request, state: 'Broken', token: '', replicas: [], message: 'the agent was started anew' };
}

/** Lets writes go on; tries until md takes the order, as nobody else would. */
async function resume(name: string, { md, clock }: Pick<AgentPorts, 'md' | 'clock'>): Promise<void> {
  for (;;) {
    try {
      await md.resumeWrites(name);
      return;
    } catch {
      // md answers EBUSY or EINTR while it is taken apart.
      if (md.readArray(name) === undefined) return;
      await new Promise<void>((done) => void clock.setTimeout(done, RETRY_MS));
    }
  }
}

/**
 * Whatever was held for a process before this one goes on: nobody waits for it any more. Ends when md has taken the order, for which
 * it may wait until I/O has ended that a leg holds back.
 */
export async function resumeAll(names: readonly string[], ports: Pick<AgentPorts, 'md' | 'clock'>): Promise<void> {
  await Promise.all(names.filter((name) => ports.md.isSuspended(name)).map((name) => resume(name, ports)));
}
