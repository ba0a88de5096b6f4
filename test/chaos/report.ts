import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { table } from '../demo/teller.ts';
import type { RoundResult } from './round.ts';
import { labelOf, labelOfRound } from './schedule.ts';

export interface Spread {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export interface ChaosReport {
  readonly seed: number;
  readonly rounds: number;
  readonly violations: number;
  readonly findings: readonly { readonly round: number; readonly what: string; readonly text: string }[];
  readonly faultsByKind: Readonly<Record<string, number>>;
  /** By the kind of the fault when a round had one, else by the round's pattern: the longest time without an acknowledgement. */
  readonly stallMs: Readonly<Record<string, Spread>>;
  readonly acknowledgedWrites: number;
}

/** Median, 99th percentile (nearest rank) and maximum. */
export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const rank = (share: number): number => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? 0;
  return { count: sorted.length, p50: rank(0.5), p99: rank(0.99), max: rank(1) };
}

export function reportOf(seed: number, results: readonly RoundResult[]): ChaosReport {
  const stalls = new Map<string, number[]>();
  const faults: Record<string, number> = {};
  for (const { round, stallMs, acknowledged } of results) {
    for (const { fault } of round.steps) faults[labelOf(fault)] = (faults[labelOf(fault)] ?? 0) + 1;
    if (acknowledged === 0) continue;
    const label = labelOfRound(round);
    stalls.set(label, [...(stalls.get(label) ?? []), stallMs]);
  }
  const findings = results.flatMap((result, index) =>
    result.findings.map(({ what, text }) => ({ round: index + 1, what, text })),
  );
  return {
    seed,
    rounds: results.length,
    violations: findings.length,
    findings,
    faultsByKind: sorted(faults),
    stallMs: sorted(Object.fromEntries([...stalls].map(([label, values]) => [label, spread(values)]))),
    acknowledgedWrites: results.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
  };
}

const sorted = <T>(record: Readonly<Record<string, T>>): Record<string, T> =>
  Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));

/** The summary for a terminal. */
export function summary(report: ChaosReport): string {
  const rows = Object.entries(report.stallMs).map(([label, { count, p50, p99, max }]) =>
    [label, count, seconds(p50), seconds(p99), seconds(max)].map(String),
  );
  const findings = report.findings.map(({ round, what, text }) => `round ${round}: ${what}: ${text}`);
  return [
    table(['what happened in a round', 'rounds', 'stall p50', 'p99', 'max'], rows),
    '',
    table(
      ['fault', 'times'],
      Object.entries(report.faultsByKind).map(([kind, count]) => [kind, String(count)]),
    ),
    '',
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
