import path from 'node:path';
import { goPrograms } from '../controlplane/go-programs.ts';
import type { Progress } from '../lab/progress.ts';

/** Programs that work with a CSI driver and its chart, pinned by this folder's go.mod. */
const PROGRAMS = {
  helm: 'helm.sh/helm/v3/cmd/helm',
  'csi-sanity': 'github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity',
} as const satisfies Readonly<Record<string, string>>;

export type ClusterProgram = keyof typeof PROGRAMS;

/** Paths of the programs: from the cache, else compiled. @throws LabError when Go is missing or too old, or a build fails */
export async function clusterBinaries(progress: Progress): Promise<Readonly<Record<ClusterProgram, string>>> {
  const dir = await goPrograms(
    {
      moduleDir: import.meta.dirname,
      kind: 'cluster',
      title: Object.keys(PROGRAMS).join(', '),
      instead: 'run the other tests (`npm run test:unit`)',
      needBytes: 2 * 1024 ** 3,
      estimateMs: 3 * 60_000,
      programs: Object.fromEntries(
        Object.entries(PROGRAMS).map(([name, pkg]) => [name, { package: pkg, ldflags: '-s -w' }]),
      ),
    },
    progress,
  );
  const entries = Object.keys(PROGRAMS).map((name) => [name, path.join(dir, name)]);
  return Object.fromEntries(entries) as Record<ClusterProgram, string>;
}
