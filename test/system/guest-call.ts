import { status as codes } from '@grpc/grpc-js';
import { CsiCallError, messageCodec } from '../../csi-driver/client.ts';
import { IdentityService, NodeService } from '../../csi-driver/generated/csi.ts';
import type { Vm } from '../lab/vm/vm.ts';

const SOCKET = '/run/holdfast/csi.sock';
const DEFINITIONS = [...Object.values(IdentityService), ...Object.values(NodeService)];
/** curl's exit code when its time is over. Source: curl(1). */
const CURL_TIMED_OUT = 28;

/**
 * Calls a method of the CSI node service of a guest. curl makes the call there: kubelet has its client running, and a
 * program on Node would take seconds to start under emulation, which no user waits for.
 *
 * @param request in protobuf's JSON form
 * @throws CsiCallError
 */
export async function callInGuest(
  vm: Vm,
  method: string,
  request: object,
  timeoutMs: number,
): Promise<Record<string, unknown>> {
  const definition = DEFINITIONS.find(({ path }) => path.endsWith(`/${method}`));
  const [input, output] = [messageCodec(`${method}Request`), messageCodec(`${method}Response`)];
  if (!definition || !input || !output) throw new Error(`${method} is not a method of the CSI node service`);
  const headers = ['content-type: application/grpc', 'te: trailers', `grpc-timeout: ${timeoutMs}m`];
  const curl = [
    `curl -sS --http2-prior-knowledge -D >(cat >&2) --max-time ${timeoutMs / 1000} --unix-socket ${SOCKET}`,
    `--data-binary @- ${headers.map((header) => `-H '${header}'`).join(' ')} http://localhost${definition.path}`,
  ].join(' ');
  const message = (definition.requestSerialize as (message: object) => Buffer)(input.fromJSON(request));
  // Nothing else is started there: the time that a call takes is measured, and kubelet needs none of this.
  const result = await vm.execRaw(curl, { input: framed(message), timeoutMs: timeoutMs + 5000, check: false });
  if (result.code !== 0) {
    const code = result.code === CURL_TIMED_OUT ? 'DEADLINE_EXCEEDED' : 'UNAVAILABLE';
    throw new CsiCallError(method, code, result.stderr.trim());
  }
  const { code, details } = statusOf(result.stderr);
  if (code !== 'OK') throw new CsiCallError(method, code, details);
  const answer = result.stdout.subarray(PREFIX_BYTES);
  return output.toJSON(definition.responseDeserialize(answer)) as Record<string, unknown>;
}

/** Before each message of gRPC: a byte that says "not compressed", and its length. Source: grpc/grpc, PROTOCOL-HTTP2.md. */
const PREFIX_BYTES = 5;

function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** What the headers and trailers of a gRPC answer say, as curl prints them. */
export function statusOf(headers: string): { readonly code: string; readonly details: string } {
  const value = (name: string): string | undefined => new RegExp(`^${name}: ?(.*?)\\r?$`, 'im').exec(headers)?.[1];
  const number = value('grpc-status');
  if (number === undefined) return { code: 'UNKNOWN', details: `no gRPC status in the answer: ${headers.trim()}` };
  return { code: codes[Number(number)] ?? number, details: decodeURIComponent(value('grpc-message') ?? '') };
}
