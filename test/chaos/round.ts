import type { Operation } from '../history/history.ts';
import { arrayName } from '../../lib/api/index.ts';
import { LabError } from '../lab/errors.ts';
import type { System } from '../system/system.ts';
import { look } from '../system/watch.ts';
import { pause } from '../system/workload.ts';
import { becomesHealthy, compareLegs, detachedInOrder, frozen, judge, nothingLeft, type Finding } from './checks.ts';
import { inject, mendAll, syncSpeed, untilSyncing, type Scene } from './inject.ts';
import { describeFault, labelOfRound, type Round, type Step } from './schedule.ts';
import { newLogs, type Workload } from './workload.ts';

/** What a round came to. */
export interface RoundResult {
  readonly round: Round;
  readonly findings: readonly Finding[];
  readonly acknowledged: number;
  /** The longest time without any acknowledgement from the first fault on, of the round's volume. */
  readonly stallMs: number;
  readonly tookMs: number;
  /** Where the time went. */
  readonly phasesMs: Readonly<Partial<Record<Phase, number>>>;
}

/**
 * - begin: the volumes are attached and written to
 * - faults: until the last fault of the schedule is over
 * - mend: until everything runs and all volumes are written to again
 * - heal: until all legs of all volumes are in sync
 * - check: histories, legs, leftovers
 * - detach: the same after the volumes were detached, when the round does so
 */
export type Phase = 'begin' | 'faults' | 'mend' | 'heal' | 'check' | 'detach';

/** So many writes before the first fault, and after all is healed. */
const SOME_WRITES = 20;
const WRITES_WITHIN_MS = 120_000;

/** A round can't go on; what was found. */
class RoundEnds extends Error {
  override readonly name = 'RoundEnds';
  readonly findings: readonly Finding[];
  constructor(findings: readonly Finding[]) {
    super(findings.map(({ text }) => text).join('; '));
    this.findings = findings;
  }
}

/**
 * One round: all volumes are written to, things go wrong by schedule, everything is mended; then the volumes must become
 * healthy, what was written must be there, the legs must be the same, and nothing may be left.
 */
export async function runRound(
  system: System,
  workloads: readonly Workload[],
  round: Round,
  notes: string[],
): Promise<RoundResult> {
  const startedMs = Date.now();
  const since = (): string => `${((Date.now() - startedMs) / 1000).toFixed(1).padStart(5)} s`;
  const note = (text: string): void => void notes.push(`${since()}  ${text}`);
  const workload = workloads.find(({ volume }) => volume.name === round.volume);
  if (!workload) throw new LabError(`there is no volume ${round.volume}`);
  const findings: Finding[] = [];
  const phasesMs: Partial<Record<Phase, number>> = {};
  let figures = { acknowledged: 0, stallMs: 0 };
  const phase = async <T>(name: Phase, work: () => Promise<T>): Promise<T> => {
    const fromMs = Date.now();
    try {
      return await work();
    } finally {
      phasesMs[name] = Date.now() - fromMs;
    }
  };
  try {
    await phase('begin', () => begin(system, workloads, note));
    const scene: Scene = {
      system,
      workload,
      workloads,
      legs: await legVms(system, round.volume),
      note,
      stalled: new Set(),
    };
    const faultsFromMs = Date.now();
    await phase('faults', () => playSteps(scene, round.steps));
    note('the faults are over');
    await phase('mend', () => mended(scene));
    note('everything is mended');
    await phase('heal', () => healed(system, workloads));
    note('healthy');
    const stoppedMs = Date.now();
    await phase('check', async () => {
      figures = await judged(workloads, workload, { faultsFromMs, stoppedMs }, findings);
      note('the histories are checked');
      findings.push(...(await sameLegs(system, workloads)));
      note('the legs are compared');
      findings.push(...(await leftOver(system, workloads)));
    });
    if (round.detach) {
      await phase('detach', async () => {
        await orEnd('stuck', () => Promise.all(workloads.map((each) => each.detach())));
        const all = workloads.map(({ volume }) => volume);
        for (const volume of all)
          findings.push(...(await detachedInOrder(system, volume)), ...(await compareLegs(system, volume)));
        findings.push(...(await leftOver(system, workloads)));
      });
    }
  } catch (error) {
    if (!(error instanceof RoundEnds)) throw error;
    findings.push(...error.findings);
  }
  note(findings.length === 0 ? 'right' : findings.map(({ what }) => what).join(', '));
  return { round, findings, ...figures, phasesMs, tookMs: Date.now() - startedMs };
}

async function begin(system: System, workloads: readonly Workload[], note: (text: string) => void): Promise<void> {
  await newLogs(system.lab);
  await orEnd('stuck', () => Promise.all(workloads.map((workload) => workload.begin())));
  await healed(system, workloads);
  for (const { volume, client } of workloads)
    note(`${volume.name} on ${client().name}, ${await replicaText(system, volume.name)}`);
}

/** Waits until all replicas of all volumes are in sync, and some writes have been acknowledged since. */
async function healed(system: System, workloads: readonly Workload[]): Promise<void> {
  const sick = await Promise.all(workloads.map(({ volume }) => becomesHealthy(system, volume)));
  const found = sick.filter((finding) => finding !== undefined);
  if (found.length > 0) throw new RoundEnds(found);
  await orEnd('stuck', () =>
    Promise.all(workloads.map((workload) => workload.acknowledges(WRITES_WITHIN_MS, SOME_WRITES))),
  );
}

async function playSteps(scene: Scene, steps: readonly Step[]): Promise<void> {
  const awaited = steps.some(({ after }) => after !== undefined);
  const speed = syncSpeed(awaited ? 'slowly' : 'at once');
  await Promise.all(scene.system.lab.clients.map((vm) => vm.exec(speed)));
  await Promise.all(steps.map((step) => runStep(scene, step)));
}

async function mended(scene: Scene): Promise<void> {
  const { workloads } = scene;
  await mendAll(scene);
  await orEnd('stuck', async () => {
    await Promise.all(
      workloads.map(async (workload) => {
        await workload.settled();
        await workload.ensureWriting();
        await workload.tidy();
        await workload.acknowledges(WRITES_WITHIN_MS);
      }),
    );
  });
}

/** The writers rest; what they did and what the volumes hold must fit. */
async function judged(
  workloads: readonly Workload[],
  main: Workload,
  { faultsFromMs, stoppedMs }: { readonly faultsFromMs: number; readonly stoppedMs: number },
  findings: Finding[],
): Promise<{ acknowledged: number; stallMs: number }> {
  const held = await orEnd('stuck', () => Promise.all(workloads.map((workload) => workload.rest())));
  let acknowledged = 0;
  let stallMs = 0;
  for (const [index, workload] of workloads.entries()) {
    const values = held[index] ?? [];
    const history = await workload.history(values);
    findings.push(...judge(workload.volume, history));
    workload.remember(values);
    const acks = acknowledgements(history.operations);
    acknowledged += acks.length;
    if (workload === main) stallMs = longestPauseMs(acks, faultsFromMs, stoppedMs);
  }
  return { acknowledged, stallMs };
}

async function sameLegs(system: System, workloads: readonly Workload[]): Promise<Finding[]> {
  const found = await Promise.all(
    workloads.map(({ volume, client }) => frozen(volume, client(), () => compareLegs(system, volume))),
  );
  return found.flat();
}

async function leftOver(system: System, workloads: readonly Workload[]): Promise<Finding[]> {
  const left = await nothingLeft(
    system,
    workloads.map(({ volume }) => volume),
  );
  return left ? [left] : [];
}

/** @throws RoundEnds with what went wrong */
async function orEnd<T>(what: Finding['what'], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new RoundEnds([{ what, text: messageOf(error) }]);
  }
}

async function runStep(scene: Scene, { atMs, forMs, fault, after }: Step): Promise<void> {
  const { system, workload, note } = scene;
  const name = describeFault(fault);
  try {
    if (after === 'sync') {
      const uid = (await system.volumes.get(workload.volume.name))?.metadata.uid ?? '';
      await untilSyncing(workload.client(), arrayName(uid));
      note('md copies');
    }
    await pause(atMs);
    const beganMs = Date.now();
    const undo = await inject(scene, fault);
    note(name);
    await pause(Math.max(0, forMs - (Date.now() - beganMs)));
    await undo();
    note(`${name}: over`);
  } catch (error) {
    // Another fault took away what this one needs (a VM is off, the API server is down); what it left is mended at the end.
    note(`${name}: ${messageOf(error).slice(0, 200)}`);
  }
}

async function legVms({ volumes: api, lab }: System, name: string): Promise<Scene['legs']> {
  const replicas = (await api.get(name))?.status?.replicas ?? [];
  return replicas.filter(({ role }) => role === 'Member').map(({ storageNode }) => lab.vm(storageNode));
}

async function replicaText(system: System, name: string): Promise<string> {
  const { volume } = await look(system, name);
  return (volume.status?.replicas ?? []).map((replica) => `${replica.name} on ${replica.storageNode}`).join(', ');
}

const acknowledgements = (operations: readonly Operation[]): number[] =>
  operations
    .flatMap(({ kind, completedMs }) => (kind === 'write' && completedMs !== undefined ? [completedMs] : []))
    .sort((a, b) => a - b);

/** The longest time between two acknowledgements, or before the first and after the last, in a span of time. */
export function longestPauseMs(acksMs: readonly number[], fromMs: number, toMs: number): number {
  const inside = acksMs.filter((ms) => ms > fromMs && ms < toMs);
  let before = acksMs.findLast((ms) => ms <= fromMs) ?? fromMs;
  let longest = 0;
  for (const ms of [...inside, toMs]) {
    longest = Math.max(longest, ms - before);
    before = ms;
  }
  return Math.round(longest);
}

export const messageOf = (error: unknown): string => (error instanceof LabError ? error.message : String(error));

/** `12  single  leg-cut 1 both, 4.2 s` */
export function describeRound(number: number, round: Round): string {
  const steps = round.steps.map(
    ({ atMs, forMs, fault }) => `${describeFault(fault)} (at ${atMs / 1000} s for ${forMs / 1000} s)`,
  );
  return `round ${number}: ${round.volume}, ${labelOfRound(round)}: ${steps.join(', ')}`;
}
