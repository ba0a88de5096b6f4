#!/usr/bin/env node
import { HoldfastError } from '../lib/api/index.ts';
import { parseProgramArgs, type OptionSpecs, type OptionValues, type ProgramSpec } from '../lib/cli.ts';
import { KubeError } from '../lib/kube/client.ts';
import { check } from './check/check.ts';
import { lookAtThisHost } from './check/host.ts';
import { contextOf, open, shared, type Context } from './context.ts';
import { forceStart } from './force-start.ts';
import { recover } from './recover/recover.ts';
import { painter } from './terminal.ts';
import { listVolumes, showVolume } from './volumes.ts';

/** One command of the program. */
interface Command {
  /** The words after `holdfast`. */
  readonly path: readonly string[];
  readonly summary: string;
  run(argv: readonly string[]): Promise<number>;
}

function command<const O extends OptionSpecs>(
  path: readonly string[],
  spec: Omit<ProgramSpec<O & typeof shared>, 'name' | 'options'> & { readonly options: O },
  run: (context: Context, values: OptionValues<O & typeof shared>, words: readonly string[]) => Promise<number>,
): Command {
  const program = { ...spec, name: `holdfast ${path.join(' ')}`, options: { ...spec.options, ...shared } };
  return {
    path,
    summary: spec.summary,
    run: async (argv) => {
      const parsed = parseProgramArgs<O & typeof shared>(program, argv, process.env);
      if (parsed.kind === 'help') {
        process.stdout.write(parsed.text);
        return 0;
      }
      const values: OptionValues<typeof shared> = parsed.values;
      const connection = open(values.kubeconfig);
      const out = (text: string): void => void process.stdout.write(text);
      try {
        const context = contextOf(connection, values.namespace, out, painter(process.stdout));
        return await run(context, parsed.values, parsed.words);
      } finally {
        connection.close();
      }
    },
  };
}

const VOLUME = { name: 'VOLUME', description: 'name of the ReplicatedVolume', required: true } as const;

const commands: readonly Command[] = [
  command(['volume', 'list'], { summary: 'lists all volumes', options: {} }, (context, { output }) =>
    listVolumes(context, output === 'json'),
  ),
  command(
    ['volume', 'show'],
    { summary: 'shows a volume: its record, its replicas, its client', options: {}, positionals: [VOLUME] },
    (context, { output }, [name = '']) => showVolume(context, name, output === 'json'),
  ),
  command(
    ['volume', 'force-start'],
    {
      summary: 'goes on from a replica that lacks acknowledged writes, when no in-sync replica can be reached',
      options: {
        replica: { type: 'string', placeholder: 'REPLICA', description: 'the replica whose data is to be the volume' },
        'accept-data-loss': { type: 'boolean', description: 'do it; without it the command tells what is lost' },
      },
      positionals: [VOLUME],
    },
    (context, { output, replica, 'accept-data-loss': acceptDataLoss }, [name = '']) =>
      forceStart(context, name, { replica, acceptDataLoss, json: output === 'json' }),
  ),
  command(
    ['check'],
    {
      summary: 'compares what the API says with itself, and with the machine that it runs on; changes nothing',
      options: {
        node: {
          type: 'string',
          placeholder: 'NAME',
          description: 'the node that this machine is: also compares its volumes, exports, arrays and mounts (root)',
        },
      },
    },
    (context, { output, node }) => check(context, { node, json: output === 'json' }, lookAtThisHost),
  ),
  command(
    ['recover'],
    {
      summary: 'makes the objects of volumes anew from what the storage nodes hold; shows it unless --apply is given',
      options: {
        apply: { type: 'boolean', description: 'write it' },
        without: {
          type: 'string',
          placeholder: 'REPLICAS',
          description: 'replicas that are lost for good, with commas: what only they hold is given up',
        },
        keep: {
          type: 'string',
          placeholder: 'REPLICA',
          description: 'where the disks leave it open (HF602): the replica whose data is to be the volume',
        },
        'accept-data-loss': { type: 'boolean', description: 'with --keep and --apply: do it' },
      },
      positionals: [{ ...VOLUME, description: 'only this volume', required: false }],
    },
    (context, { output, apply, without, keep, 'accept-data-loss': acceptDataLoss }, [volume]) =>
      recover(context, {
        volume,
        apply,
        keep,
        acceptDataLoss,
        without: without?.split(',') ?? [],
        json: output === 'json',
      }),
  ),
];

function help(): string {
  const width = Math.max(...commands.map(({ path }) => path.join(' ').length));
  const lines = commands.map(({ path, summary }) => `  ${path.join(' ').padEnd(width)}  ${summary}`);
  return `holdfast: what a person does by hand with replicated volumes\n\nUsage: holdfast COMMAND [options]   (or: kubectl holdfast COMMAND)\n\n${lines.join('\n')}\n\nholdfast COMMAND --help tells of its options. Exit codes: 0 done, 1 failed or errors found, 2 wrong usage, 3 only\nwarnings found (check).\n`;
}

/** Runs one command line and gives the exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const found = commands.find(({ path }) => path.every((word, at) => argv[at] === word));
  if (found !== undefined) return await found.run(argv.slice(found.path.length));
  const isHelp = argv.length === 0 || ['--help', '-h', 'help'].some((word) => argv.includes(word));
  if (isHelp) {
    process.stdout.write(help());
    return argv.length === 0 ? 2 : 0;
  }
  const known = commands.map(({ path }) => path.join(' ')).join(', ');
  throw new HoldfastError('HF004', `there is no command "${argv.slice(0, 2).join(' ')}"; there are ${known}`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof HoldfastError) && !(error instanceof KubeError)) throw error;
  process.stderr.write(`holdfast: ${error.message}\n`);
  process.exitCode = error instanceof HoldfastError && error.code === 'HF004' ? 2 : 1;
}
