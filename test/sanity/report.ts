import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** What ginkgo writes with --ginkgo.json-report, as far as we read it. */
interface Spec {
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly LeafNodeText: string;
  readonly LeafNodeType: string;
  readonly State: 'passed' | 'failed' | 'skipped' | 'pending' | 'panicked' | 'timedout' | 'interrupted' | 'aborted';
  readonly Failure?: { readonly Message: string };
}

/** One run of csi-sanity. */
export interface SanityRun {
  readonly cases: number;
  readonly passed: number;
  /** Names, each with what went wrong. */
  readonly failed: readonly string[];
  /** Names of cases that the driver offers nothing for. */
  readonly skipped: readonly string[];
  /** Names of cases that csi-sanity itself has switched off. */
  readonly off: readonly string[];
}

/** @throws SyntaxError when it is no JSON */
export function readGinkgo(json: string): SanityRun {
  const [suite] = JSON.parse(json) as { readonly SpecReports: readonly Spec[] | null }[];
  const specs = (suite?.SpecReports ?? []).filter(({ LeafNodeType }) => LeafNodeType === 'It');
  const named = (...states: readonly Spec['State'][]): readonly Spec[] =>
    specs.filter(({ State }) => states.includes(State));
  const other = specs.filter(({ State }) => !['passed', 'skipped', 'pending'].includes(State));
  return {
    cases: specs.length,
    passed: named('passed').length,
    failed: other.map((spec) => `${nameOf(spec)}: ${spec.Failure?.Message ?? spec.State}`),
    skipped: named('skipped').map(nameOf),
    off: named('pending').map(nameOf),
  };
}

function nameOf({ ContainerHierarchyTexts, LeafNodeText }: Spec): string {
  return [...(ContainerHierarchyTexts ?? []), LeafNodeText].join(' | ');
}

/** build/sanity-report.json: the sums over all runs, and each run. */
export interface SanityReport {
  readonly cases: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** What was skipped and why. */
  readonly excluded: readonly { readonly case: string; readonly why: string }[];
  readonly runs: Readonly<Record<string, SanityRun>>;
}

/** The report with one more run, which takes the place of an earlier one of its name. */
export function withRun(
  before: Pick<SanityReport, 'runs'> | undefined,
  name: string,
  run: SanityRun,
  excluded: SanityReport['excluded'],
): SanityReport {
  const runs = { ...before?.runs, [name]: run };
  const sum = (count: (run: SanityRun) => number): number =>
    Object.values(runs).reduce((all, each) => all + count(each), 0);
  return {
    cases: sum(({ cases }) => cases),
    passed: sum(({ passed }) => passed),
    failed: sum(({ failed }) => failed.length),
    skipped: sum(({ skipped, off }) => skipped.length + off.length),
    excluded,
    runs,
  };
}

/** Adds a run to build/sanity-report.json. */
export async function addToReport(name: string, run: SanityRun, excluded: SanityReport['excluded']): Promise<void> {
  const file = path.join(import.meta.dirname, '../../build/sanity-report.json');
  await mkdir(path.dirname(file), { recursive: true });
  const before = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const report = withRun(before === undefined ? undefined : (JSON.parse(before) as SanityReport), name, run, excluded);
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
}
