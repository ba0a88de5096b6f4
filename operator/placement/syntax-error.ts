/** What the parser found wrong, before it is put into words. */
export interface SyntaxProblem {
  readonly source: string;
  /** Index into `source`, in UTF-16 units as JavaScript counts. */
  readonly offset: number;
  readonly expected: string;
  readonly found: string;
  readonly hint?: string;
}

/**
 * A mistake in a placement expression. `message` is one line with the place of the mistake; `display` adds the
 * source line and a caret below the mistake, for terminals and events.
 */
export class PlacementSyntaxError extends Error {
  override readonly name = 'PlacementSyntaxError';
  /** 1-based, in characters. */
  readonly column: number;
  /** 1-based; more than 1 only when the expression has line breaks. */
  readonly line: number;
  readonly expected: string;
  readonly found: string;
  readonly display: string;

  constructor(problem: SyntaxProblem) {
    const before = problem.source.slice(0, problem.offset);
    const lines = before.split('\n');
    const start = before.lastIndexOf('\n') + 1;
    const column = Array.from(before.slice(start)).length + 1;
    const where = lines.length > 1 ? `line ${lines.length}, column ${column}` : `column ${column}`;
    const hint = problem.hint === undefined ? '' : ` (${problem.hint})`;
    super(`placement, ${where}: expected ${problem.expected}, found ${problem.found}${hint}`);
    this.column = column;
    this.line = lines.length;
    this.expected = problem.expected;
    this.found = problem.found;
    const text = visible(problem.source.slice(start).split('\n', 1)[0] ?? '');
    // Tabs stay tabs, so that the caret stands below its character whatever the terminal makes of them.
    const margin = Array.from(before.slice(start), (character) => (character === '\t' ? '\t' : ' ')).join('');
    this.display = `${this.message}\n  ${text}\n  ${margin}^`;
  }
}

/** Control characters could move the terminal's cursor: each becomes one dot. */
function visible(text: string): string {
  return text.replaceAll(/[^\P{C}\t]/gu, '·');
}
