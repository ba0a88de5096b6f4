import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** One step of the test, as it went. */
export interface Step {
  readonly name: string;
  readonly seconds: number;
  readonly ok: boolean;
  /** What was seen. */
  readonly note: string;
}

export interface PodsReport {
  readonly steps: readonly Step[];
  /** Name of a figure to its value in the unit that its name ends with. */
  readonly figures: Readonly<Record<string, number>>;
  readonly ok: boolean;
}

/** Tells the steps as they go, and remembers them. */
export interface Teller {
  /** Runs a step; what it returns is told beside its time. Throws what the step throws. */
  step(name: string, work: () => Promise<string | undefined>): Promise<void>;
  figure(name: string, value: number): void;
  report(): PodsReport;
}

const REPORT_FILE = path.join(import.meta.dirname, '../../build/pods-report.json');

export function teller(out: (text: string) => void): Teller {
  const steps: Step[] = [];
  const figures: Record<string, number> = {};
  return {
    async step(name, work) {
      const started = performance.now();
      const end = (ok: boolean, note: string): void => {
        const seconds = Math.round((performance.now() - started) / 100) / 10;
        steps.push({ name, seconds, ok, note });
        out(`${ok ? '✓' : '✗'} ${seconds.toFixed(1).padStart(6)} s  ${name}${note === '' ? '' : `: ${note}`}\n`);
      };
      try {
        end(true, (await work()) ?? '');
      } catch (error) {
        end(false, error instanceof Error ? error.message : String(error));
        throw error;
      }
    },
    figure(name, value) {
      figures[name] = Math.round(value * 100) / 100;
      out(`           ${name} = ${figures[name]}\n`);
    },
    report: () => ({ steps, figures, ok: steps.every(({ ok }) => ok) }),
  };
}

/** Writes build/pods-report.json. */
export async function writeReport(report: PodsReport): Promise<string> {
  await mkdir(path.dirname(REPORT_FILE), { recursive: true });
  await writeFile(REPORT_FILE, `${JSON.stringify(report, null, 2)}\n`);
  return REPORT_FILE;
}

/** Puts figures into build/pods-report.json, beside those that are there. */
export async function mergeFigures(figures: PodsReport['figures']): Promise<void> {
  const before = await readFile(REPORT_FILE, 'utf8').catch(() => '{"steps":[],"figures":{},"ok":true}');
  const report = JSON.parse(before) as PodsReport;
  await writeReport({ ...report, figures: { ...report.figures, ...figures } });
}
