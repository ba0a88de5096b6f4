import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Schedule } from './schedule.ts';

/** Schedules that once broke a law, and what was wrong. They are kept whole: a seed means another schedule when the generator changes. */
export function knownBad(): readonly { readonly found: string; readonly schedule: Schedule }[] {
  return JSON.parse(readFileSync(path.join(import.meta.dirname, 'known-bad.json'), 'utf8')) as {
    readonly found: string;
    readonly schedule: Schedule;
  }[];
}
