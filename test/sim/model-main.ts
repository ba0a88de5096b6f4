// Runs the exhaustive search from the command line: `make model`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { formatDuration } from '../lab/progress.ts';
import { search } from './model.ts';

const HELP = `usage: node test/sim/model-main.ts [options]

Tries every way in which a small story (two replicas, two clients, a few writes, one forced move) can depart from its usual
course in up to N places: a program killed, a machine without power, a link cut, a message late, before any of its events.

options:
  --depth N      departures in one run (default 1)
  --minutes M    end the search after this time, exhausted or not (default 10)
  --replicas R   1 to 3 (default 2)
  -o json        one JSON object instead of a table
  --help         this text

The report is written to build/model-report.json. Exit code 1: a law was broken.
`;

const { values } = parseArgs({
  options: {
    depth: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '10' },
    replicas: { type: 'string', default: '2' },
    output: { type: 'string', short: 'o', default: 'text' },
    help: { type: 'boolean', default: false },
  },
});

const depth = Number(values.depth);
const minutes = Number(values.minutes);
const replicas = Number(values.replicas);
if (values.help) {
  process.stdout.write(HELP);
} else if (!Number.isInteger(depth) || depth < 0 || !(minutes > 0) || ![1, 2, 3].includes(replicas)) {
  process.stderr.write('--depth takes a whole number, --minutes a positive one, --replicas 1, 2 or 3\n');
  process.exitCode = 2;
} else {
  const startedMs = performance.now();
  let lastMs = startedMs;
  const result = await search({
    depth,
    shape: { replicas, storageNodes: replicas },
    now: () => performance.now(),
    endAtMs: startedMs + minutes * 60_000,
    onRun: (runs, states) => {
      const nowMs = performance.now();
      if (nowMs - lastMs < (process.stderr.isTTY ? 500 : 10_000)) return;
      lastMs = nowMs;
      const text = `${runs} runs, ${states} states, ${formatDuration(nowMs - startedMs)} of at most ${formatDuration(minutes * 60_000)}`;
      process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${text}` : `${text}\n`);
    },
  });
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
  const report = {
    states: result.states,
    depth,
    violations: result.violations.length,
    exhausted: result.exhausted,
    runs: result.runs,
    longestRun: result.longestRun,
    seconds,
  };
  mkdirSync('build', { recursive: true });
  writeFileSync('build/model-report.json', `${JSON.stringify(report, undefined, 2)}\n`);
  for (const { violation, departures } of result.violations) {
    const where = departures.map(({ kind, who, at }) => `${kind} ${who} before event ${at}`).join(', then ');
    process.stderr.write(`BROKEN: ${violation.law}: ${violation.message}\n  ${where || 'in the base run'}\n`);
  }
  if (values.output === 'json') process.stdout.write(`${JSON.stringify(report)}\n`);
  else {
    const width = Math.max(...Object.keys(report).map((name) => name.length));
    for (const [name, value] of Object.entries(report)) {
      process.stdout.write(`${name.padEnd(width)}  ${String(value).padStart(10)}\n`);
    }
  }
  process.exitCode = result.violations.length > 0 ? 1 : 0;
}
