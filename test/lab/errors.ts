/**
 * A failure of the lab itself that a person can act on: the message says what is wrong and what to do. The command line
 * prints it without a stack trace.
 */
export class LabError extends Error {
  override readonly name = 'LabError';
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True for a Node system error with this code, for example 'ENOENT'. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
