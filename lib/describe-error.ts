/**
 * The message of an error and of what caused it, in one line; the stack when it is a bug of ours (a TypeError and so on).
 * Told apart by shape: an error of Node's own modules may come from another realm than this module.
 */
export function describeError(error: unknown): string {
  if (!isErrorLike(error)) return typeof error === 'string' ? error : (JSON.stringify(error) ?? typeof error);
  const isBug = ['TypeError', 'ReferenceError', 'RangeError'].includes(error.name);
  const text = isBug ? (error.stack ?? error.message) : error.message;
  if (error.cause === undefined) return text;
  const cause = describeError(error.cause);
  return text.includes(cause) ? text : `${text}: ${cause}`;
}

/** Is it an error, of whatever realm? */
export function isErrorLike(error: unknown): error is Error & { readonly code?: unknown } {
  return typeof error === 'object' && error !== null && 'message' in error && 'name' in error;
}
