import { parseArgs } from 'node:util';
import { parseDurationMs } from './api/duration.ts';
import { HoldfastError } from './api/errors.ts';
import { parseSizeBytes } from './api/size.ts';
import { describeError, isErrorLike } from './describe-error.ts';

interface CommonSpec {
  /** One line for --help. */
  readonly description: string;
  /** One letter: `-o` for `--output`. */
  readonly short?: string;
  /** Read when the option isn't given. */
  readonly env?: string;
  readonly required?: boolean;
}

/** What an option takes. A duration's value is in milliseconds, a size's in bytes; defaults are written as the user would. */
export type OptionSpec =
  | (CommonSpec & { readonly type: 'string'; readonly default?: string; readonly placeholder?: string })
  | (CommonSpec & { readonly type: 'choice'; readonly choices: readonly string[]; readonly default?: string })
  | (CommonSpec & { readonly type: 'boolean'; readonly default?: boolean })
  | (CommonSpec & {
      readonly type: 'integer';
      readonly default?: number;
      readonly minimum?: number;
      readonly maximum?: number;
    })
  | (CommonSpec & { readonly type: 'duration' | 'size'; readonly default?: string });

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type BaseValue<S extends OptionSpec> = S extends { type: 'choice'; choices: readonly (infer C)[] }
  ? C
  : S['type'] extends 'boolean'
    ? boolean
    : S['type'] extends 'integer' | 'duration' | 'size'
      ? number
      : string;

/** The value of an option: never undefined when it is required, has a default, or is a flag. */
export type OptionValue<S extends OptionSpec> = S extends
  { type: 'boolean' } | { required: true } | { default: unknown }
  ? BaseValue<S>
  : BaseValue<S> | undefined;

export type OptionValues<O extends OptionSpecs> = { readonly [K in keyof O]: OptionValue<O[K]> };

/** A word that is no option. */
export interface PositionalSpec {
  /** As the help shows it, e.g. `VOLUME`. */
  readonly name: string;
  readonly description: string;
  readonly required: boolean;
}

export interface ProgramSpec<O extends OptionSpecs> {
  readonly name: string;
  readonly summary: string;
  readonly options: O;
  /** In their order; the required ones first. */
  readonly positionals?: readonly PositionalSpec[];
}

export type ParsedArgs<O extends OptionSpecs> =
  | { readonly kind: 'run'; readonly values: OptionValues<O>; readonly words: readonly string[] }
  | { readonly kind: 'help'; readonly text: string };

/** The options that every program of Holdfast has. */
export const commonOptions = {
  kubeconfig: {
    type: 'string',
    placeholder: 'FILE',
    env: 'KUBECONFIG',
    description: 'how to reach the API server; default: the service account of the pod',
  },
  namespace: { type: 'string', default: 'holdfast-system', description: 'where the Leases are' },
  'lease-duration': {
    type: 'duration',
    default: '10s',
    description: 'a node whose Lease is older counts as away; renewed every third of it',
  },
  health: {
    type: 'string',
    placeholder: 'HOST:PORT',
    description: 'where to answer /livez and /readyz; default: nowhere',
  },
  'log-level': {
    type: 'choice',
    choices: ['debug', 'info', 'warn', 'error'],
    default: 'info',
    description: 'what to log',
  },
  'log-format': { type: 'choice', choices: ['json', 'text'], default: 'json', description: 'how to log' },
} as const satisfies OptionSpecs;

/**
 * Reads the command line: `--name value`, `--name=value`, for flags `--name`, `--no-name` and `--name=false`.
 * @throws HoldfastError HF004 that names the option, the value and what would be right.
 */
export function parseProgramArgs<const O extends OptionSpecs>(
  program: ProgramSpec<O>,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
): ParsedArgs<O> {
  const { values: given, positionals: words } = readOptions(program, argv);
  if (given['help'] !== undefined) return { kind: 'help', text: helpText(program) };
  const missing = program.positionals?.find(({ required }, at) => required && at >= words.length);
  if (missing !== undefined) throw badOption(missing.name, `${missing.name} is missing: ${missing.description}`);
  const [extra] = words.slice(program.positionals?.length ?? 0);
  if (extra !== undefined) throw badOption(undefined, `"${extra}" is one word too many`);
  const values = Object.entries(program.options).map(([name, spec]) => {
    const fromEnv = spec.env === undefined ? undefined : env[spec.env];
    const text = given[name] ?? (fromEnv === '' ? undefined : fromEnv);
    const source = given[name] === undefined && spec.env !== undefined ? `the variable ${spec.env}` : `--${name}`;
    return [name, text === undefined ? absent(program, name, spec) : toValue(spec, text, source)];
  });
  return { kind: 'run', values: Object.fromEntries(values) as OptionValues<O>, words };
}

/** {@link parseProgramArgs} for a program's first line: prints help and exits with 0, prints a mistake and exits with 2. */
export function parseOrExit<const O extends OptionSpecs>(program: ProgramSpec<O>): OptionValues<O> {
  try {
    const parsed = parseProgramArgs(program, process.argv.slice(2), process.env);
    if (parsed.kind === 'run') return parsed.values;
    process.stdout.write(parsed.text);
    process.exit(0);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    process.stderr.write(`${program.name}: ${error.message}\nTry "${program.name} --help".\n`);
    process.exit(2);
  }
}

/** Does what rests on a person's input: a mistake there ends the program with 2 and one line, without a stack trace. */
export async function orExit<T>(program: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    process.stderr.write(`${program}: ${error.message}\n`);
    process.exit(2);
  }
}

interface GivenOptions {
  readonly values: Readonly<Record<string, string | undefined>>;
  readonly positionals: readonly string[];
}

function readOptions(program: ProgramSpec<OptionSpecs>, argv: readonly string[]): GivenOptions {
  const flags = new Set([
    'help',
    ...Object.entries(program.options).flatMap(([n, s]) => (s.type === 'boolean' ? [n] : [])),
  ]);
  // util.parseArgs knows no --flag=false: flags are read as options with a value.
  const explicit = argv.map((word) => {
    if (word === '-h') return '--help=true';
    const name = word.replace(/^--(no-)?/, '');
    if (!word.startsWith('--') || !flags.has(name)) return word;
    return `--${name}=${String(!word.startsWith('--no-'))}`;
  });
  try {
    const options = Object.entries(program.options).map(([name, { short }]) => [
      name,
      { type: 'string', ...(short === undefined ? {} : { short }) },
    ]);
    const allowPositionals = (program.positionals ?? []).length > 0;
    return parseArgs({
      args: explicit,
      strict: true,
      allowPositionals,
      options: { ...(Object.fromEntries(options) as Record<string, { type: 'string' }>), help: { type: 'string' } },
    });
  } catch (error) {
    throw badOption(undefined, explain(error, Object.keys(program.options)), error);
  }
}

function explain(error: unknown, known: readonly string[]): string {
  // These are TypeErrors, but the user's mistakes, not ours: no stack.
  const message = isErrorLike(error) ? error.message : String(error);
  const unknown = /^Unknown option '(--?[^']*)'/.exec(message)?.[1];
  if (unknown === undefined) return message.split('. ')[0] ?? message;
  return `there is no option ${unknown}; there are ${known.map((name) => `--${name}`).join(', ')}`;
}

function badOption(option: string | undefined, message: string, cause?: unknown): HoldfastError {
  return new HoldfastError('HF004', message, {
    field: option,
    cause: cause instanceof HoldfastError ? undefined : cause,
  });
}

function absent(program: ProgramSpec<OptionSpecs>, name: string, spec: OptionSpec): unknown {
  if (spec.default !== undefined) {
    return typeof spec.default === 'string' ? toValue(spec, spec.default, `--${name}`) : spec.default;
  }
  if (spec.type === 'boolean') return false;
  if (spec.required !== true) return undefined;
  const orEnv = spec.env === undefined ? '' : ` (or the variable ${spec.env})`;
  throw badOption(
    name,
    `--${name}${orEnv} is required: ${spec.description} (${program.name} --${name} ${placeholder(spec)})`,
  );
}

function toValue(spec: OptionSpec, text: string, source: string): string | number | boolean {
  switch (spec.type) {
    case 'string':
      if (text === '') throw badOption(source, `${source} is empty`);
      return text;
    case 'choice':
      if (!spec.choices.includes(text)) {
        throw badOption(source, `${source} is one of ${spec.choices.join(', ')}, not "${text}"`);
      }
      return text;
    case 'boolean':
      if (text !== 'true' && text !== 'false') throw badOption(source, `${source} is true or false, not "${text}"`);
      return text === 'true';
    case 'integer': {
      const value = /^-?[0-9]+$/.test(text) ? Number(text) : Number.NaN;
      const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER } = spec;
      if (!(value >= minimum && value <= maximum)) {
        throw badOption(source, `${source} is a whole number from ${minimum} to ${maximum}, not "${text}"`);
      }
      return value;
    }
    case 'duration':
      return parsed(source, () => parseDurationMs(text, source));
    case 'size':
      return parsed(source, () => parseSizeBytes(text, source));
  }
}

/** A wrong value is a wrong option: one code for the command line. */
function parsed(source: string, parse: () => number): number {
  try {
    return parse();
  } catch (error) {
    throw badOption(source, describeError(error).replace(/^HF\d+: /, ''), error);
  }
}

function placeholder(spec: OptionSpec): string {
  switch (spec.type) {
    case 'string':
      return spec.placeholder ?? 'TEXT';
    case 'choice':
      return spec.choices.join('|');
    case 'boolean':
      return '';
    case 'integer':
      return 'NUMBER';
    case 'duration':
      return 'DURATION';
    case 'size':
      return 'SIZE';
  }
}

function helpText(program: ProgramSpec<OptionSpecs>): string {
  const lines = Object.entries(program.options).map(([name, spec]): readonly [string, string] => {
    const facts = [
      ...(spec.required === true ? ['required'] : []),
      ...(spec.default === undefined ? [] : [`default ${String(spec.default)}`]),
      ...(spec.env === undefined ? [] : [`or ${spec.env}`]),
    ];
    const short = spec.short === undefined ? '' : `-${spec.short}, `;
    return [
      `${short}--${name} ${placeholder(spec)}`.trimEnd(),
      `${spec.description}${facts.length > 0 ? ` (${facts.join('; ')})` : ''}`,
    ];
  });
  const all = [...lines, ['--help', 'print this'] as const];
  const width = Math.max(...all.map(([left]) => left.length));
  const options = all.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
  const positionals = program.positionals ?? [];
  const usage = positionals.map(({ name, required }) => (required ? name : `[${name}]`)).join(' ');
  const words = positionals.map(({ name, description }) => `  ${name.padEnd(width)}  ${description}`);
  const head = words.length === 0 ? '' : `Usage: ${program.name} ${usage} [options]\n\n${words.join('\n')}\n\n`;
  return `${program.name}: ${program.summary}\n\n${head}Options:\n${options.join('\n')}\n`;
}
