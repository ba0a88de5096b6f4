import type { ControllerService, GroupControllerService, IdentityService, NodeService } from '../generated/csi.ts';

/** What a call knows beside its request. */
export interface CallContext {
  /** Aborted when the caller has gone or this program stops: waiting has no more use. */
  readonly signal: AbortSignal;
  /** When the answer must be on its way, in ms of `Date.now()`. */
  readonly deadlineMs: number;
}

/** One CSI method as a plain function; what it throws becomes the gRPC status (see toStatus). */
export type Handler<Request, Response> = (request: Request, context: CallContext) => Promise<Response>;

/** The methods of a service as plain functions. */
export type Handlers<Definition> = {
  readonly [Method in keyof Definition]?: Definition[Method] extends {
    readonly requestDeserialize: (bytes: Buffer) => infer Request;
    readonly responseDeserialize: (bytes: Buffer) => infer Response;
  }
    ? Handler<Request, Response>
    : never;
};

/** The methods that are left out answer UNIMPLEMENTED. */
export type IdentityHandlers = Handlers<typeof IdentityService>;
export type ControllerHandlers = Handlers<typeof ControllerService>;
export type GroupControllerHandlers = Handlers<typeof GroupControllerService>;
export type NodeHandlers = Handlers<typeof NodeService>;
