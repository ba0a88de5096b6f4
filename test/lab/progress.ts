/** Where the lab tells a person what it does and how long that takes. */
export interface Progress {
  /** One line, at once. */
  readonly say: (text: string) => void;
  /** Runs a piece of work under a title; the estimate (if known) is shown, then the time it took. */
  readonly step: <T>(title: string, estimateMs: number | undefined, work: (note: Note) => Promise<T>) => Promise<T>;
}

/** Replaces the small print behind a running step, for example a file being compiled. */
export type Note = (text: string) => void;

/** Says nothing. */
export const silent: Progress = {
  say: () => undefined,
  step: async (_title, _estimateMs, work) => await work(() => undefined),
};

/** 75000 -> "1 min 15 s", 1234 -> "1.2 s". */
export function formatDuration(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 100) return `${seconds} s`;
  const rest = seconds % 60;
  return rest === 0 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 60)} min ${rest} s`;
}

/** 1610612736 -> "1.5 GiB". */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/**
 * Writes to a terminal with one live line for the steps that run, or, when it isn't a terminal, a line at the start and
 * the end of each step and every 20 s between, so that nobody waits without a word.
 */
export function terminalProgress(output: Output, now: () => number = () => performance.now()): Progress {
  const running = new Set<{ title: string; startedMs: number; estimateMs: number | undefined; note: string }>();
  const live = output.isTTY === true;
  let timer: NodeJS.Timeout | undefined;
  let lastPlainMs = now();
  const width = (): number => Math.max(40, (output.columns ?? 100) - 1);
  const status = (): string =>
    [...running]
      .map((step) => {
        const of = step.estimateMs === undefined ? '' : ` of about ${formatDuration(step.estimateMs)}`;
        const note = step.note === '' ? '' : ` – ${step.note}`;
        return `${step.title} (${formatDuration(now() - step.startedMs)}${of})${note}`;
      })
      .join(' | ');
  const draw = (): void => {
    if (live) output.write(`\r\u001b[K${running.size === 0 ? '' : `  … ${status()}`.slice(0, width())}`);
    else if (running.size > 0 && now() - lastPlainMs >= 20_000) {
      lastPlainMs = now();
      output.write(`  … ${status()}\n`);
    }
  };
  const say = (text: string): void => {
    lastPlainMs = now();
    output.write(live ? `\r\u001b[K${text}\n` : `${text}\n`);
    if (live) draw();
  };
  return {
    say,
    step: async (title, estimateMs, work) => {
      const step = { title, startedMs: now(), estimateMs, note: '' };
      if (!live && (estimateMs === undefined || estimateMs > 10_000)) {
        say(`  ${title}${estimateMs === undefined ? '' : ` (about ${formatDuration(estimateMs)})`} …`);
      }
      running.add(step);
      timer ??= setInterval(draw, live ? 500 : 5_000);
      let ok = false;
      try {
        const result = await work((text) => {
          step.note = text;
        });
        ok = true;
        return result;
      } finally {
        running.delete(step);
        if (running.size === 0) {
          clearInterval(timer);
          timer = undefined;
        }
        say(`  ${ok ? '✓' : '✗'} ${title}: ${ok ? '' : 'failed after '}${formatDuration(now() - step.startedMs)}`);
      }
    },
  };
}
