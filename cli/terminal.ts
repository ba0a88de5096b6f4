/** What a terminal shows: aligned columns, and colour where it is a terminal and nobody asked for none (no-color.org). */

export type Colour = 'red' | 'yellow' | 'green' | 'dim';

const CODES: Readonly<Record<Colour, number>> = { red: 31, yellow: 33, green: 32, dim: 2 };

export type Paint = (text: string, colour: Colour) => string;

/** Paints for a terminal; leaves text as it is for a pipe. */
export function painter(
  stream: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>> = process.env,
): Paint {
  const isPlain = stream.isTTY !== true || (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return isPlain ? (text) => text : (text, colour) => `\u001B[${CODES[colour]}m${text}\u001B[0m`;
}

export interface Cell {
  readonly text: string;
  readonly colour?: Colour;
}

/** Rows in aligned columns, two spaces between; the last column is as long as it is. */
export function table(header: readonly string[], rows: readonly (readonly (string | Cell)[])[], paint: Paint): string {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'string' ? { text: cell } : cell)));
  const widths = header.map((title, at) => Math.max(title.length, ...cells.map((row) => row[at]?.text.length ?? 0)));
  const line = (row: readonly Cell[]): string =>
    row
      .map(({ text, colour }, at) => {
        const padded = at === row.length - 1 ? text : text.padEnd(widths[at] ?? 0);
        return colour === undefined ? padded : paint(padded, colour);
      })
      .join('  ');
  return [header.map((text): Cell => ({ text, colour: 'dim' })), ...cells].map((row) => `${line(row)}\n`).join('');
}

/** Names and values, one a line. */
export function fields(pairs: readonly (readonly [string, string | undefined])[], paint: Paint): string {
  const shown = pairs.filter((pair): pair is readonly [string, string] => pair[1] !== undefined && pair[1] !== '');
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${paint(`${name}:`.padEnd(width + 2), 'dim')}${value}\n`).join('');
}
