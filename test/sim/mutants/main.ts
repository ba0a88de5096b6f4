// Breaks the laws on purpose and sees the simulation catch it: `make mutants`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { hunt, mutants, type Caught } from './hunt.ts';
import { LAWS } from './mutation.ts';

const HELP = `usage: node test/sim/mutants/main.ts [options]

Gives the programs bugs, one at a time, that break a law of data safety, and runs the simulation until it notices. The same
schedule without the bug must break no law.

options:
  --seeds N      schedules for each at most (default 400)
  -o json        one JSON object instead of a table
  --help         this text

The report is written to build/mutants-report.json. Exit code 1: a bug was not caught.
`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '400' },
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
  await huntAll();
}

async function huntAll(): Promise<void> {
  const startedMs = performance.now();
  const results: Caught[] = [];
  for (const mutant of mutants) {
    const seeds = Array.from({ length: count }, (_, i) => i + 1);
    const caught = await hunt(mutant, seeds);
    results.push(caught);
    if (values.output !== 'json') process.stdout.write(`${line(caught)}\n`);
  }
  const isGuarded = (law: string): boolean => {
    const its = results.filter((each) => each.law === law);
    return its.length > 0 && its.every(({ seed }) => seed !== undefined);
  };
  const caught = LAWS.filter((law) => isGuarded(law)).length;
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
  const report = { laws: LAWS.length, caught, seconds, mutants: results };
  mkdirSync('build', { recursive: true });
  writeFileSync('build/mutants-report.json', `${JSON.stringify(report, undefined, 2)}\n`);
  if (values.output === 'json') process.stdout.write(`${JSON.stringify(report)}\n`);
  else {
    const found = results.filter(({ seed }) => seed !== undefined).length;
    process.stdout.write(
      `${found} of ${results.length} bugs caught, ${caught} of ${report.laws} laws guarded, ${seconds} s\n`,
    );
  }
  process.exitCode = caught < report.laws ? 1 : 0;
}

function line({ law, bug, seed, by, runs }: Caught): string {
  const how = seed === undefined ? `NOT CAUGHT in ${runs} schedules` : `schedule ${seed}: ${by}`;
  return `${law}: ${bug}\n  ${how}`;
}
