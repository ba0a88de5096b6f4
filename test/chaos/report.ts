import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { table } from '../demo/teller.ts';
import type { Finding } from './checks.ts';
import type { Phase, RoundResult } from './round.ts';
import { labelOf, labelOfRound } from './schedule.ts';

export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What is kept of a round, a line each in chaos-rounds.jsonl: a report is made of all of them. */
export interface RoundLine {
  readonly seed: number;
  /** Of the seed's rounds, from 1. */
  readonly round: number;
  /** What was tested: `git describe`. */
  readonly commit: string;
  /** The fault when there was one, else the pattern. */
  readonly label: string;
  readonly faults: readonly string[];
  readonly findings: readonly Finding[];
  readonly acknowledged: number;
  readonly stallMs: number;
  readonly tookMs: number;
  readonly phasesMs: RoundResult['phasesMs'];
}

export interface ChaosReport {
  readonly rounds: number;
  readonly violations: number;
  readonly findings: readonly (Finding & { readonly seed: number; readonly round: number })[];
  readonly faultsByKind: Readonly<Record<string, number>>;
  /** By the kind of the fault when a round had one, else by the round's pattern: the longest time without an acknowledgement. */
  readonly stallMs: Readonly<Record<string, Spread>>;
  readonly acknowledgedWrites: number;
  readonly roundsBySeed: Readonly<Record<string, number>>;
  readonly roundsByCommit: Readonly<Record<string, number>>;
  readonly meanRoundMs: number;
  readonly meanPhasesMs: Readonly<Record<string, number>>;
}

export function lineOf(seed: number, round: number, commit: string, result: RoundResult): RoundLine {
  const { round: played, findings, acknowledged, stallMs, tookMs, phasesMs } = result;
  const faults = played.steps.map(({ fault }) => labelOf(fault));
  return {
    seed,
    round,
    commit,
    label: labelOfRound(played),
    faults,
    findings,
    acknowledged,
    stallMs,
    tookMs,
    phasesMs,
  };
}

/** Median, 99th percentile (nearest rank) and maximum. */
export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
  return { count: sorted.length, p50: rank(0.5), p99: rank(0.99), max: rank(1) };
}

export function reportOf(lines: readonly RoundLine[]): ChaosReport {
  const stalls = new Map<string, number[]>();
  for (const { label, stallMs, acknowledged } of lines)
    if (acknowledged > 0) stalls.set(label, [...(stalls.get(label) ?? []), stallMs]);
  const findings = lines.flatMap(({ seed, round, findings }) => findings.map((one) => ({ seed, round, ...one })));
  const mean = (values: readonly number[]): number => Math.round(sum(values) / Math.max(1, values.length));
  return {
    rounds: lines.length,
    violations: findings.length,
    findings,
    faultsByKind: counted(lines.flatMap(({ faults }) => faults)),
    stallMs: sorted(Object.fromEntries([...stalls].map(([label, values]) => [label, spread(values)]))),
    acknowledgedWrites: sum(lines.map(({ acknowledged }) => acknowledged)),
    roundsBySeed: counted(lines.map(({ seed }) => String(seed))),
    roundsByCommit: counted(lines.map(({ commit }) => commit)),
    meanRoundMs: mean(lines.map(({ tookMs }) => tookMs)),
    meanPhasesMs: Object.fromEntries(
      PHASES.map((name) => [name, mean(lines.flatMap(({ phasesMs }) => phasesMs[name] ?? []))]),
    ),
  };
}

const PHASES: readonly Phase[] = ['begin', 'faults', 'mend', 'heal', 'check', 'detach'];

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function counted(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1;
  return sorted(counts);
}

const sorted = <T>(record: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));

/** The summary for a terminal. */
export function summary(report: ChaosReport): string {
  const rows = Object.entries(report.stallMs).map(([label, { count, p50, p99, max }]) =>
    [label, count, seconds(p50), seconds(p99), seconds(max)].map(String),
  );
  const findings = report.findings.map(
    ({ seed, round, what, text }) => `seed ${seed} round ${round}: ${what}: ${text}`,
  );
  const phases = Object.entries(report.meanPhasesMs).map(([name, ms]) => `${name} ${seconds(ms)}`);
  return [
    table(['what happened in a round', 'rounds', 'stall p50', 'p99', 'max'], rows),
    '',
    table(
      ['fault', 'times'],
      Object.entries(report.faultsByKind).map(([kind, count]) => [kind, String(count)]),
    ),
    '',
    `a round took ${seconds(report.meanRoundMs)}: ${phases.join(', ')}`,
    `${report.rounds} rounds, ${report.acknowledgedWrites} acknowledged writes, ${report.violations} violations`,
    ...findings,
  ].join('\n');
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** Writes a report into a folder, which is made. @returns the file */
export async function writeJson(dir: string, name: string, value: unknown): Promise<string> {
  await mkdir(dir, { recursive: true });
  const file = path.join(dir, name);
  await writeFile(file, `${JSON.stringify(value, undefined, 2)}\n`);
  return file;
}
