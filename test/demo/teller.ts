import { styleText } from 'node:util';

/** One thing that happened, for the table and the timeline. Times are milliseconds since the story began. */
export interface Moment {
  readonly atMs: number;
  readonly text: string;
  readonly kind: 'step' | 'fault' | 'good' | 'fact';
}

/** A stretch of time in the timeline picture. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
  readonly lane: string;
  readonly text: string;
  readonly kind: 'good' | 'fault' | 'sync' | 'stall';
}

/** Tells the story on a terminal and keeps it for the report. */
export interface Teller {
  readonly moments: readonly Moment[];
  readonly spans: readonly Span[];
  /** Milliseconds since the story began. */
  now(): number;
  chapter(title: string): void;
  say(text: string): void;
  fault(text: string): void;
  good(text: string): void;
  fact(label: string, value: string): void;
  span(span: Span): void;
  /** What is going on right now; replaced by the next, gone after the next line. */
  live(text: string): void;
}

type Output = NodeJS.WriteStream;

/** Without a terminal, `live` speaks at most every 10 s, so that nobody waits without a word. */
const PLAIN_LIVE_MS = 10_000;

export function createTeller(output: Output, nowMs: () => number = () => performance.now()): Teller {
  const began = nowMs();
  const moments: Moment[] = [];
  const spans: Span[] = [];
  const tty = output.isTTY;
  let liveShown = false;
  let chapters = 0;
  let lastLive = -PLAIN_LIVE_MS;

  const paint = (style: Parameters<typeof styleText>[0], text: string): string => (tty ? styleText(style, text) : text);
  const since = (): number => nowMs() - began;
  const stamp = (): string => paint('dim', `${(since() / 1000).toFixed(1).padStart(6)} s  `);
  const line = (text: string): void => {
    if (liveShown) output.write('\r\u001b[2K');
    liveShown = false;
    output.write(`${text}\n`);
  };
  const keep = (kind: Moment['kind'], text: string): void => {
    moments.push({ atMs: since(), text, kind });
  };
  return {
    moments,
    spans,
    now: since,
    chapter(title) {
      chapters += 1;
      keep('step', title);
      line(`\n${paint(['bold', 'cyan'], `${chapters}. ${title}`)}`);
    },
    say: (text) => line(stamp() + text),
    fault(text) {
      keep('fault', text);
      line(stamp() + paint('red', text));
    },
    good(text) {
      keep('good', text);
      line(stamp() + paint('green', text));
    },
    fact(label, value) {
      keep('fact', `${label}: ${value}`);
      line(`${stamp()}${label.padEnd(34)} ${paint('bold', value)}`);
    },
    span: (span) => void spans.push(span),
    live(text) {
      if (tty) {
        const width = Math.max(40, output.columns - 1);
        output.write(`\r\u001b[2K${stamp()}${paint('yellow', text)}`.slice(0, width + 40));
        liveShown = true;
      } else if (since() - lastLive >= PLAIN_LIVE_MS) {
        lastLive = since();
        line(`${stamp()}… ${text}`);
      }
    },
  };
}

/** `[#####.....]  50 %`. */
export function bar(done: number, total: number, width = 30): string {
  const share = total > 0 ? Math.min(1, done / total) : 0;
  const filled = Math.round(share * width);
  return `[${'#'.repeat(filled)}${'.'.repeat(width - filled)}] ${String(Math.floor(share * 100)).padStart(3)} %`;
}

/** Rows under a header, columns aligned. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const format = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [format(header), format(widths.map((width) => '-'.repeat(width))), ...rows.map(format)].join('\n');
}
