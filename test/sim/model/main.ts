// Runs the exhaustive search from the command line: `make model`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { formatDuration } from '../../lab/progress.ts';
import type { Departure } from './departures.ts';
import { runJob, tell } from './run.ts';
import type { Found, SearchResult } from './search.ts';
import { search } from './search.ts';
import { startWorkers } from './workers.ts';
import { planOf } from './plan.ts';
import { stories } from './worlds.ts';

const HELP = `usage: node test/sim/model/main.ts [options]

Searches small worlds exhaustively: every choice of at most N departures from the usual course. A departure is a program
killed, a machine without power, a link cut, or an event that others overtake, at any event where that makes a difference.

options:
  --depth N      departures in one run (default 1)
  --world W,...  only these (${stories.map(({ name }) => name).join(', ')})
  --minutes M    end the search after this time, exhausted or not (default 10)
  --jobs J       runs at once (default: one a processor)
  --replay R     run one again and tell its history; R as it was printed
  -o json        one JSON object instead of a table
  --help         this text

The report is written to build/model-report.json. Exit code 1: a law was broken.
`;

const { values } = parseArgs({
  options: {
    depth: { type: 'string', default: '1' },
    world: { type: 'string', default: '' },
    minutes: { type: 'string', default: '10' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    replay: { type: 'string' },
    output: { type: 'string', short: 'o', default: 'text' },
    help: { type: 'boolean', default: false },
  },
});
const [depth, minutes, jobs] = [Number(values.depth), Number(values.minutes), Number(values.jobs)];
const names = stories.map(({ name }) => name);
const wanted = values.world === '' ? names : names.filter((name) => values.world.split(',').includes(name));

if (values.help) {
  process.stdout.write(HELP);
} else if (!Number.isInteger(depth) || depth < 0 || !(minutes > 0) || !Number.isInteger(jobs) || jobs < 1) {
  process.stderr.write('--depth and --jobs take whole numbers, --minutes a positive one\n');
  process.exitCode = 2;
} else if (wanted.length === 0) {
  process.stderr.write(`--world ${values.world}: there is no such world\n`);
  process.exitCode = 2;
} else if (values.replay !== undefined) {
  await replay(values.replay);
} else {
  await searchAll();
}

async function searchAll(): Promise<void> {
  const startedMs = performance.now();
  const endMs = startedMs + minutes * 60_000;
  let lastMs = startedMs;
  const workers = startWorkers(jobs);
  const result = await search({
    worlds: wanted,
    depth,
    jobs,
    run: workers.run,
    isOver: () => performance.now() > endMs,
    onFound: (found) => process.stderr.write(`${process.stderr.isTTY ? '\r\u001b[K' : ''}${explain(found)}\n`),
    onRun: ({ runs, waiting }) => {
      const nowMs = performance.now();
      if (nowMs - lastMs < (process.stderr.isTTY ? 500 : 10_000)) return;
      lastMs = nowMs;
      const text = `${runs} runs, ${waiting} more known, ${formatDuration(nowMs - startedMs)}`;
      process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${text}` : `${text}\n`);
    },
  });
  await workers.end();
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  report(result, Math.round((performance.now() - startedMs) / 100) / 10);
}

function report({ worlds: each }: SearchResult, seconds: number): void {
  const sum = (of: 'states' | 'runs' | 'events' | 'violations'): number =>
    each.reduce((total, world) => total + world[of], 0);
  const exhausted = each.every((world) => world.exhausted);
  const total = { states: sum('states'), depth, violations: sum('violations'), exhausted, runs: sum('runs') };
  const { user, system } = process.cpuUsage();
  const cpuSeconds = Math.round((user + system) / 1e5) / 10;
  const whole = { ...total, events: sum('events'), seconds, cpuSeconds, worlds: each };
  mkdirSync('build', { recursive: true });
  writeFileSync('build/model-report.json', `${JSON.stringify(whole, undefined, 2)}\n`);
  if (values.output === 'json') {
    process.stdout.write(`${JSON.stringify(whole)}\n`);
  } else {
    const columns = ['world', 'states', 'runs', 'events', 'broken', 'exhausted'];
    const rows = [...each, { name: 'all', ...whole }].map((world) => [
      world.name,
      ...[world.states, world.runs, world.events, world.violations].map(String),
      world.exhausted ? 'yes' : 'no',
    ]);
    for (const row of [columns, ...rows]) {
      process.stdout.write(`${row.map((cell, i) => (i === 0 ? cell.padEnd(12) : cell.padStart(11))).join('')}\n`);
    }
    process.stdout.write(`depth ${depth}, ${seconds} s, ${cpuSeconds} s of processor time\n`);
  }
  process.exitCode = whole.violations > 0 ? 1 : 0;
}

function explain({ world, departures, violation }: Found): string {
  const steps = departures.map((departure) => `\n  ${tell(departure)}`).join('');
  const again = JSON.stringify({ world, departures });
  return `BROKEN in "${world}": ${violation.law}: ${violation.message}${steps || '\n  in its usual course'}\n  --replay '${again}'`;
}

async function replay(text: string): Promise<void> {
  const { world, departures } = JSON.parse(text) as { readonly world: string; readonly departures: Departure[] };
  const found = stories.find(({ name }) => name === world);
  if (found === undefined) throw new Error(`there is no world ${world}`);
  const job = { world, departures, wantsChoices: false };
  const { violation } = await runJob(await planOf(found), job, {
    trace: (atMs, who, what) => process.stdout.write(`${(atMs / 1000).toFixed(4)}  ${who}: ${what}\n`),
  });
  process.stdout.write(violation === undefined ? 'no law is broken\n' : `${violation.law}: ${violation.message}\n`);
  process.exitCode = violation === undefined ? 0 : 1;
}
