// Chaos: random faults on real kernels, under verified writers. Run by `make chaos`, inside a lab's own namespaces.
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { LabError } from '../lab/errors.ts';
import { run } from '../lab/process.ts';
import { formatDuration, terminalProgress } from '../lab/progress.ts';
import type { Finding } from './checks.ts';
import { lineOf, reportOf, summary, writeJson, type ChaosReport, type RoundLine } from './report.ts';
import { describeRound, messageOf, runRound, type RoundResult } from './round.ts';
import { parseSchedule, ScheduleError } from './schedule-file.ts';
import { generate, labelOfRound, type Round, type Schedule } from './schedule.ts';
import { CHAOS_TIMEOUTS, prepareStage, saveEvidence, workloadsOf, type Stage } from './stage.ts';
import { volumes, type Workload } from './workload.ts';

const HELP = `usage: node test/lab/main.ts run -- node test/chaos/main.ts [options]

Random faults on real kernels. A lab with 4 storage VMs and 2 client VMs keeps two volumes (ext4 with 2 replicas, raw block
with 3), both in use all the while. Each round breaks things by a schedule, mends everything, and then checks: the volumes
become healthy, every read is explained by the acknowledged writes, the replicas are the same bit for bit, and nothing is
left behind. After a round that left a lab unusable the next begins in a new one. Ends with exit code 1 when anything was
not so.

options:
  --seed N           the schedule; the same seed gives the same (default: from the clock; it is printed)
  --rounds N         how many rounds (default 10; about 25 seconds each)
  --append           go on: after the rounds of this seed that the report's folder tells of, and add to its report; runs with
                     different seeds may do so at the same time, each in a lab of its own
  --minutes N        begin no further round after so long (default: no limit)
  --schedule FILE    do what FILE says instead: the "schedule.json" of an earlier run, or a part of it
  --print            print the schedule and end; needs no lab
  --report DIR       where chaos-report.json, chaos-rounds.jsonl (a line for each round), schedule.json, chaos-notes.txt
                     (what happened when) and the evidence of violations go (default build)
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
  readonly schedule: (before: readonly RoundLine[]) => Promise<Plan>;
  readonly append: boolean;
  readonly print: boolean;
  readonly limitMs: number;
  readonly reportDir: string;
  readonly appDir: string;
  readonly verbose: boolean;
}

/** The rounds to play, and the number of the first of them. */
interface Plan extends Schedule {
  readonly first: number;
}

function parseOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      rounds: { type: 'string', default: '10' },
      append: { type: 'boolean', default: false },
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
    schedule: async (before) => {
      if (file !== undefined) return { first: 1, ...parseSchedule(await readFile(file, 'utf8')) };
      const done = Math.max(0, ...before.filter((line) => line.seed === seed).map(({ round }) => round));
      return { first: done + 1, seed, rounds: generate(seed, done + rounds).rounds.slice(done) };
    },
    append: values.append,
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

const ROUNDS_FILE = 'chaos-rounds.jsonl';

async function linesOf(reportDir: string): Promise<RoundLine[]> {
  const text = await readFile(path.join(reportDir, ROUNDS_FILE), 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as RoundLine);
}

async function chaos(options: Options): Promise<number> {
  const { append, print, reportDir } = options;
  const before = append ? await linesOf(reportDir) : [];
  const plan = await options.schedule(before);
  if (print) {
    process.stdout.write(`${JSON.stringify({ seed: plan.seed, rounds: plan.rounds }, undefined, 1)}\n`);
    return 0;
  }
  await mkdir(reportDir, { recursive: true });
  if (!append) await writeFile(path.join(reportDir, ROUNDS_FILE), '');
  const scheduleFile = await writeJson(reportDir, 'schedule.json', { seed: plan.seed, rounds: plan.rounds });
  say(
    `seed ${plan.seed}, rounds ${plan.first} to ${plan.first + plan.rounds.length - 1}; again with --schedule ${scheduleFile}`,
  );
  const commit = await run('git', ['describe', '--always', '--dirty'], { check: false });
  return await play(plan, commit.stdout.toString().trim() || 'unknown', options);
}

/** A lab in which rounds are played, one after the other. */
interface Theatre {
  readonly stage: Stage;
  readonly workloads: readonly Workload[];
}

async function openTheatre(appDir: string, note: (text: string) => void): Promise<Theatre> {
  const startedMs = performance.now();
  const all = Object.values(volumes);
  const stage = await prepareStage(appDir, all, CHAOS_TIMEOUTS, terminalProgress(process.stderr));
  say(`the lab is ready after ${formatDuration(performance.now() - startedMs)}`);
  return { stage, workloads: workloadsOf(stage, note) };
}

/** Of all rounds that the folder tells of: other runs, also one beside this, may have added theirs. */
const reportIn = async (reportDir: string): Promise<ChaosReport> => reportOf(await linesOf(reportDir));

async function play(plan: Plan, commit: string, options: Options): Promise<number> {
  const { reportDir, verbose, limitMs, appDir } = options;
  const deadlineMs = performance.now() + limitMs;
  const lines: RoundLine[] = [];
  let notes: string[] = [];
  let theatre: Theatre | undefined;
  try {
    for (const [index, round] of plan.rounds.entries()) {
      const number = plan.first + index;
      if (performance.now() > deadlineMs) {
        say(`the time is over after ${index} rounds`);
        break;
      }
      theatre ??= await openTheatre(appDir, (text) => void notes.push(`         ${text}`));
      const { stage, workloads } = theatre;
      say(describeRound(number, round));
      notes = [];
      const result = await runRound(stage.system, workloads, round, notes).catch((error: unknown) =>
        broken(round, error),
      );
      const line = lineOf(plan.seed, number, commit, result);
      lines.push(line);
      await appendFile(path.join(reportDir, ROUNDS_FILE), `${JSON.stringify(line)}\n`);
      await appendFile(
        path.join(reportDir, 'chaos-notes.txt'),
        [describeRound(number, round), ...notes, ''].join('\n'),
      );
      if (verbose || result.findings.length > 0) say(notes.map((text) => `    ${text}`).join('\n'));
      say(verdictOn(result, lines, plan.rounds.length));
      await writeJson(reportDir, 'chaos-report.json', await reportIn(reportDir));
      if (result.findings.length === 0) continue;
      const dir = path.join(reportDir, `chaos-${plan.seed}-round-${number}`);
      await saveEvidence(stage.system, dir, notes);
      await writeJson(dir, 'schedule.json', { seed: plan.seed, rounds: [round] });
      say(`  ${result.findings.map(({ what, text }) => `${what}: ${text}`).join('\n  ')}\n  evidence: ${dir}`);
      // What comes after would suffer from it.
      await stage.stop();
      theatre = undefined;
    }
  } finally {
    await theatre?.stage.stop();
  }
  const report = await reportIn(reportDir);
  say(`\n${summary(report)}\nreport: ${await writeJson(reportDir, 'chaos-report.json', report)}`);
  return report.violations === 0 ? 0 : 1;
}

function verdictOn(result: RoundResult, lines: readonly RoundLine[], total: number): string {
  const { findings, acknowledged, stallMs, phasesMs, tookMs, round } = result;
  const meanMs = lines.reduce((sum, line) => sum + line.tookMs, 0) / lines.length;
  const left = formatDuration(meanMs * (total - lines.length));
  const verdict = findings.length === 0 ? 'right' : `WRONG: ${findings.map(({ what }) => what).join(', ')}`;
  const phases = Object.entries(phasesMs).map(([name, ms]) => `${name} ${(ms / 1000).toFixed(1)}`);
  return (
    `  ${verdict}; ${acknowledged} writes, ${labelOfRound(round)} stalled them for ${formatDuration(stallMs)}; ` +
    `${formatDuration(tookMs)} (${phases.join(', ')}); ${lines.length} of ${total}, about ${left} to go`
  );
}

function broken(round: Round, error: unknown): RoundResult {
  const findings: Finding[] = [{ what: 'stuck', text: messageOf(error) }];
  return { round, findings, acknowledged: 0, stallMs: 0, phasesMs: {}, tookMs: 0 };
}

process.exitCode = await main();
