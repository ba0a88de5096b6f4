// Stall figures: how long a writer waits when one thing fails, over many repetitions. Runs inside a lab's own namespaces.
import { parseArgs } from 'node:util';
import { table } from '../demo/teller.ts';
import { LabError } from '../lab/errors.ts';
import { formatDuration, terminalProgress } from '../lab/progress.ts';
import type { System } from '../system/system.ts';
import { look } from '../system/watch.ts';
import { pause, runsOf } from '../system/workload.ts';
import { becomesHealthy, judge } from './checks.ts';
import { inject, type Scene } from './inject.ts';
import { seconds, spread, writeJson, type Spread } from './report.ts';
import { longestPauseMs, messageOf } from './round.ts';
import { LEG_TIMEOUT_MS, labelOf, type Fault } from './schedule.ts';
import { prepareStage } from './stage.ts';
import { createWorkload, volumes, type Workload } from './workload.ts';

const HELP = `usage: node test/lab/main.ts run -- node test/chaos/stall.ts [options]

Breaks one thing at a time under a writer (raw block volume, 3 replicas, legTimeout ${LEG_TIMEOUT_MS} ms, 4 writes in flight) and
measures the longest time without any acknowledgement.

options:
  --repetitions N    of each fault (default 20)
  --only WORDS       only faults whose name holds this, for example "kill"
  --minutes N        begin no further repetition after so long (default: no limit)
  --report DIR       where stall-report.json goes (default build)
  --app DIR          the bundled programs (default dist)
  --help             this text
`;

interface Case {
  readonly fault: Fault;
  /** Until it is mended. */
  readonly forMs: number;
  readonly target: string;
}

/** Each is mended before the volume would heal elsewhere. */
const CASES: readonly Case[] = [
  {
    fault: { kind: 'storage-power', leg: 0 },
    forMs: 6000,
    target: `≤ ${(LEG_TIMEOUT_MS + 1000) / 1000} s (legTimeout + 1 s)`,
  },
  {
    fault: { kind: 'leg-cut', leg: 0, way: 'both' },
    forMs: 6000,
    target: `≤ ${(LEG_TIMEOUT_MS + 1000) / 1000} s (legTimeout + 1 s)`,
  },
  { fault: { kind: 'disk-errors', leg: 0, requests: 'all' }, forMs: 3000, target: '≤ 0.5 s' },
  { fault: { kind: 'kill', program: 'client-agent', leg: 0 }, forMs: 3000, target: 'none' },
  { fault: { kind: 'kill', program: 'storage-agent', leg: 0 }, forMs: 3000, target: 'none' },
  { fault: { kind: 'kill', program: 'operator', leg: 0 }, forMs: 3000, target: 'none' },
  { fault: { kind: 'kill', program: 'controller', leg: 0 }, forMs: 3000, target: 'none' },
  { fault: { kind: 'client-power' }, forMs: 8000, target: '≤ 5 s + detection (2 s)' },
];

/** The pause that a busy machine has by itself is measured over as long a time without any fault. */
const NOTHING = 'nothing at all';

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      repetitions: { type: 'string', default: '20' },
      only: { type: 'string', default: '' },
      minutes: { type: 'string' },
      report: { type: 'string', default: 'build' },
      app: { type: 'string', default: 'dist' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const repetitions = Number(values.repetitions);
  if (!Number.isSafeInteger(repetitions) || repetitions < 1)
    throw new LabError(`--repetitions is "${values.repetitions}": it must be a whole number from 1`);
  const limitMs = values.minutes === undefined ? Infinity : Number(values.minutes) * 60_000;
  const { lab, system } = await prepareStage(values.app, terminalProgress(process.stderr));
  try {
    return await figures(system, { repetitions, limitMs, only: values.only, reportDir: values.report });
  } finally {
    await system.stop();
    await lab.stop();
  }
}

interface FigureOptions {
  readonly repetitions: number;
  readonly only: string;
  readonly limitMs: number;
  readonly reportDir: string;
}

async function figures(system: System, { repetitions, only, limitMs, reportDir }: FigureOptions): Promise<number> {
  const startedMs = performance.now();
  const workload = createWorkload(system, () => undefined);
  await workload.begin(volumes.raw);
  const cases = CASES.filter(({ fault }) => labelOf(fault).includes(only));
  const stalls = new Map<string, number[]>();
  const total = repetitions * cases.length;
  let done = 0;
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const one of cases) {
      if (performance.now() - startedMs > limitMs) break;
      const { quietMs, stallMs } = await measure(system, workload, one, repetition);
      const name = labelOf(one.fault);
      stalls.set(name, [...(stalls.get(name) ?? []), stallMs]);
      stalls.set(NOTHING, [...(stalls.get(NOTHING) ?? []), quietMs]);
      done += 1;
      const left = ((performance.now() - startedMs) / done) * (total - done);
      say(
        `${name}: ${stallMs} ms (${quietMs} ms without it); ${done} of ${total}, about ${formatDuration(left)} to go`,
      );
      await report(reportDir, stalls);
    }
  }
  await workload.stopWriting();
  const findings = judge(await workload.history(await workload.dump()));
  for (const { what, text } of findings) say(`WRONG: ${what}: ${text}`);
  const spreads = await report(reportDir, stalls);
  const targets = new Map([...CASES.map(({ fault, target }) => [labelOf(fault), target] as const), [NOTHING, '']]);
  const rows = Object.entries(spreads).map(([name, { count, p50, p99, max }]) => [
    name,
    String(count),
    seconds(p50),
    seconds(p99),
    seconds(max),
    targets.get(name) ?? '',
  ]);
  say(`\n${table(['what fails', 'times', 'stall p50', 'p99', 'max', 'wanted'], rows)}\n`);
  return findings.length === 0 ? 0 : 1;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function report(dir: string, stalls: ReadonlyMap<string, readonly number[]>): Promise<Record<string, Spread>> {
  const spreads = Object.fromEntries([...stalls].map(([name, values]) => [name, spread(values)]));
  await writeJson(dir, 'stall-report.json', { legTimeoutMs: LEG_TIMEOUT_MS, stallMs: spreads });
  return spreads;
}

/** One fault, mended; the longest pause of the writer from its begin on, and that in the same time before. */
async function measure(
  system: System,
  workload: Workload,
  { fault, forMs }: Case,
  repetition: number,
): Promise<{ quietMs: number; stallMs: number }> {
  const sick = await becomesHealthy(system, volumes.raw);
  if (sick) throw new LabError(sick.text);
  await pause(forMs);
  const { volume } = await look(system, volumes.raw.name);
  const legs = (volume.status?.replicas ?? []).map(({ storageNode }) => system.lab.vm(storageNode));
  const scene: Scene = { system, workload, legs, note: () => undefined, stalled: new Set() };
  const fromMs = Date.now();
  const undo = await inject(scene, 'leg' in fault ? { ...fault, leg: repetition } : fault);
  await pause(Math.max(0, fromMs + forMs - Date.now()));
  await undo();
  await workload.settled();
  await workload.ensureWriting();
  await workload.acknowledges(60_000).catch((error: unknown) => {
    throw new LabError(`${labelOf(fault)}: ${messageOf(error)}`);
  });
  const untilMs = Date.now();
  const runs = (await Promise.all(system.lab.clients.map((vm) => runsOf(vm)))).flat();
  const acks = runs
    .flatMap(({ operations }) => operations)
    .flatMap(({ kind, completedMs }) => (kind === 'write' && completedMs !== undefined ? [completedMs] : []))
    .sort((a, b) => a - b);
  return { quietMs: longestPauseMs(acks, fromMs - forMs, fromMs), stallMs: longestPauseMs(acks, fromMs, untilMs) };
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(
    `stall: ${error instanceof LabError ? error.message : String((error as Error).stack ?? error)}\n`,
  );
  return 2;
});
