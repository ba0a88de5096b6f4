import type { Operation } from '../history/history.ts';
import { LabError } from '../lab/errors.ts';
import type { System } from '../system/system.ts';
import { look } from '../system/watch.ts';
import { pause } from '../system/workload.ts';
import { becomesHealthy, compareLegs, judge, nothingLeft, type Finding } from './checks.ts';
import { inject, mendAll, type Scene } from './inject.ts';
import { describeFault, labelOfRound, type Round, type Step } from './schedule.ts';
import { volumes, type Workload } from './workload.ts';

/** What a round came to. */
export interface RoundResult {
  readonly round: Round;
  readonly findings: readonly Finding[];
  readonly acknowledged: number;
  /** The longest time without any acknowledgement from the first fault on. */
  readonly stallMs: number;
  readonly tookMs: number;
  /** From everything mended to everything healthy. */
  readonly healedMs: number;
  readonly notes: readonly string[];
}

/** Time for the writer before the first fault, and after the last is mended and healed. */
const QUIET_MS = 1500;
const WRITES_WITHIN_MS = 120_000;

/**
 * One round: a volume is attached and written to, things go wrong by schedule, everything is mended; then it must become
 * healthy, what was written must be there, the legs must be the same, and nothing may be left.
 */
export async function runRound(
  system: System,
  workload: Workload,
  round: Round,
  notes: string[],
): Promise<RoundResult> {
  const startedMs = Date.now();
  const since = (): string => `${((Date.now() - startedMs) / 1000).toFixed(1).padStart(5)} s`;
  const note = (text: string): void => void notes.push(`${since()}  ${text}`);
  const volume = volumes[round.volume];
  const findings: Finding[] = [];
  const result = { round, findings, acknowledged: 0, stallMs: 0, healedMs: 0, notes };
  const ended = (more: Partial<RoundResult> = {}): RoundResult => ({
    ...result,
    ...more,
    tookMs: Date.now() - startedMs,
  });

  await workload.begin(volume);
  const early = await becomesHealthy(system, volume);
  if (early) return ended({ findings: [early] });
  note(`${volume.name} on ${workload.client().name}, ${await replicaText(system, round.volume)}`);
  await pause(QUIET_MS);
  const legs = await legVms(system, round.volume);
  const scene: Scene = { system, workload, legs, note, stalled: new Set() };
  const faultsFromMs = Date.now();
  await Promise.all(round.steps.map((step) => runStep(scene, step, note)));
  note('everything is mended');
  const mendedMs = Date.now();
  await mendAll(scene);
  try {
    await workload.settled();
    await workload.ensureWriting();
    await workload.acknowledges(WRITES_WITHIN_MS);
  } catch (error) {
    return ended({ findings: [{ what: 'stuck', text: messageOf(error) }] });
  }
  const sick = await becomesHealthy(system, volume);
  if (sick) return ended({ findings: [sick] });
  const healedMs = Date.now() - mendedMs;
  note('healthy');
  await pause(QUIET_MS);
  const stoppedMs = Date.now();
  try {
    await workload.stopWriting();
    const values = await workload.dump();
    const history = await workload.history(values);
    findings.push(...judge(history));
    workload.remember(volume, values);
    const acks = acknowledgements(history.operations);
    Object.assign(result, {
      acknowledged: acks.length,
      healedMs,
      stallMs: longestPauseMs(acks, faultsFromMs, stoppedMs),
    });
    await workload.detach();
  } catch (error) {
    findings.push({ what: 'stuck', text: messageOf(error) });
    return ended();
  }
  findings.push(...(await compareLegs(system, volume)));
  const left = await nothingLeft(system, Object.values(volumes));
  if (left) findings.push(left);
  note(findings.length === 0 ? 'right' : findings.map(({ what }) => what).join(', '));
  return ended();
}

async function runStep(scene: Scene, { atMs, forMs, fault }: Step, note: (text: string) => void): Promise<void> {
  await pause(atMs);
  const name = describeFault(fault);
  const beganMs = Date.now();
  try {
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
