import { createLogger as createWinston, format, transports } from 'winston';
import { describeError, isErrorLike } from './describe-error.ts';

export { describeError, isErrorLike } from './describe-error.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFormat = 'json' | 'text';
export type LogFields = Readonly<Record<string, unknown>>;

/** Where a program says what it does. Fields carry the facts, so that the message stays the same and can be searched. */
export interface Logger {
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}

export interface LoggerOptions {
  /** The program's name, in every line. */
  readonly program: string;
  readonly level?: LogLevel;
  readonly format?: LogFormat;
  /** Where lines go; default standard error, which leaves standard output to a program's results. */
  readonly stream?: NodeJS.WritableStream;
}

export const logLevels = ['debug', 'info', 'warn', 'error'] as const satisfies LogLevel[];
export const logFormats = ['json', 'text'] as const satisfies LogFormat[];

/** One line per message: JSON for machines, or text for people. */
export function createLogger({ program, level = 'info', format: lines = 'json', stream }: LoggerOptions): Logger {
  const winston = createWinston({
    level,
    format: lines === 'json' ? format.combine(format.timestamp(), format.json()) : textLines,
    transports: [new transports.Stream({ stream: stream ?? process.stderr })],
  });
  const write = (at: LogLevel, message: string, fields: object = {}): void => {
    // The message is an own entry: winston would append a field named "message" to it.
    winston.log({ ...plain(fields), level: at, message, program });
  };
  return {
    debug: (message, fields) => write('debug', message, fields),
    info: (message, fields) => write('info', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    error: (message, fields) => write('error', message, fields),
  };
}

/** The same logger, with these fields in every line. */
export function withFields(log: Logger, fields: object): Logger {
  return {
    debug: (message, more) => log.debug(message, { ...fields, ...more }),
    info: (message, more) => log.info(message, { ...fields, ...more }),
    warn: (message, more) => log.warn(message, { ...fields, ...more }),
    error: (message, more) => log.error(message, { ...fields, ...more }),
  };
}

/** Says nothing; for tests. */
export const silentLog: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

const textLines = format.printf(({ level, message, program, ...fields }) => {
  const time = new Date().toISOString().slice(11, 23);
  const rest = Object.entries(fields).map(([name, value]) => ` ${name}=${inText(value)}`);
  return `${time} ${level.toUpperCase().padEnd(5)} ${String(program)}: ${String(message)}${rest.join('')}`;
});

function inText(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : (JSON.stringify(value) ?? String(value));
}

/** An Error has no enumerable fields and a bigint no JSON: say what they hold. */
function plain(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]: [string, unknown]) => {
      if (isErrorLike(value)) return [name, describeError(value)];
      return [name, typeof value === 'bigint' ? value.toString() : value];
    }),
  );
}
