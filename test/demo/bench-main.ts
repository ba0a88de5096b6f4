// The benchmark of the data path alone. Run by `make bench`, inside a lab's own namespaces.
import { parseArgs } from 'node:util';
import { startLab } from '../lab/lab.ts';
import { terminalProgress } from '../lab/progress.ts';
import { PRODUCT_LEASE_DURATION, startSystem } from '../system/system.ts';
import { bench } from './bench.ts';

const HELP = `usage: node test/lab/main.ts run -- node test/demo/bench-main.ts [options]

4 KiB random writes through Holdfast's device and through a hand-made mdadm array on the same legs, in turn.

options:
  --rounds N     turns of each (default 10, about 20 s a round)
  -o json        one JSON object instead of a table
  --help         this text
`;

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    output: { type: 'string', short: 'o', default: 'text' },
    help: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);

if (values.help) {
  process.stdout.write(HELP);
} else if (!Number.isInteger(rounds) || rounds < 1) {
  process.stderr.write(`--rounds ${values.rounds}: it must be a whole number of at least 1\n`);
  process.exitCode = 2;
} else {
  const lab = await startLab({ storage: 2, clients: 1, appDir: 'dist', progress: terminalProgress(process.stderr) });
  const system = await startSystem(lab, { leaseDuration: PRODUCT_LEASE_DURATION });
  const note = (text: string): boolean => process.stderr.write(`${text}\n`);
  const { runs, ...result } = await bench(system, lab.vm('c1'), note, rounds);
  await system.stop();
  await lab.stop();
  if (values.output === 'json') {
    process.stdout.write(`${JSON.stringify({ ...result, runs, accelerator: lab.accelerator })}\n`);
  } else {
    const line = (name: string, iops: number, each: readonly number[]): string =>
      `${name.padEnd(9)} ${iops.toFixed(0).padStart(6)} IOPS (median of ${each.map((value) => value.toFixed(0)).join(' ')})\n`;
    process.stdout.write(
      line('Holdfast', result.holdfastIops, runs.holdfast) +
        line('mdadm', result.mdadmIops, runs.mdadm) +
        `ratio     ${result.ratio.toFixed(2).padStart(6)}\n`,
    );
  }
}
