import { parseArgs } from 'node:util';
import { parseDurationMs } from '../lib/api/duration.ts';
import { callByName, createCsiClient, CsiCallError, messageCodec } from './client.ts';

const usage = `csi-call: calls a CSI driver and prints its answer as JSON

csi-call [--endpoint unix:///run/holdfast/csi.sock] [--timeout 60s] METHOD ['{"volume_id": ...}'] [METHOD ['{...}'] ...]

METHOD is a method of the CSI specification, such as Probe, CreateVolume or NodeStageVolume. The request is the
message in protobuf's JSON form; field names as in the specification or in camelCase. Several are called one after the
other, each after the one before has succeeded. Exit code 1: the driver refused
(code and message on standard error); 2: the command line is wrong.
`;

/** A command line that makes no sense. */
class UsageError extends Error {}

/** What the program did: its exit code and what to print. */
interface Outcome {
  readonly code: 0 | 1 | 2;
  readonly stdout?: string;
  readonly stderr?: string;
}

/** Runs one command line. Throws nothing: whatever goes wrong is in the outcome. */
export async function csiCall(argv: readonly string[]): Promise<Outcome> {
  try {
    const parsed = parseCommand(argv);
    if (parsed === undefined) return { code: 0, stdout: usage };
    const { endpoint, calls, timeoutMs } = parsed;
    const client = createCsiClient(endpoint);
    try {
      let stdout = '';
      for (const { method, request } of calls) {
        const response = await callByName(client, method, request, timeoutMs);
        stdout += `${JSON.stringify(response, null, 2)}\n`;
      }
      return { code: 0, stdout };
    } finally {
      client.close();
    }
  } catch (error) {
    if (error instanceof CsiCallError) return { code: 1, stderr: `${error.code}: ${error.details}\n` };
    const message = error instanceof Error ? error.message : String(error);
    return { code: 2, stderr: `csi-call: ${message}\nTry "csi-call --help".\n` };
  }
}

interface Command {
  readonly endpoint: string;
  readonly calls: readonly { readonly method: string; readonly request: object }[];
  readonly timeoutMs: number;
}

function parseCommand(argv: readonly string[]): Command | undefined {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      endpoint: { type: 'string', default: process.env['CSI_ENDPOINT'] ?? 'unix:///run/holdfast/csi.sock' },
      timeout: { type: 'string', default: '60s' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const isMethod = (word: string | undefined): boolean => /^[A-Z]/.test(word ?? '');
  const calls = positionals.flatMap((word, index) => {
    if (isMethod(word)) {
      const next = positionals[index + 1];
      return [{ method: word, request: parseRequest(word, next === undefined || isMethod(next) ? '{}' : next) }];
    }
    if (isMethod(positionals[index - 1])) return [];
    throw new UsageError(index === 0 ? `no METHOD before ${word}` : `too many arguments: ${word}`);
  });
  if (calls.length === 0) throw new UsageError('no METHOD given');
  const timeoutMs = parseDurationMs(values.timeout, '--timeout');
  return { endpoint: values.endpoint, calls, timeoutMs };
}

function parseRequest(method: string, json: string): object {
  const codec = messageCodec(`${method}Request`);
  if (codec === undefined) throw new UsageError(`${method} is not a method of CSI, such as Probe or CreateVolume`);
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch (error) {
    throw new UsageError(`the request is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new UsageError('the request is a JSON object, such as {"volume_id": "pvc-1"}');
  }
  const known = Object.keys(codec.fromPartial({}));
  // The generated reader passes over names that it doesn't know: a typing error would be an empty field.
  const unknown = Object.keys(given).find((key) => !known.includes(key) && !known.map(snakeCase).includes(key));
  if (unknown !== undefined) {
    throw new UsageError(
      `${method}Request has no field "${unknown}"; it has ${known.map(snakeCase).join(', ') || 'none'}`,
    );
  }
  return given;
}

function snakeCase(camelCase: string): string {
  return camelCase.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

if (import.meta.main) {
  const { code, stdout = '', stderr = '' } = await csiCall(process.argv.slice(2));
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  process.exitCode = code;
}
