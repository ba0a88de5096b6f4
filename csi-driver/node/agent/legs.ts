import type { VolumeConnection } from '../../../lib/api/index.ts';
import { hostId, hostNqn, LEG_HEADER_BYTES, valveName } from '../../../lib/api/names.ts';
import { sleep } from '../../../lib/clock.ts';
import type { Valve } from '../../../lib/host/valve.ts';
import type { ExecuteContext } from './context.ts';
import type { LegFacts } from './facts.ts';

/** A TCP probe that takes longer than this is no answer. */
const PROBE_MS = 1000;
/** Pause after a connect that failed. */
const RECONNECT_PAUSE_MS = 1000;

/** Connects and disconnects take seconds when a node is gone; the loop goes on looking meanwhile. */
export function inBackground(
  nqn: string,
  { memory, log, ports }: ExecuteContext,
  work: () => Promise<void>,
): Promise<void> {
  const leg = memory.leg(nqn);
  if (leg.busy) return Promise.resolve();
  leg.busy = true;
  void work()
    .catch((error: Error) => {
      if (leg.connectError !== error.message)
        log.warn('leg: connect or disconnect failed', { leg: leg.replica, error: error.message });
      leg.connectError = error.message;
      return sleep(ports.clock, RECONNECT_PAUSE_MS);
    })
    .finally(() => {
      leg.busy = false;
    });
  return Promise.resolve();
}

export async function connectLeg(nqn: string, { memory, node, facts, log, ports }: ExecuteContext): Promise<void> {
  const leg = memory.leg(nqn);
  if (!(await ports.nvme.answersTcp(leg.address, leg.port, PROBE_MS)))
    throw new Error(`${leg.address}:${leg.port} does not answer`);
  const { keepAliveSeconds, fastIoFailSeconds } = pathTimeouts(facts.legTimeoutMs);
  const name = await ports.nvme.connectController({
    nqn,
    address: leg.address,
    port: leg.port,
    hostNqn: hostNqn(node),
    hostId: hostId(node),
    keepAliveSeconds,
    fastIoFailSeconds,
  });
  leg.connectError = undefined;
  log.info('leg connected', { leg: leg.replica, controller: name });
}

/**
 * The kernel's own timeouts (whole seconds) for a legTimeout: the controller notices a silent path within two
 * keep-alives, and its I/O moves up into the valve, both before legTimeout where that is long enough.
 */
export function pathTimeouts(legTimeoutMs: number): { keepAliveSeconds: number; fastIoFailSeconds: number } {
  const third = Math.max(1, Math.floor(legTimeoutMs / 3000));
  return { keepAliveSeconds: Math.min(5, third), fastIoFailSeconds: Math.min(5, third) };
}

export async function disconnectLeg(nqn: string, { facts, memory, ports }: ExecuteContext): Promise<void> {
  const leg = facts.legs.find((found) => found.nqn === nqn);
  if (leg?.valve) {
    await ports.valves.open(leg.valve.name, leg.namespace?.devNo);
    await ports.valves.remove(leg.valve.name);
  }
  if (leg?.controller) await ports.nvme.deleteController(leg.controller.name);
  if (!leg?.desired) memory.forget(nqn);
}

export async function swapLeg(leg: LegFacts, { connection, ports }: ExecuteContext): Promise<void> {
  if (!leg.namespace) return;
  await ports.valves.swap(valveName(leg.nqn), legBytes(connection), leg.namespace.devNo);
}

/** What of a leg md uses: the header and the volume. The LV may be larger by LVM's rounding. */
export const legBytes = (connection: VolumeConnection): number => LEG_HEADER_BYTES + connection.spec.sizeBytes;

/** A new valve over a leg that is no member of an array. */
export async function freshValve(
  leg: LegFacts,
  { connection, ports }: ExecuteContext,
): Promise<Pick<Valve, 'device' | 'devNo'>> {
  const { namespace } = leg;
  if (!namespace) throw new Error(`leg ${leg.replica} has no namespace`);
  if (namespace.sizeBytes < legBytes(connection)) {
    throw new Error(`leg ${leg.replica} has ${namespace.sizeBytes} bytes, but ${legBytes(connection)} are needed`);
  }
  return await ports.valves.make(valveName(leg.nqn), legBytes(connection), namespace.devNo);
}
