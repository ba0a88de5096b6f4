import { exclusions, pending } from './exclusions.ts';
import { addToReport, type SanityRun } from './report.ts';

/** What is wrong with a run, in words; empty when every case passed that is not excluded. Adds it to the report. */
export async function judge(name: string, run: SanityRun): Promise<readonly string[]> {
  await addToReport(name, run, exclusions);
  const known = [...exclusions.map((each) => each.case), ...pending];
  const unexplained = run.skipped.filter((skipped) => !known.some((text) => skipped.includes(text)));
  const stale = known.filter((text) => !run.skipped.some((skipped) => skipped.includes(text)));
  return [
    ...run.failed,
    ...unexplained.map((each) => `skipped, and not in test/sanity/exclusions.ts: ${each}`),
    ...stale.map((each) => `in test/sanity/exclusions.ts, and not skipped: ${each}`),
    ...(run.cases < 100 ? [`only ${run.cases} cases`] : []),
  ];
}
