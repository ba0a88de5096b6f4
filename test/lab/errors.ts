/**
 * A failure of the lab itself that a person can act on: the message says what is wrong and what to do. The command line
 * prints it without a stack trace.
 */
export class LabError extends Error {
  override readonly name = 'LabError';
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'message' in error ? String(error.message) : String(error);
}

/**
 * True for a Node system error with this code, for example 'ENOENT'. Not by instanceof: under jest, Node's own errors come
 * from another realm.
 */
export function hasCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}
