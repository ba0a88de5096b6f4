// Chaos: random faults on real kernels, under verified writers. Run by `make chaos`, inside a lab's own namespaces.
import { appendFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { LabError } from '../lab/errors.ts';
import { formatDuration, terminalProgress } from '../lab/progress.ts';
import type { System } from '../system/system.ts';
import { reportOf, summary, writeJson } from './report.ts';
import { describeRound, messageOf, runRound, type RoundResult } from './round.ts';
import { parseSchedule, ScheduleError } from './schedule-file.ts';
import { generate, labelOfRound, type Round, type Schedule } from './schedule.ts';
import { prepareStage, saveEvidence } from './stage.ts';
import { createWorkload } from './workload.ts';

const HELP = `usage: node test/lab/main.ts run -- node test/chaos/main.ts [options]

Random faults on real kernels. A lab with 4 storage VMs and 2 client VMs keeps two volumes (ext4 with 2 replicas, raw block
with 3). Each round attaches one, writes to it and reads from it, breaks things by a schedule, mends everything, and then
checks: the volume becomes healthy, every read is explained by the acknowledged writes, the replicas are the same bit for
bit, and nothing is left behind. Ends with exit code 1 when anything was not so.

options:
  --seed N           the schedule; the same seed gives the same (default: from the clock; it is printed)
  --rounds N         how many rounds (default 10; about a minute each)
  --minutes N        begin no further round after so long (default: no limit)
  --schedule FILE    do what FILE says instead: the "schedule.json" of an earlier run, or a part of it
  --print            print the schedule and end; needs no lab
  --report DIR       where chaos-report.json, schedule.json, chaos-notes.txt (what happened when) and the evidence of
                     violations go (default build)
  --app DIR          the bundled programs (default dist)
  --verbose          tell what happens in each round
  --help             this text
`;

async function main(): Promise<number> {
  try {
    const options = parseOptions();
    if (options === undefined) return 0;
    return await chaos(options);
  } catch (error) {
    const known = error instanceof LabError || error instanceof ScheduleError || error instanceof TypeError;
    process.stderr.write(`chaos: ${known ? error.message : String((error as Error).stack ?? error)}\n`);
    return 2;
  }
}

interface Options {
  readonly schedule: Promise<Schedule>;
  readonly print: boolean;
  readonly limitMs: number;
  readonly reportDir: string;
  readonly appDir: string;
  readonly verbose: boolean;
}

function parseOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      rounds: { type: 'string', default: '10' },
      minutes: { type: 'string' },
      schedule: { type: 'string' },
      print: { type: 'boolean', default: false },
      report: { type: 'string', default: 'build' },
      app: { type: 'string', default: 'dist' },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return undefined;
  }
  const seed = values.seed === undefined ? Date.now() % 1_000_000 : wholeNumber('--seed', values.seed);
  const rounds = wholeNumber('--rounds', values.rounds);
  const file = values.schedule;
  return {
    schedule:
      file === undefined
        ? Promise.resolve(generate(seed, rounds))
        : readFile(file, 'utf8').then((text) => parseSchedule(text)),
    print: values.print,
    limitMs: values.minutes === undefined ? Infinity : wholeNumber('--minutes', values.minutes) * 60_000,
    reportDir: values.report,
    appDir: values.app,
    verbose: values.verbose,
  };
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0 && text !== '') return value;
  throw new LabError(`${name} is "${text}": it must be a whole number`);
}

async function chaos({ schedule: wanted, print, limitMs, reportDir, appDir, verbose }: Options): Promise<number> {
  const schedule = await wanted;
  if (print) {
    process.stdout.write(`${JSON.stringify(schedule, undefined, 1)}\n`);
    return 0;
  }
  const scheduleFile = await writeJson(reportDir, 'schedule.json', schedule);
  say(`seed ${schedule.seed}, ${schedule.rounds.length} rounds; again with --schedule ${scheduleFile}`);
  const startedMs = performance.now();
  const stage = await prepareStage(appDir, terminalProgress(process.stderr));
  say(`the lab is ready after ${formatDuration(performance.now() - startedMs)}`);
  try {
    return await play(stage.system, schedule, { reportDir, verbose, deadlineMs: startedMs + limitMs });
  } finally {
    await stage.system.stop();
    await stage.lab.stop();
  }
}

interface PlayOptions {
  readonly reportDir: string;
  readonly verbose: boolean;
  /** On the clock of performance.now(): no further round is begun after it. */
  readonly deadlineMs: number;
}

async function play(system: System, schedule: Schedule, options: PlayOptions): Promise<number> {
  const { reportDir, verbose, deadlineMs } = options;
  const results: RoundResult[] = [];
  let notes: string[] = [];
  const workload = createWorkload(system, (text) => void notes.push(`         ${text}`));
  for (const [index, round] of schedule.rounds.entries()) {
    if (performance.now() > deadlineMs) {
      say(`the time is over after ${index} rounds`);
      break;
    }
    say(describeRound(index + 1, round));
    notes = [];
    const result = await runRound(system, workload, round, notes).catch((error: unknown) =>
      broken(round, error, notes),
    );
    results.push(result);
    await appendFile(
      path.join(reportDir, 'chaos-notes.txt'),
      [describeRound(index + 1, round), ...notes, ''].join('\n'),
    );
    if (verbose || result.findings.length > 0) say(notes.map((line) => `    ${line}`).join('\n'));
    say(lineOf(result, results, schedule.rounds.length));
    await writeJson(reportDir, 'chaos-report.json', reportOf(schedule.seed, results));
    if (result.findings.length === 0) continue;
    const dir = path.join(reportDir, `chaos-${schedule.seed}-round-${index + 1}`);
    await saveEvidence(system, dir, notes);
    await writeJson(dir, 'schedule.json', { seed: schedule.seed, rounds: [round] });
    say(`  ${result.findings.map(({ what, text }) => `${what}: ${text}`).join('\n  ')}\n  evidence: ${dir}`);
    if (result.findings.some(({ what }) => GOES_ON[what] !== true)) {
      say('  this lab is not usable any more; the rounds after it are not run');
      break;
    }
  }
  const report = reportOf(schedule.seed, results);
  say(`\n${summary(report)}\nreport: ${await writeJson(reportDir, 'chaos-report.json', report)}`);
  return report.violations === 0 ? 0 : 1;
}

/** After these the next round may begin. */
const GOES_ON: Readonly<Record<string, boolean>> = { history: true, error: true, 'not clean': true };

function lineOf(result: RoundResult, results: readonly RoundResult[], total: number): string {
  const { findings, acknowledged, stallMs, healedMs, tookMs, round } = result;
  const meanMs = results.reduce((sum, one) => sum + one.tookMs, 0) / results.length;
  const left = formatDuration(meanMs * (total - results.length));
  const verdict = findings.length === 0 ? 'right' : `WRONG: ${findings.map(({ what }) => what).join(', ')}`;
  return (
    `  ${verdict}; ${acknowledged} writes, ${labelOfRound(round)} stalled them for ${formatDuration(stallMs)}, ` +
    `healthy ${formatDuration(healedMs)} after, ${formatDuration(tookMs)} in all; ` +
    `${results.length} of ${total}, about ${left} to go`
  );
}

function broken(round: Round, error: unknown, notes: readonly string[]): RoundResult {
  const findings = [{ what: 'stuck', text: messageOf(error) }] as const;
  return { round, findings, acknowledged: 0, stallMs: 0, healedMs: 0, tookMs: 0, notes };
}

process.exitCode = await main();
