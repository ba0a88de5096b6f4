/**
 * The gate by itself, run inside one VM: `gate SCENARIO [JSON]` prints what was seen as JSON. Each scenario makes its own
 * legs, valves and array, and takes them away again.
 */
import { DEFAULT_RIG, tearDown } from './gate.ts';
import { cost } from './scenarios/cost.ts';
import { degradedRestart } from './scenarios/degraded.ts';
import { grow } from './scenarios/grow.ts';
import { hold } from './scenarios/hold.ts';
import { startArray, withoutBitmap } from './scenarios/kernel.ts';
import { killAdd, killAssemble, killDrop } from './scenarios/kills.ts';
import { allLegsAway, oneLegAway } from './scenarios/away.ts';
import { readError } from './scenarios/read-error.ts';
import { refused } from './scenarios/refused.ts';
import { threeLegs } from './scenarios/three-legs.ts';
import { write } from './writer.ts';

/** What an earlier scenario left when it failed. */
const clean = (): Promise<void> => tearDown({ ...DEFAULT_RIG, legs: [1, 2, 3, 4] });

const scenarios: Readonly<Record<string, (options: never) => Promise<unknown>>> = {
  hold,
  killAssemble,
  killDrop,
  killAdd,
  degradedRestart,
  threeLegs,
  grow,
  refused,
  readError,
  allLegsAway,
  oneLegAway,
  cost,
  startArray,
  withoutBitmap,
  clean,
};

const [, , name = '', ...rest] = process.argv;
const scenario = scenarios[name];
if (name === 'write') {
  const [device = '', queueDepth, blocks, log = ''] = rest;
  await write(device, Number(queueDepth), Number(blocks), log);
} else if (scenario !== undefined) {
  console.log(JSON.stringify((await scenario(JSON.parse(rest[0] ?? '{}') as never)) ?? {}));
} else {
  console.error(`usage: gate SCENARIO [JSON], with a scenario of ${Object.keys(scenarios).join(', ')}`);
  process.exitCode = 2;
}
