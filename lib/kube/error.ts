/** The body of an answer that isn't the object asked for. */
export interface KubeStatus {
  readonly kind?: string;
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: { readonly retryAfterSeconds?: number };
}

export interface KubeErrorDetails {
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/**
 * A request that the API server refused (`status` is the HTTP status) or that got no answer (`status` is 0, `reason` is
 * Timeout or ConnectionFailed: the request may or may not have been carried out).
 */
export class KubeError extends Error {
  readonly status: number;
  readonly reason: string;
  /** How long the server asks to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, reason: string, message: string, details: KubeErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'KubeError';
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = details.retryAfterMs;
  }

  get isNotFound(): boolean {
    return this.status === 404;
  }

  /** A precondition (resourceVersion, uid) or a field's owner stood against the change. */
  get isConflict(): boolean {
    return this.status === 409 && this.reason !== 'AlreadyExists';
  }

  get isAlreadyExists(): boolean {
    return this.status === 409 && this.reason === 'AlreadyExists';
  }

  /** The schema or a CEL rule refuses the object; the message says which. */
  get isInvalid(): boolean {
    return this.status === 422;
  }

  get isForbidden(): boolean {
    return this.status === 403;
  }

  /** A list or watch began at a resourceVersion that the server no longer has. */
  get isExpired(): boolean {
    return this.status === 410 || this.reason === 'Expired' || this.reason === 'Gone';
  }

  /** No answer: unlike a refusal, it says nothing about whether the change was made. */
  get isUnanswered(): boolean {
    return this.status === 0;
  }
}

/** The error that an HTTP answer stands for. */
export function errorOfResponse(
  request: string,
  status: number,
  body: string,
  retryAfterHeader: string | undefined,
): KubeError {
  const parsed = parseStatus(body);
  const retryAfterSeconds = parsed?.details?.retryAfterSeconds ?? Number(retryAfterHeader ?? Number.NaN);
  return new KubeError(
    status,
    parsed?.reason ?? '',
    `${request}: ${parsed?.message ?? (body.trim().slice(0, 300) || `HTTP status ${status}`)}`,
    { retryAfterMs: Number.isFinite(retryAfterSeconds) ? retryAfterSeconds * 1000 : undefined },
  );
}

function parseStatus(body: string): KubeStatus | undefined {
  try {
    const parsed = JSON.parse(body) as unknown;
    return typeof parsed === 'object' && parsed !== null && 'message' in parsed ? (parsed as KubeStatus) : undefined;
  } catch {
    // A proxy in between, or an API server that is starting, answers in plain text.
    return undefined;
  }
}
