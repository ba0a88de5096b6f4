/** One word or mark of a placement expression. `offset` is an index into the source, in UTF-16 units. */
export interface Token {
  /** `word`: anything between the marks; `empty`: `""`, the empty label value; `mark`: one of `( ) , ; | "`. */
  readonly kind: 'word' | 'empty' | 'mark' | 'end';
  readonly text: string;
  readonly offset: number;
}

const PATTERN = /\s+|(?<empty>"")|(?<mark>[(),;|"])|(?<word>[^\s(),;|"]+)/gu;

/**
 * Splits a placement expression; the last token is always `end`. Never fails: whether a word is a label key, a value
 * or a rule is known by its position only, so the parser judges it and can say what it expected instead.
 */
export function tokenize(source: string): readonly Token[] {
  const tokens: Token[] = [];
  for (const match of source.matchAll(PATTERN)) {
    const { empty, mark, word } = match.groups ?? {};
    if (word !== undefined) {
      tokens.push({ kind: 'word', text: word, offset: match.index });
    } else if (mark !== undefined) {
      tokens.push({ kind: 'mark', text: mark, offset: match.index });
    } else if (empty !== undefined) {
      tokens.push({ kind: 'empty', text: '', offset: match.index });
    }
  }
  tokens.push({ kind: 'end', text: '', offset: source.trimEnd().length });
  return tokens;
}

/** How a token is named in errors. */
export function describeToken(token: Token): string {
  switch (token.kind) {
    case 'end':
      return 'the end';
    case 'empty':
      return '""';
    case 'mark':
      return token.text === '"' ? 'a quotation mark' : `"${token.text}"`;
    case 'word':
      return JSON.stringify(token.text);
  }
}
