import { HoldfastError } from './errors.ts';

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
const PART = /([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/gy;
/** The largest delay a timer takes (2^31 - 1 ms, 24.8 days): a longer one would fire at once. */
const MAX_MS = 2_147_483_647;

/**
 * Milliseconds of a duration such as `3s`, `1m30s`, `250ms` or `1.5h`.
 * @param field where it was written, for the error.
 * @throws HoldfastError HF002 when it is none, or longer than 24 days.
 */
export function parseDurationMs(text: string, field = 'duration'): number {
  let totalMs = 0;
  let end = 0;
  PART.lastIndex = 0;
  for (let match = PART.exec(text); match; match = PART.exec(text)) {
    totalMs += Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS];
    end = PART.lastIndex;
  }
  if (text === '' || end !== text.length) {
    throw new HoldfastError(
      'HF002',
      `${field}: "${text}" is not a duration; write numbers with the units h, m, s or ms, for example 3s, 1m30s or 250ms`,
      { field },
    );
  }
  const rounded = Math.round(totalMs);
  if (rounded > MAX_MS) {
    throw new HoldfastError('HF002', `${field}: "${text}" is too long; the longest is 24 days (576h)`, { field });
  }
  return rounded;
}

/** The shortest exact spelling: 90 000 is `1m30s`, 1500 is `1s500ms`, 0 is `0s`. Fractions of a millisecond are rounded. */
export function formatDuration(durationMs: number): string {
  let rest = Math.round(Math.abs(durationMs));
  if (rest === 0) return '0s';
  let text = durationMs < 0 ? '-' : '';
  for (const unit of ['h', 'm', 's', 'ms'] as const) {
    const count = Math.floor(rest / UNIT_MS[unit]);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * UNIT_MS[unit];
  }
  return text;
}
