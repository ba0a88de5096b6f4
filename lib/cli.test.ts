import { describe, expect, test } from '@jest/globals';
import { commonOptions, parseProgramArgs } from './cli.ts';

const program = {
  name: 'agent',
  summary: 'does things',
  options: {
    ...commonOptions,
    node: { type: 'string', required: true, env: 'NODE_NAME', description: 'the name of this node' },
    'leader-elect': { type: 'boolean', default: true, description: 'take part in the election' },
    verbose: { type: 'boolean', description: 'say more' },
    workers: { type: 'integer', default: 4, minimum: 1, maximum: 64, description: 'how many at a time' },
    pool: { type: 'size', description: 'size of the pool' },
  },
} as const;

function values(argv: readonly string[], env = {}) {
  const parsed = parseProgramArgs(program, argv, env);
  if (parsed.kind !== 'run') throw new Error('expected to run');
  return parsed.values;
}

test('options are given, come from the environment, or have a default', () => {
  const given = values(['--node', 'n1', '--lease-duration=1m30s', '--workers', '8', '--pool=10Gi', '--verbose']);
  // The types are part of it: none of these is possibly undefined.
  const [node, leaseMs, workers, level]: [string, number, number, 'debug' | 'info' | 'warn' | 'error'] = [
    given.node,
    given['lease-duration'],
    given.workers,
    given['log-level'],
  ] as never;
  expect([node, leaseMs, workers, level]).toEqual(['n1', 90_000, 8, 'info']);
  expect([given.pool, given.verbose, given['leader-elect'], given.kubeconfig]).toEqual([
    10_737_418_240,
    true,
    true,
    undefined,
  ]);
  const fromEnv = values([], { NODE_NAME: 'n2', KUBECONFIG: '/etc/kubeconfig' });
  expect([fromEnv.node, fromEnv.kubeconfig]).toEqual(['n2', '/etc/kubeconfig']);
  expect(values(['--node=n1'], { NODE_NAME: 'n2' }).node).toBe('n1');
});

test.each([
  ['--leader-elect=false', false],
  ['--no-leader-elect', false],
  ['--leader-elect', true],
  ['--leader-elect=true', true],
])('%s is %s', (word, value) => {
  expect(values(['--node=n', word])['leader-elect']).toBe(value);
});

test.each<[argv: string[], message: string]>([
  [[], '--node (or the variable NODE_NAME) is required: the name of this node (agent --node TEXT)'],
  [['--node='], '--node is empty'],
  [['--nodes', 'n1'], 'there is no option --nodes; there are --kubeconfig, --namespace,'],
  [['--node=n', '--workers=0'], '--workers is a whole number from 1 to 64, not "0"'],
  [['--node=n', '--workers=many'], '--workers is a whole number from 1 to 64, not "many"'],
  [['--node=n', '--lease-duration=10'], '--lease-duration: "10" is not a duration; write numbers with the units'],
  [['--node=n', '--pool=big'], '--pool: "big" is not a size'],
  [['--node=n', '--log-level=loud'], '--log-level is one of debug, info, warn, error, not "loud"'],
  [['--node=n', '--verbose=perhaps'], '--verbose is true or false, not "perhaps"'],
  [['--node'], "Option '--node <value>' argument missing"],
  [['n1'], "Unexpected argument 'n1'"],
])('%j is refused with what would be right', (argv, message) => {
  expect(() => values(argv)).toThrow(message);
  expect(() => values(argv)).toThrow(/^HF004: /);
});

test('a wrong variable is named as such', () => {
  const spec = { ...program, options: { port: { type: 'integer', env: 'PORT', description: 'x' } } } as const;
  expect(() => parseProgramArgs(spec, [], { PORT: 'http' })).toThrow('the variable PORT is a whole number');
});

test('--help lists every option with its default', () => {
  const parsed = parseProgramArgs(program, ['--workers=none', '-h']);
  expect(parsed).toMatchObject({ kind: 'help', text: expect.stringContaining('agent: does things') });
  const text = parsed.kind === 'help' ? parsed.text : '';
  expect(text).toContain('how many at a time (default 4)');
  expect(text).toMatch(/--node TEXT\s+the name of this node \(required; or NODE_NAME\)/);
  expect(text).toContain('--log-level debug|info|warn|error');
});

describe('words that are no options', () => {
  const program = {
    name: 'tool',
    summary: 'does things',
    options: {
      output: { type: 'choice', choices: ['table', 'json'], default: 'table', short: 'o', description: 'how' },
    },
    positionals: [
      { name: 'VOLUME', description: 'which', required: true },
      { name: 'NODE', description: 'where', required: false },
    ],
  } as const;

  test('may stand before and after options', () => {
    for (const argv of [
      ['pg', '-o', 'json'],
      ['-o', 'json', 'pg'],
      ['--output=json', 'pg'],
    ]) {
      expect(parseProgramArgs(program, argv)).toEqual({ kind: 'run', values: { output: 'json' }, words: ['pg'] });
    }
  });

  test('too few or too many are told, and the help shows them', () => {
    expect(() => parseProgramArgs(program, [])).toThrow('HF004: VOLUME is missing: which');
    expect(() => parseProgramArgs(program, ['a', 'b', 'c'])).toThrow('"c" is one word too many');
    expect(parseProgramArgs(program, ['--help'])).toMatchObject({
      text: expect.stringMatching(
        /Usage: tool VOLUME \[NODE\] \[options\][^]*-o, --output table\|json/,
      ) as unknown as string,
    });
  });
});
