// Stall figures: how long a writer waits when one thing fails, over many repetitions. Runs inside a lab's own namespaces.
import path from 'node:path';
import { parseArgs } from 'node:util';
import { table } from '../demo/teller.ts';
import { LabError } from '../lab/errors.ts';
import { formatDuration, terminalProgress } from '../lab/progress.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { look, watchUntil } from '../system/watch.ts';
import { pause, runsOf } from '../system/workload.ts';
import { becomesHealthy, judge } from './checks.ts';
import { ensureAgent, inject, type Scene } from './inject.ts';
import { seconds, spread, writeJson, type Spread } from './report.ts';
import { longestPauseMs, messageOf } from './round.ts';
import { labelOf, type Fault } from './schedule.ts';
import { prepareStage, saveEvidence, type Stage } from './stage.ts';
import { createWorkload, newLogs, volumes, type ChaosVolume, type Workload } from './workload.ts';

/** The product's default. */
const LEG_TIMEOUT_MS = 3000;
/** A leg comes back before it would be replaced. */
const TIMEOUTS = { legTimeoutMs: LEG_TIMEOUT_MS, replicaTimeoutMs: { raw: 120_000, file: 120_000 } };

const HELP = `usage: node test/lab/main.ts run -- node test/chaos/stall.ts [options]

Breaks one thing at a time under a writer (raw block volume, 3 replicas, legTimeout ${LEG_TIMEOUT_MS} ms, 4 operations in flight) and
measures the longest time without any acknowledgement. "fail-over": the client of an ext4 volume loses power; once its lease
is over, the time from asking for the volume elsewhere until it is mounted there.

options:
  --repetitions N    of each (default 20)
  --only WORDS       only what has a name that holds this, for example "kill"; several with commas
  --minutes N        begin no further repetition after so long (default: no limit)
  --report DIR       where stall-report.json goes (default build)
  --logs             after each repetition, what every program has logged goes there too
  --app DIR          the bundled programs (default dist)
  --help             this text
`;

interface Case {
  readonly name: string;
  /** The volume that is written to meanwhile. */
  readonly volume: ChaosVolume['name'];
  readonly target: string;
  /** @returns the figure in ms */
  readonly measure: (bench: Bench, repetition: number) => Promise<number>;
}

/** A lab with one volume that is written to, and no more machines than that takes: they share what the host has. */
interface Bench {
  readonly stage: Stage;
  readonly workload: Workload;
  /** In ms, by what they are about. */
  readonly figures: Map<string, number[]>;
  /** What was done when, on the host's clock. */
  readonly notes: string[];
}

/** What of the lab serves the volume: as many storage nodes as replicas, and a second client where it moves. */
const CLIENTS = { raw: 1, file: 2 } as const;
/** 4 operations in flight, each of which waits so long before the next: an acknowledgement every 25 ms at best. */
const WRITER_PAUSE_MS = 100;

/** How long a killed program stays away. */
const AWAY_MS = 2000;
const kill = (program: Extract<Fault, { kind: 'kill' }>['program']): Case => ({
  ...stallOf({ kind: 'kill', program, leg: 0 }, 'nothing more', AWAY_MS),
});

const CASES: readonly Case[] = [
  stallOf({ kind: 'storage-power', leg: 0 }, `≤ ${(LEG_TIMEOUT_MS + 1000) / 1000} s (legTimeout + 1 s)`, 'dropped'),
  stallOf({ kind: 'leg-cut', leg: 0, way: 'both' }, `≤ ${(LEG_TIMEOUT_MS + 1000) / 1000} s`, 'dropped'),
  // Not the whole disk: that takes the pool's metadata with it, and the storage node would have to be set up anew each time.
  stallOf({ kind: 'dm-error', leg: 0 }, '≤ 0.5 s', 'dropped'),
  kill('client-agent'),
  kill('storage-agent'),
  kill('operator'),
  kill('controller'),
  { name: 'fail-over', volume: 'file', target: '≤ 5 s', measure: measureFailOver },
];

/** The pause that a busy machine has by itself is measured just before each fault, for as long as the fault lasts. */
const NOTHING = 'nothing at all';

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      repetitions: { type: 'string', default: '20' },
      only: { type: 'string', default: '' },
      minutes: { type: 'string' },
      report: { type: 'string', default: 'build' },
      logs: { type: 'boolean', default: false },
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
  const cases = CASES.filter(({ name }) => values.only.split(',').some((words) => name.includes(words)));
  if (cases.length === 0)
    throw new LabError(`--only is "${values.only}": none of ${CASES.map(({ name }) => name).join(', ')}`);
  const groups = [volumes.raw, volumes.file].map((volume) => ({
    volume,
    cases: cases.filter((each) => each.volume === volume.name),
  }));
  const figures: Bench['figures'] = new Map();
  const startedMs = performance.now();
  let wrong = 0;
  for (const { volume, cases } of groups.filter((group) => group.cases.length > 0)) {
    const bench = await openBench(values.app, volume, figures);
    try {
      wrong += await measureAll(bench, cases, {
        repetitions,
        untilMs: startedMs + limitMs,
        reportDir: values.report,
        logs: values.logs,
      });
    } finally {
      await bench.stage.stop();
    }
  }
  const spreads = await report(values.report, figures);
  const targets = new Map(cases.map(({ name, target }) => [name, target]));
  const rows = Object.entries(spreads).map(([name, { count, p50, p99, max }]) => [
    name,
    String(count),
    seconds(p50),
    seconds(p99),
    seconds(max),
    targets.get(name) ?? '',
  ]);
  say(`\n${table(['what fails', 'times', 'p50', 'p99', 'max', 'wanted'], rows)}\n`);
  return wrong === 0 ? 0 : 1;
}

async function openBench(appDir: string, volume: ChaosVolume, figures: Bench['figures']): Promise<Bench> {
  const machines = { clients: CLIENTS[volume.name], storage: volume.replicas };
  const stage = await prepareStage(appDir, [volume], TIMEOUTS, terminalProgress(process.stderr), machines);
  const [home] = stage.lab.clients;
  if (!home) throw new LabError('the lab has no client');
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(`${new Date().toISOString()} ${text}`);
  const workload = createWorkload(stage.system, volume, home, note, stage.lab.clients, WRITER_PAUSE_MS);
  try {
    await newLogs(stage.lab);
    await workload.begin();
  } catch (error) {
    // What runs beside the lab would keep this process alive.
    await stage.stop();
    throw error;
  }
  return { stage, workload, figures, notes };
}

interface FigureOptions {
  readonly repetitions: number;
  /** On the clock of performance.now(). */
  readonly untilMs: number;
  readonly reportDir: string;
  readonly logs: boolean;
}

/** @returns how much was wrong with the data in the end */
async function measureAll(bench: Bench, cases: readonly Case[], options: FigureOptions): Promise<number> {
  const { repetitions, untilMs, reportDir, logs } = options;
  const startedMs = performance.now();
  const total = repetitions * cases.length;
  let done = 0;
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const { name, measure } of cases) {
      if (performance.now() > untilMs) break;
      const fromMs = performance.now();
      const figureMs = await measure(bench, repetition);
      addFigure(bench, name, figureMs);
      done += 1;
      const left = ((performance.now() - startedMs) / done) * (total - done);
      const tookMs = Math.round(performance.now() - fromMs);
      say(`${name}: ${figureMs} ms; took ${tookMs} ms; ${done} of ${total}, about ${formatDuration(left)} to go`);
      await report(reportDir, bench.figures);
      if (logs) await saveLogs(bench, path.join(reportDir, `${name.replaceAll(/\W+/g, '-')}-${repetition}`));
    }
  }
  const { workload } = bench;
  const findings = judge(workload.volume, await workload.history(await workload.rest()));
  for (const { what, text } of findings) say(`WRONG: ${what}: ${text}`);
  return findings.length;
}

/** The guests' programs log by their machines' clocks, so those are told as well. */
async function saveLogs({ stage, notes }: Bench, dir: string): Promise<void> {
  const running = stage.lab.vms.filter((vm) => vm.running());
  const clocks = await Promise.all(
    running.map(async (vm) => `the clock of ${vm.name} is ${(await vm.clock()).offsetMs} ms ahead`),
  );
  await saveEvidence(stage.system, dir, [...notes, ...clocks]);
  notes.length = 0;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

function addFigure({ figures }: Bench, name: string, figureMs: number): void {
  figures.set(name, [...(figures.get(name) ?? []), figureMs]);
}

async function report(dir: string, figures: Bench['figures']): Promise<Record<string, Spread>> {
  const spreads = Object.fromEntries([...figures].map(([name, values]) => [name, spread(values)]));
  await writeJson(dir, 'stall-report.json', { legTimeoutMs: LEG_TIMEOUT_MS, stallMs: spreads });
  return spreads;
}

async function ready({ stage, workload }: Bench): Promise<void> {
  const sick = await becomesHealthy(stage.system, workload.volume);
  if (sick) throw new LabError(sick.text);
  await workload.acknowledges(60_000, 20);
}

/** The stall of the writer by one fault, which lasts until its leg is dropped, or so many ms. */
function stallOf(fault: Fault, target: string, until: 'dropped' | number): Case {
  const name = labelOf(fault);
  const measure = async (bench: Bench, repetition: number): Promise<number> => {
    const { stage, workload } = bench;
    const { system } = stage;
    await ready(bench);
    const { volume } = await look(system, workload.volume.name);
    const replicas = volume.status?.replicas ?? [];
    const legs = replicas.map(({ storageNode }) => system.lab.vm(storageNode));
    const scene: Scene = {
      system,
      workload,
      workloads: [workload],
      legs,
      note: () => undefined,
      stalled: new Set(),
    };
    const before = Date.now();
    const undo = await inject(scene, 'leg' in fault ? { ...fault, leg: repetition } : fault);
    if (until === 'dropped') {
      const victim = replicas[repetition % replicas.length]?.name ?? '';
      await watchUntil(
        system,
        workload.volume.name,
        `${victim} is dropped`,
        60_000,
        ({ inSync }) => !inSync.includes(victim),
      );
    } else await pause(until);
    await workload.acknowledges(60_000, 5).catch((error: unknown) => {
      throw new LabError(`${name}: ${messageOf(error)}`);
    });
    const after = Date.now();
    await undo();
    const acks = await acknowledgements(workload, system.lab.clients);
    addFigure(bench, NOTHING, longestPauseMs(acks, before - (after - before), before));
    return longestPauseMs(acks, before, after);
  };
  return { name, volume: 'raw', target, measure };
}

async function acknowledgements({ volume }: Workload, clients: readonly Vm[]): Promise<number[]> {
  const runs = (await Promise.all(clients.map((vm) => runsOf(vm, volume.name)))).flat();
  return runs
    .flatMap(({ operations }) => operations)
    .flatMap(({ kind, completedMs }) => (kind === 'write' && completedMs !== undefined ? [completedMs] : []))
    .sort((a, b) => a - b);
}

/** The lease of a client in the lab, and the time until everybody has noticed that it is over. */
const DETECTION_MS = 6000;

async function measureFailOver(bench: Bench): Promise<number> {
  const { stage, workload } = bench;
  const { system } = stage;
  await ready(bench);
  const dead = workload.client();
  await system.lab.faults.powerOff(dead);
  await pause(DETECTION_MS);
  const wantedMs = performance.now();
  const mountedMs = await workload.move('by force');
  const tookMs = Math.round(mountedMs - wantedMs);
  await workload.acknowledges(60_000);
  await system.lab.faults.powerOn(dead);
  await ensureAgent({ system, stalled: new Set() }, dead);
  await workload.tidy();
  return tookMs;
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(
    `stall: ${error instanceof LabError ? error.message : String((error as Error).stack ?? error)}\n`,
  );
  return 2;
});
