// Breaks the laws on purpose and sees the simulation catch it: `make mutants`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { hunt, mutants, type Caught } from './mutants.ts';

const HELP = `usage: node test/sim/mutants-main.ts [options]

Gives the programs bugs, one at a time, that break a law of data safety, and runs the simulation until it notices.

options:
  --seeds N      schedules for each at most (default 500)
  -o json        one JSON object instead of a table
  --help         this text

The report is written to build/mutants-report.json. Exit code 1: a bug was not caught.
`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '500' },
    output: { type: 'string', short: 'o', default: 'text' },
    help: { type: 'boolean', default: false },
  },
});
const count = Number(values.seeds);
if (values.help) {
  process.stdout.write(HELP);
} else if (!Number.isInteger(count) || count < 1) {
  process.stderr.write(`--seeds ${values.seeds}: it must be a whole number of at least 1\n`);
  process.exitCode = 2;
} else {
  const results: Caught[] = [];
  for (const mutant of mutants) {
    const caught = await hunt(
      mutant,
      Array.from({ length: count }, (_, i) => i + 1),
    );
    results.push(caught);
    process.stderr.write(`${caught.seed === undefined ? 'MISSED' : 'caught'}  ${caught.law}: ${caught.bug}\n`);
  }
  const laws = new Set(results.map(({ law }) => law));
  const missed = new Set(results.filter(({ seed }) => seed === undefined).map(({ law }) => law));
  const report = { laws: laws.size, caught: laws.size - missed.size, mutants: results };
  mkdirSync('build', { recursive: true });
  writeFileSync('build/mutants-report.json', `${JSON.stringify(report, undefined, 2)}\n`);
  if (values.output === 'json') process.stdout.write(`${JSON.stringify(report)}\n`);
  else {
    const width = Math.max(...results.map(({ bug }) => bug.length));
    for (const { bug, seed, by } of results) {
      process.stdout.write(`${bug.padEnd(width)}  ${seed === undefined ? 'not caught' : `seed ${seed}: ${by}`}\n`);
    }
    process.stdout.write(`${report.caught} of ${report.laws} laws guarded\n`);
  }
  process.exitCode = missed.size > 0 ? 1 : 0;
}
