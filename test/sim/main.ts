// Runs the simulation from the command line: `make sim`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { formatDuration } from '../lab/progress.ts';
import type { BatchResult, Failure, Task } from './batch.ts';
import { runAll } from './batch.ts';
import { historyOf } from './history-text.ts';
import { knownBad } from './known-bad.ts';
import { scheduleOf } from './schedule.ts';
import { shrink } from './shrink.ts';

const HELP = `usage: node test/sim/main.ts [options]

Runs the real operator, storage agents and client agents over a simulated world, with random faults from a seed, and checks
the laws of data safety. A failure prints its seed and a shrunk history; the same seed gives the same run.

options:
  --seeds N      schedules to run (default 2000)
  --seed S       the first seed (default: from the clock); what once failed (known-bad.json) always runs first
  --without K,K  leave out schedules with steps of these kinds, such as restore,force
  --jobs N       processes (default 1)
  --replay S     run this seed alone and print its history
  --all          with --replay: the whole history, not its end
  --no-shrink    print failures as they are
  -o json        one JSON object instead of a table
  --help         this text

The report is written to build/sim-report.json. Exit code 1: a law was broken.
`;

/** Failures that are shrunk and printed with their history; of more only the seeds are listed. */
const SHOWN_FAILURES = 3;

const { values } = parseArgs({
  allowNegative: true,
  options: {
    seeds: { type: 'string', default: '2000' },
    seed: { type: 'string' },
    without: { type: 'string', default: '' },
    jobs: { type: 'string', default: '1' },
    replay: { type: 'string' },
    all: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: true },
    output: { type: 'string', short: 'o', default: 'text' },
    help: { type: 'boolean', default: false },
  },
});

function whole(name: string, text: string, least: number): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  process.stderr.write(`--${name} ${text}: it must be a whole number of at least ${least}\n`);
  process.exit(2);
}

if (values.help) {
  process.stdout.write(HELP);
} else if (values.output !== 'text' && values.output !== 'json') {
  process.stderr.write(`-o ${values.output}: it is "text" or "json"\n`);
  process.exitCode = 2;
} else if (values.replay !== undefined) {
  process.stdout.write(`${await historyOf(scheduleOf(whole('replay', values.replay, 0)), values.all)}\n`);
} else {
  await simulate();
}

async function simulate(): Promise<void> {
  const count = whole('seeds', values.seeds, 0);
  const jobs = whole('jobs', values.jobs, 1);
  const first = values.seed === undefined ? Date.now() % 1_000_000_000 : whole('seed', values.seed, 0);
  const tasks: Task[] = [
    ...knownBad().map(({ schedule }) => schedule),
    ...seedsFrom(first, count, new Set(values.without.split(','))),
  ];
  // Errors are many in this world, and nobody reads their stacks.
  Error.stackTraceLimit = 0;
  const startedMs = performance.now();
  const progress = createProgress(tasks.length);
  const cpuBefore = process.cpuUsage();
  const result = await runJobs(tasks, jobs, progress.done);
  const cpu = process.cpuUsage(cpuBefore);
  progress.end();
  const seconds = (performance.now() - startedMs) / 1000;
  // Of one core, so that a busy machine does not make the simulation look slow.
  const cpuMinutes = (cpu.user + cpu.system) / 60e6;
  const report = {
    seeds: result.seeds,
    violations: result.failures.length,
    /** In a minute of one core. */
    schedulesPerMinute: Math.round(result.seeds / cpuMinutes),
    schedulesPerMinuteOfTheClock: Math.round((result.seeds / seconds) * 60),
    firstSeed: first,
    jobs,
    seconds: Math.round(seconds * 10) / 10,
    events: result.events,
    virtualHours: Math.round(result.virtualMs / 36_000) / 100,
    acknowledgedWrites: result.acknowledged,
    failures: result.failures.map(({ schedule, violation }) => ({ seed: schedule.seed, law: violation.law })),
  };
  mkdirSync('build', { recursive: true });
  writeFileSync('build/sim-report.json', `${JSON.stringify(report, undefined, 2)}\n`);
  for (const { schedule, violation } of result.failures.slice(0, SHOWN_FAILURES)) {
    const small = values.shrink ? await shrink(schedule, violation.law) : schedule;
    process.stderr.write(
      `\n${await historyOf(small)}\nreplay: node test/sim/main.ts --replay ${schedule.seed}\nfor known-bad.json: ${JSON.stringify(small)}\n`,
    );
  }
  if (values.output === 'json') process.stdout.write(`${JSON.stringify(report)}\n`);
  else process.stdout.write(table(report, result.failures));
  process.exitCode = result.failures.length > 0 ? 1 : 0;
}

/** So many seeds, but those whose schedules have a step of such a kind. */
function seedsFrom(first: number, count: number, without: ReadonlySet<string>): number[] {
  const seeds: number[] = [];
  for (let seed = first; seeds.length < count; seed++) {
    if (!scheduleOf(seed).steps.some(({ kind }) => without.has(kind))) seeds.push(seed);
  }
  return seeds;
}

async function runJobs(
  tasks: readonly Task[],
  jobs: number,
  onDone: (failure: Failure | undefined) => void,
): Promise<BatchResult> {
  if (jobs === 1) return await runAll(tasks, onDone);
  const shares = Array.from({ length: jobs }, (_, job) => tasks.filter((_task, index) => index % jobs === job));
  const results = await Promise.all(shares.map((share) => inWorker(share, onDone)));
  const sum = (pick: (result: BatchResult) => number): number => results.reduce((total, each) => total + pick(each), 0);
  return {
    failures: results.flatMap(({ failures }) => failures),
    seeds: sum((each) => each.seeds),
    events: sum((each) => each.events),
    virtualMs: sum((each) => each.virtualMs),
    acknowledged: sum((each) => each.acknowledged),
  };
}

function inWorker(tasks: readonly Task[], onDone: (failure: Failure | undefined) => void): Promise<BatchResult> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData: tasks });
    worker.on('message', (message: { readonly done?: Failure | null; readonly result?: BatchResult }) => {
      if (message.result === undefined) onDone(message.done ?? undefined);
      else resolve(message.result);
    });
    worker.on('error', reject);
  });
}

function createProgress(total: number): { done: (failure: Failure | undefined) => void; end: () => void } {
  const live = process.stderr.isTTY;
  const startedMs = performance.now();
  let lastMs = startedMs;
  let done = 0;
  let failed = 0;
  return {
    done: (failure) => {
      done += 1;
      const nowMs = performance.now();
      if (failure !== undefined) {
        failed += 1;
        process.stderr.write(`${live ? '\r\u001b[K' : ''}seed ${failure.schedule.seed}: ${failure.violation.law}\n`);
      }
      if (nowMs - lastMs < (live ? 500 : 10_000)) return;
      lastMs = nowMs;
      const leftMs = ((nowMs - startedMs) / done) * (total - done);
      const text = `${done} of ${total} schedules, ${failed} failed, about ${formatDuration(leftMs)} left`;
      process.stderr.write(live ? `\r\u001b[K${text}` : `${text}\n`);
    },
    end: () => void (live && process.stderr.write('\r\u001b[K')),
  };
}

function table(report: Readonly<Record<string, unknown>>, failures: readonly Failure[]): string {
  const rows: readonly (readonly [string, unknown])[] = [
    ['schedules', report['seeds']],
    ['first seed', report['firstSeed']],
    ['violations', report['violations']],
    ['schedules/minute of one core', report['schedulesPerMinute']],
    ['schedules/minute of the clock', report['schedulesPerMinuteOfTheClock']],
    ['seconds', report['seconds']],
    ['simulated hours', report['virtualHours']],
    ['events', report['events']],
    ['acknowledged writes', report['acknowledgedWrites']],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const lines = rows.map(([name, value]) => `${name.padEnd(width)}  ${String(value).padStart(12)}`);
  const seeds = failures.map(({ schedule, violation }) => `seed ${schedule.seed}: ${violation.law}`);
  return `${[...lines, ...seeds].join('\n')}\n`;
}
