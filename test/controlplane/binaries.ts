import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { LabError } from '../lab/errors.ts';
import type { Progress } from '../lab/progress.ts';
import { goPrograms } from './go-programs.ts';

export interface ControlPlaneBinaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
}

const moduleDir = import.meta.dirname;

/**
 * etcd and kube-apiserver: from KUBEBUILDER_ASSETS when that is set, else from the cache, else compiled from the Go
 * modules pinned in this folder. Throws LabError when Go is missing or too old, or a build fails.
 */
export async function controlPlaneBinaries(
  progress: Progress,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<ControlPlaneBinaries> {
  const given = env['KUBEBUILDER_ASSETS'];
  if (given !== undefined && given !== '') return inFolder(given);
  const version = kubernetesVersion(await readFile(path.join(moduleDir, 'go.mod'), 'utf8'));
  const dir = await goPrograms(
    {
      moduleDir,
      kind: 'controlplane',
      title: `etcd and kube-apiserver ${version}`,
      instead: 'set KUBEBUILDER_ASSETS to a folder that holds the programs etcd and kube-apiserver',
      // Measured: Go's module cache 0.7 GiB, its compiler cache 2.2 GiB, the programs 0.13 GiB.
      needBytes: 3.5 * 1024 ** 3,
      estimateMs: 7 * 60_000,
      programs: {
        etcd: { package: 'go.etcd.io/etcd/server/v3', ldflags: '-s -w' },
        'kube-apiserver': { package: 'k8s.io/kubernetes/cmd/kube-apiserver', ldflags: versionFlags(version) },
      },
    },
    progress,
    env,
  );
  return { etcd: path.join(dir, 'etcd'), kubeApiserver: path.join(dir, 'kube-apiserver') };
}

function inFolder(dir: string): ControlPlaneBinaries {
  const found = { etcd: path.join(dir, 'etcd'), kubeApiserver: path.join(dir, 'kube-apiserver') };
  const missing = Object.values(found).filter((file) => !existsSync(file));
  if (missing.length > 0) {
    throw new LabError(
      `KUBEBUILDER_ASSETS is set to ${dir}, which lacks ${missing.map((file) => path.basename(file)).join(' and ')}. ` +
        `Unset it to have them built from source, or name a folder that holds both.`,
    );
  }
  return found;
}

/** The version of k8s.io/kubernetes that a go.mod pins, with its "v". */
export function kubernetesVersion(goMod: string): string {
  const version = /^\s*(?:require )?k8s\.io\/kubernetes\s+(v\S+)/m.exec(goMod)?.[1];
  if (version === undefined) throw new LabError('go.mod names no version of k8s.io/kubernetes');
  return version;
}

/** Without these the API server calls itself v0.0.0-master, and clients that compare versions go wrong. */
export function versionFlags(version: string): string {
  const [major, minor] = version.slice(1).split('.');
  const variables = { gitVersion: version, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' };
  const settings = Object.entries(variables).map(
    ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
  );
  return ['-s', '-w', ...settings].join(' ');
}
