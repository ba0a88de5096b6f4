/** Runs a schedule: the faults in their time, then everything is healed, and the world must come to rest as it should be. */
import type { Violation } from './laws.ts';
import type { DiskHealth } from './kernel/types.ts';
import { API } from './network.ts';
import type { Schedule, Shape, Step } from './schedule.ts';
import { deleteSnapshots, snapshotsAtRest, snapshotsLeft } from './snapshots.ts';
import type { Trace, World, WorldOptions } from './world.ts';
import { createWorld } from './world.ts';

export interface Outcome {
  readonly violation: Violation | undefined;
  /** Events that the scheduler ran, and virtual time. */
  readonly events: number;
  readonly virtualMs: number;
  readonly acknowledged: number;
}

/** Time that the world is given to become healthy once all faults have ended, and to let go of everything. */
const PATIENCE_MS = 150_000;
const LOOK_MS = 500;
/** With one replica left, what such a disk answers is for the user to see. */
const FAILING: ReadonlySet<DiskHealth> = new Set(['errors', 'bad sectors', 'full', 'full bitmap']);
const API_RESTART_MS = 1000;
/** Programs that have just been started have reported by then. */
const SETTLED_MS = 3000;

/** @param prepare called with the world before anything happens in it */
export async function runSchedule(
  schedule: Schedule,
  options: WorldOptions = {},
  prepare: (world: World) => void = () => undefined,
): Promise<Outcome> {
  const diskErrors = schedule.steps.some((step) => step.kind === 'disk' && FAILING.has(step.health));
  const world = createWorld(schedule.seed, schedule.shape, { ...options, diskErrors });
  prepare(world);
  const { scheduler, laws, history } = world;
  const isBroken = (): boolean => laws.violation() !== undefined;
  const isLate = (step: Step): boolean => step.atMs >= schedule.healMs;
  for (const step of schedule.steps.filter((each) => !isLate(each))) {
    scheduler.after(undefined, step.atMs, 'step', () => apply(world, step, options.trace));
  }
  await scheduler.run(schedule.healMs, isBroken);
  if (!isBroken()) {
    options.trace?.(scheduler.now(), 'world', 'all faults end');
    healAll(world);
    if (isContinuing(schedule.shape)) world.admin.recoverWhenAsked();
    await afterwards(world, schedule.steps.filter(isLate), options.trace);
    await comesToRest(world, schedule);
  }
  const acknowledged = history.filter(({ kind, completedMs }) => kind === 'write' && completedMs !== undefined).length;
  return { violation: laws.violation(), events: scheduler.events(), virtualMs: scheduler.now(), acknowledged };
}

/** Whether a client may go on without a record, so that a person may have to recover. */
const isContinuing = ({ onControlPlaneLoss = '' }: Shape): boolean => onControlPlaneLoss.startsWith('Continue');

/** What is done to a world in which every machine and every program is up. */
async function afterwards(world: World, steps: readonly Step[], trace: Trace | undefined): Promise<void> {
  const { scheduler, services } = world;
  if (steps.length === 0) return;
  const areUp = (): boolean => [...services.values()].every((service) => service.handle().alive);
  while (!areUp()) await scheduler.run(scheduler.now() + LOOK_MS);
  await scheduler.run(scheduler.now() + SETTLED_MS);
  for (const step of steps) apply(world, step, trace);
  await scheduler.run(scheduler.now() + SETTLED_MS);
}

function apply(world: World, step: Step, trace: Trace | undefined): void {
  const { scheduler, network, health, services, storage } = world;
  trace?.(scheduler.now(), 'fault', describe(step));
  const later = (ms: number, run: () => void): void => void scheduler.after(undefined, ms, 'fault ends', run);
  switch (step.kind) {
    case 'kill':
      services.get(step.program)?.killAfter(step.afterTurns, step.downMs);
      return;
    case 'pause': {
      const handle = services.get(step.program)?.handle();
      if (handle !== undefined) scheduler.hold(handle, scheduler.now() + step.forMs);
      return;
    }
    case 'power':
      for (const machine of step.machines) world.powerOff(machine);
      later(step.offMs, () => {
        for (const machine of step.machines) world.powerOn(machine);
      });
      return;
    case 'cut':
      network.cut(step.from, step.to);
      if (step.both) network.cut(step.to, step.from);
      later(step.forMs, () => {
        network.heal(step.from, step.to);
        network.heal(step.to, step.from);
      });
      return;
    case 'slow':
      network.slow(step.from, step.to, step.ms);
      later(step.forMs, () => network.slow(step.from, step.to, 0));
      return;
    case 'api': {
      const [set, reset] = apiFault(step.what);
      Object.assign(health, set);
      later(step.forMs, () => Object.assign(health, reset));
      return;
    }
    case 'disk':
      storage.get(step.machine)?.setHealth(step.health);
      later(step.forMs, () => storage.get(step.machine)?.setHealth('well'));
      return;
    case 'move':
      world.user.move(step.to, step.orderly);
      return;
    case 'restore':
      Object.assign(health, { down: true });
      later(API_RESTART_MS, () => Object.assign(health, { down: false }));
      world.laws.onRestore(() => world.api.restore(scheduler.now() - step.backMs, step.bumped));
      world.user.forget(world.volume()?.spec.attachTo ?? '');
      world.admin.recoverAlways();
      return;
    case 'replicas':
      world.change({ replicas: step.count });
      return;
    case 'snapshot':
      world.snapshot();
      return;
    case 'expand':
      world.expand();
      return;
    case 'force':
      world.admin.force(step.forMs);
      return;
    case 'clock':
      world.setClock(step.machine, step.byMs);
      return;
  }
}

function apiFault(what: Extract<Step, { kind: 'api' }>['what']): [Partial<World['health']>, Partial<World['health']>] {
  switch (what) {
    case 'down':
      return [{ down: true }, { down: false }];
    case 'slow':
      return [{ slowness: 200 }, { slowness: 1 }];
    case 'lag':
      return [{ watchLagMs: 4000 }, { watchLagMs: 0 }];
    case 'lost-answers':
      return [{ lostAnswers: 3 }, { lostAnswers: 0 }];
  }
}

function healAll(world: World): void {
  const { network, health, storage, clients } = world;
  network.healAll();
  Object.assign(health, { down: false, slowness: 1, watchLagMs: 0, lostAnswers: 0 });
  for (const [machine, kernel] of storage) {
    world.powerOn(machine);
    kernel.setHealth('well');
  }
  for (const machine of clients.keys()) world.powerOn(machine);
}

/** After any schedule the volume heals, can be written, and in the end nothing is left of what isn't needed. */
async function comesToRest(world: World, { shape, restsOn = 'c1' }: Schedule): Promise<void> {
  const { scheduler, laws, user } = world;
  const until = async (what: string, whatNot: () => string | undefined): Promise<boolean> => {
    const endMs = scheduler.now() + PATIENCE_MS;
    while (scheduler.now() < endMs) {
      await scheduler.run(scheduler.now() + LOOK_MS, () => laws.violation() !== undefined);
      if (laws.violation() !== undefined) return false;
      if (whatNot() === undefined) return true;
    }
    laws.broken(what, `${PATIENCE_MS / 1000} s after all faults have ended: ${whatNot()}`);
    return false;
  };
  user.move(restsOn, true);
  const sinceMs = scheduler.now();
  if (!(await until('the volume recovers', () => notHealthy(world, restsOn, sinceMs)))) return;
  // A client that was too late with its lease is fenced, and its array is not clean: the next attachment makes it so.
  for (let times = 0; times < 3; times += 1) {
    user.move('', true);
    if (!(await until('the volume is detached', () => notDetached(world)))) return;
    if (world.volume()?.status?.attachment?.clean === true) break;
    user.move(restsOn, true);
    const againMs = scheduler.now();
    if (!(await until('the volume recovers', () => notHealthy(world, restsOn, againMs)))) return;
  }
  if (!laws.wasRestored() && !(await until('snapshots are taken', () => snapshotsAtRest(world)))) return;
  const volume = world.volume();
  if (volume !== undefined) laws.atRest(volume);
  if (laws.violation() !== undefined || !shape.teardown) return;
  // Nobody recovers what is to be deleted: what a restored API server has forgotten is still on disks, and would come back.
  world.admin.rest();
  deleteSnapshots(world.api);
  world.api.volumes.delete(volume?.metadata.name ?? '');
  await until('the volume is deleted', () => leftOf(world));
}

function notHealthy(world: World, client: string, sinceMs: number): string | undefined {
  const { user, api } = world;
  const { status, spec } = world.volume() ?? {};
  if (status?.phase !== 'Healthy') return `the volume is ${status?.phase}: ${status?.message}`;
  if (status.inSync?.length !== spec?.replicas) return `in sync: ${status.inSync?.join()}`;
  if (status.attachment?.node !== client) return `attached to ${status.attachment?.node || 'nobody'}`;
  if ((status.capacityBytes ?? 0) < (spec?.capacityBytes ?? 0)) return `it has not grown: ${status.message}`;
  if (api.replicas.rows.size !== spec?.replicas) return `replicas: ${[...api.replicas.rows.keys()].join()}`;
  return user.lastAckMs() > sinceMs + 500 ? undefined : 'no write is acknowledged';
}

function notDetached(world: World): string | undefined {
  const { status } = world.volume() ?? {};
  if (status?.attachment?.node !== '') return `attached to ${status?.attachment?.node}: ${status?.message}`;
  return clientLeftovers(world) ?? storageLeftovers(world);
}

function clientLeftovers({ clients }: World): string | undefined {
  for (const [machine, kernel] of clients) {
    const left = Object.entries(kernel.leftovers()).filter(([, names]) => names.length > 0);
    if (left.length > 0)
      return `${machine} still has ${left.map(([what, names]) => `${what} ${names.join()}`).join('; ')}`;
  }
  return undefined;
}

function storageLeftovers({ storage, api, laws }: World): string | undefined {
  for (const [machine, kernel] of storage) {
    const known = [...api.replicas.rows.values()].filter(({ spec }) => spec.storageNode === machine);
    const uids = new Set(known.map(({ metadata }) => metadata.uid));
    const strangers = kernel.replicas().filter((uid) => !uids.has(uid));
    // What was made after the backup, and is no part of the last record, is for a person to take away.
    if (strangers.length > 0 && !laws.wasRestored()) return `${machine} still has the volumes of ${strangers.join()}`;
    const open = kernel.exports().filter(({ nqn }) => ![...uids].some((uid) => uid !== undefined && nqn.includes(uid)));
    if (open.length > 0 && !laws.wasRestored()) return `${machine} still exports ${open.map(({ nqn }) => nqn).join()}`;
    const held = kernel.exports().filter(({ controllers }) => controllers.length > 0);
    if (held.length > 0) return `${machine} still has controllers of ${held.map(({ nqn }) => nqn).join()}`;
  }
  return undefined;
}

function leftOf(world: World): string | undefined {
  const { volumes, replicas, connections } = world.api;
  const left = [...volumes.rows.keys(), ...replicas.rows.keys(), ...connections.rows.keys()];
  if (left.length > 0) return `objects left: ${left.join()}`;
  const ofSnapshots = world.laws.wasRestored() ? undefined : snapshotsLeft(world);
  return ofSnapshots ?? clientLeftovers(world) ?? storageLeftovers(world);
}

/** A step for people. */
export function describe(step: Step): string {
  switch (step.kind) {
    case 'kill':
      return `${step.program} is killed after ${step.afterTurns} more effects, for ${step.downMs} ms`;
    case 'pause':
      return `${step.program} stands still for ${step.forMs} ms`;
    case 'power':
      return `power of ${step.machines.join(', ')} off for ${step.offMs} ms`;
    case 'cut':
      return `cut ${step.from} ${step.both ? '<' : ''}-> ${step.to} for ${step.forMs} ms`;
    case 'slow':
      return `${step.from} -> ${step.to} takes ${step.ms} ms, for ${step.forMs} ms`;
    case 'api':
      return `${API}: ${step.what} for ${step.forMs} ms`;
    case 'disk':
      return `disks of ${step.machine}: ${step.health} for ${step.forMs} ms`;
    case 'move':
      return `the volume is wanted ${step.to === '' ? 'nowhere' : `on ${step.to}`}${step.orderly ? '' : ', at once'}`;
    case 'restore':
      return `${API}: restored from a backup of ${step.backMs} ms ago${step.bumped ? '' : ', versions begin anew'}`;
    case 'replicas':
      return `the volume is to have ${step.count} replicas`;
    case 'snapshot':
      return 'a snapshot of the volume is wanted';
    case 'expand':
      return 'the volume is to be larger';
    case 'clock':
      return `the clock of ${step.machine} is set by ${step.byMs} ms`;
    case 'force':
      return `for ${step.forMs} ms a person would force a start`;
  }
}
