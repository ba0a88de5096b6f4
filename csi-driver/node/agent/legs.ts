import { hostId, hostNqn, valveName } from '../../../lib/api/names.ts';
import { sleep } from '../../../lib/clock.ts';
import type { Valve, ValveState } from '../../../lib/host/valve.ts';
import type { ExecuteContext } from './context.ts';
import type { Action, LegFacts } from './facts.ts';
import type { Background } from './memory.ts';

/** A TCP probe that takes longer than this is no answer. */
const PROBE_MS = 1000;
/** Pause after what failed: a node that does not answer is asked at a measured pace, md as soon as its I/O may have ended. */
const RECONNECT_PAUSE_MS = 1000;
const RETRY_PAUSE_MS = 200;

/**
 * Carries out what may wait for long (a node that is gone, or md, which waits for I/O that a leg holds back): the loop goes on
 * looking meanwhile, as it may be the one to end that wait.
 */
export function inBackground(
  { kind, nqn }: { readonly kind: Action['kind']; readonly nqn: string },
  context: ExecuteContext,
  work: () => Promise<void>,
): Promise<void> {
  const leg = context.memory.leg(nqn);
  return besideLoop(kind, leg.replica, leg, context, work);
}

/** {@link inBackground} for what is done with the array as a whole. */
export function withArray(kind: Action['kind'], context: ExecuteContext, work: () => Promise<void>): Promise<void> {
  return besideLoop(kind, context.connection.spec.volume, context.memory.array, context, work);
}

/** {@link inBackground} for a standstill of the volume's writes. */
export function withSuspension(
  kind: Action['kind'],
  context: ExecuteContext,
  work: () => Promise<void>,
): Promise<void> {
  return besideLoop(kind, context.connection.spec.volume, context.memory.suspension, context, work);
}

function besideLoop(
  kind: Action['kind'],
  name: string,
  trace: Background,
  context: ExecuteContext,
  work: () => Promise<void>,
): Promise<void> {
  if (trace.busy) return Promise.resolve();
  trace.busy = true;
  void work()
    .then(() => {
      trace.failure = undefined;
    })
    .catch((error: Error) => {
      const message = `${kind}: ${error.message}`;
      if (trace.failure !== message) context.log.warn(message, { of: name });
      trace.failure = message;
      return sleep(context.ports.clock, kind === 'Connect' ? RECONNECT_PAUSE_MS : RETRY_PAUSE_MS);
    })
    .finally(() => {
      trace.busy = false;
      context.changed();
    });
  return Promise.resolve();
}

/**
 * Has md add or remove a member, one at a time. md does neither before all I/O under way has ended (md.c, mddev_suspend), which
 * may take until another leg is dropped.
 */
export function reshape(
  action: { readonly kind: Action['kind']; readonly nqn: string },
  context: ExecuteContext,
  work: () => Promise<void>,
): Promise<void> {
  const { memory } = context;
  if (memory.reshaping !== undefined || memory.leg(action.nqn).busy) return Promise.resolve();
  memory.reshaping = action.nqn;
  return inBackground(action, context, () =>
    work().finally(() => {
      memory.reshaping = undefined;
    }),
  );
}

/** What `reshaping` says while the array itself is changed: it is made larger, or gets another number of places. */
export const GROWING = 'Grow' satisfies Action['kind'];

/** {@link reshape} for a change of the array itself, which waits for the same. */
export function reshapeArray(kind: typeof GROWING, context: ExecuteContext, work: () => Promise<void>): Promise<void> {
  const { memory, connection } = context;
  if (memory.reshaping !== undefined || memory.shape.busy) return Promise.resolve();
  memory.reshaping = kind;
  const done = (): void => {
    memory.reshaping = undefined;
  };
  return besideLoop(kind, connection.spec.volume, memory.shape, context, () => work().finally(done));
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

export async function swapLeg(leg: LegFacts, { ports, memory }: ExecuteContext): Promise<void> {
  if (!leg.namespace) return;
  const { sizeBytes, devNo } = leg.namespace;
  await ports.valves.swap(valveName(leg.nqn), sizeBytes, devNo);
  // It takes as long as I/O below does, and leaves the valve closed: of a leg that was dropped meanwhile it would never open again.
  if (memory.leg(leg.nqn).letGo) await ports.valves.open(valveName(leg.nqn), devNo);
}

/** A new valve over a leg that is no member of an array: over all of it, whatever md will use. */
export async function freshValve(
  leg: LegFacts,
  { ports, memory }: ExecuteContext,
  state: ValveState = 'closed',
): Promise<Pick<Valve, 'device' | 'devNo' | 'sizeBytes'>> {
  const { namespace } = leg;
  memory.leg(leg.nqn).letGo = false;
  if (!namespace) throw new Error(`leg ${leg.replica} has no namespace`);
  const { sizeBytes, devNo } = namespace;
  const made = await ports.valves.make(valveName(leg.nqn), sizeBytes, devNo, state);
  // device-mapper need not be asked: a new valve has not given its path up, and one that does so later holds I/O back.
  memory.leg(leg.nqn).suspectPath = false;
  return { ...made, sizeBytes };
}
