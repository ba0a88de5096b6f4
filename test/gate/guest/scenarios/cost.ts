import { run } from '../../../../lib/host/exec.ts';
import * as gate from '../gate.ts';
import { asking } from '../writer.ts';

export interface CostResult {
  readonly withValve: readonly number[];
  readonly without: readonly number[];
}

/** IOPS of 4 KiB random writes on the same legs, with a valve below md and without, in turn. */
export async function cost({
  queueDepth,
  rounds,
  seconds,
}: {
  readonly queueDepth: number;
  readonly rounds: number;
  readonly seconds: number;
}): Promise<CostResult> {
  const figures = { withValve: [] as number[], without: [] as number[] };
  const rig = gate.DEFAULT_RIG;
  return await gate.withRig(rig, async () => {
    for (let round = 0; round < rounds; round++) {
      for (const valves of round % 2 === 0 ? [true, false] : [false, true]) {
        const turn = { ...rig, valves };
        await gate.start(turn);
        figures[valves ? 'withValve' : 'without'].push(await asking(() => fio(queueDepth, seconds)));
        await gate.stop();
        if (valves) for (const leg of rig.legs) await gate.valves.remove(gate.valveOf(leg));
      }
    }
    return figures;
  });
}

async function fio(queueDepth: number, seconds: number): Promise<number> {
  const common = [`--filename=${gate.DEVICE}`, '--ioengine=libaio', '--direct=1', '--size=8m'];
  // The bits are set first: setting them is not what is compared.
  await run('fio', ['--name=fill', ...common, '--rw=write', '--bs=64k', '--iodepth=8'], { timeoutMs: 60_000 });
  const measure = ['--rw=randwrite', '--bs=4k', `--iodepth=${queueDepth}`, '--time_based', `--runtime=${seconds}`];
  const { stdout } = await run('fio', ['--name=measure', ...common, ...measure, '--output-format=json'], {
    timeoutMs: 120_000,
  });
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: { write: { iops: number } }[] };
  return Math.round(report.jobs[0]?.write.iops ?? 0);
}
