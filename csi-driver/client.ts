import {
  Client,
  credentials,
  Metadata,
  status,
  type ClientUnaryCall,
  type MethodDefinition,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import * as csi from './generated/csi.ts';
import type { DeepPartial } from './generated/csi.ts';
import { parseEndpoint } from './grpc/endpoint.ts';

/** What a CSI call answered instead of success. */
export class CsiCallError extends Error {
  readonly method: string;
  /** The gRPC code's name, such as `FAILED_PRECONDITION`. */
  readonly code: string;
  readonly details: string;

  constructor(method: string, code: string, details: string) {
    super(`${method}: ${code}: ${details}`);
    this.name = 'CsiCallError';
    this.method = method;
    this.code = code;
    this.details = details;
  }
}

export interface CallOptions {
  /** Default 60 000 ms. */
  readonly timeoutMs?: number;
}

type Methods<Definition> = {
  readonly [Method in keyof Definition]: Definition[Method] extends {
    readonly requestDeserialize: (bytes: Buffer) => infer Request;
    readonly responseDeserialize: (bytes: Buffer) => infer Response;
  }
    ? (request: DeepPartial<Request>, options?: CallOptions) => Promise<Response>
    : never;
};

/** The services of a CSI driver as plain typed functions. Fields that a request leaves out are empty. */
export interface CsiClient {
  readonly identity: Methods<typeof csi.IdentityService>;
  readonly controller: Methods<typeof csi.ControllerService>;
  readonly groups: Methods<typeof csi.GroupControllerService>;
  readonly node: Methods<typeof csi.NodeService>;
  close(): void;
}

/** The functions that ts-proto generates beside each message's type. */
export interface MessageCodec {
  fromPartial(object: object): object;
  fromJSON(object: unknown): object;
  toJSON(message: object): unknown;
}

const DEFAULT_TIMEOUT_MS = 60_000;

/**
 * A client for the driver behind a UNIX socket. Calls throw CsiCallError.
 *
 * @throws HoldfastError (HF004) when the endpoint is not a UNIX socket
 */
export function createCsiClient(endpoint: string): CsiClient {
  const client = new Client(`unix:${parseEndpoint(endpoint)}`, credentials.createInsecure(), {
    // Each client has a connection of its own: one that was broken off must not delay the next with its backoff.
    'grpc.use_local_subchannel_pool': 1,
  });
  return {
    identity: methods(client, csi.IdentityService),
    controller: methods(client, csi.ControllerService),
    groups: methods(client, csi.GroupControllerService),
    node: methods(client, csi.NodeService),
    close: () => client.close(),
  };
}

/** The codec of a message by its name in the specification, such as `CreateVolumeRequest`; undefined for no message. */
export function messageCodec(name: string): MessageCodec | undefined {
  return (csi as unknown as Readonly<Record<string, MessageCodec | undefined>>)[name];
}

/**
 * Calls a method by its name in the specification, such as `CreateVolume`.
 *
 * @param request in protobuf's JSON form, as the answer is
 * @throws CsiCallError; Error when there is no such method
 */
export async function callByName(
  client: CsiClient,
  method: string,
  request: object,
  timeoutMs: number,
): Promise<Record<string, unknown>> {
  const name = method.charAt(0).toLowerCase() + method.slice(1);
  const services = [client.identity, client.controller, client.groups, client.node] as readonly object[];
  const call = services.map((service) => (service as Readonly<Record<string, unknown>>)[name]).find(Boolean);
  const [input, output] = [messageCodec(`${method}Request`), messageCodec(`${method}Response`)];
  if (typeof call !== 'function' || !input || !output)
    throw new Error(`${method} is not a method of CSI, such as Probe or CreateVolume`);
  return output.toJSON(await call(input.fromJSON(request), { timeoutMs })) as Record<string, unknown>;
}

function methods<Definition extends ServiceDefinition>(client: Client, definition: Definition): Methods<Definition> {
  const calls = Object.entries(definition).map(([method, { path, requestSerialize, responseDeserialize }]) => {
    const name = path.split('/').at(-1) ?? method;
    const call = (request: object, { timeoutMs = DEFAULT_TIMEOUT_MS }: CallOptions = {}): Promise<object> =>
      unaryCall(client, { name, path, requestSerialize, responseDeserialize }, request, timeoutMs);
    return [method, call];
  });
  return Object.fromEntries(calls) as Methods<Definition>;
}

type Method = Pick<MethodDefinition<object, object>, 'path' | 'requestSerialize' | 'responseDeserialize'> & {
  readonly name: string;
};

function unaryCall(client: Client, method: Method, request: object, timeoutMs: number): Promise<object> {
  const { name, path, requestSerialize, responseDeserialize } = method;
  const message = messageCodec(`${name}Request`)?.fromPartial(request) ?? request;
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + timeoutMs };
    const call: ClientUnaryCall = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      message,
      new Metadata(),
      options,
      (error, response) => {
        if (error !== null) reject(new CsiCallError(name, status[error.code] ?? String(error.code), error.details));
        else if (response === undefined) reject(new CsiCallError(name, 'INTERNAL', 'an answer without a message'));
        else resolve(response);
      },
    );
    call.on('error', () => undefined);
  });
}
