import { status } from '@grpc/grpc-js';
import type { ErrorCode } from '../../lib/api/errors.ts';
import { HoldfastError } from '../../lib/api/errors.ts';
import { KubeError } from '../../lib/kube/client.ts';

/** The gRPC codes that the CSI specification gives a meaning to. */
export type StatusName = Exclude<keyof typeof status, number | 'OK'>;

/** An answer to a CSI call that is not success: the gRPC code tells the caller what to do, the message tells people. */
export class CsiError extends HoldfastError {
  readonly status: StatusName;

  constructor(statusName: StatusName, code: ErrorCode, message: string, field?: string) {
    super(code, message, field === undefined ? {} : { field });
    this.name = 'CsiError';
    this.status = statusName;
  }
}

/** INVALID_ARGUMENT that names the field, its value and what would be right. */
export function invalid(field: string, value: unknown, expected: string): CsiError {
  return new CsiError('INVALID_ARGUMENT', 'HF401', `${field} is ${shown(value)}: expected ${expected}`, field);
}

/** The gRPC code and message for any error; an error nobody thought of is INTERNAL with its own message. */
export function toStatus(error: unknown): { readonly status: StatusName; readonly message: string } {
  if (error instanceof CsiError) return { status: error.status, message: error.message };
  if (error instanceof HoldfastError) return { status: 'INVALID_ARGUMENT', message: error.message };
  if (error instanceof KubeError) return { status: kubeStatus(error), message: `Kubernetes API: ${error.message}` };
  return { status: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}

function kubeStatus(error: KubeError): StatusName {
  if (error.isConflict) return 'ABORTED';
  if (error.isNotFound) return 'NOT_FOUND';
  if (error.isInvalid) return 'INVALID_ARGUMENT';
  if (error.status === 401 || error.status === 403) return 'PERMISSION_DENIED';
  // Everything else (no answer, overload, an API server that restarts) passes by itself.
  return 'UNAVAILABLE';
}

function shown(value: unknown): string {
  if (value === undefined || value === '') return 'missing';
  if (typeof value === 'bigint') return value.toString();
  return (JSON.stringify(value) ?? typeof value).slice(0, 120);
}
