import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { cached, cacheDir, keyOf } from '../lab/cache.ts';
import { LabError } from '../lab/errors.ts';
import { findProgram, run } from '../lab/process.ts';
import type { Progress } from '../lab/progress.ts';

export interface ControlPlaneBinaries {
  readonly etcd: string;
  readonly kubeApiserver: string;
}

const moduleDir = import.meta.dirname;
/** Measured: Go's module cache 0.7 GiB, its compiler cache 2.2 GiB, the programs 0.13 GiB. */
const NEED_BYTES = 3.5 * 1024 ** 3;
const ESTIMATE_MS = 7 * 60_000;

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
  const goMod = await readFile(path.join(moduleDir, 'go.mod'), 'utf8');
  const goSum = await readFile(path.join(moduleDir, 'go.sum'));
  const version = kubernetesVersion(goMod);
  const dir = await cached(
    cacheDir(env),
    {
      kind: 'controlplane',
      key: keyOf(['1', goMod, goSum, process.arch]),
      needBytes: NEED_BYTES,
      build: async (target) => {
        const go = await requireGo(goMod, env);
        await progress.step(
          `building etcd and kube-apiserver ${version} from source, once`,
          ESTIMATE_MS,
          async (note) => {
            await build(go, 'go.etcd.io/etcd/server/v3', path.join(target, 'etcd'), '-s -w', note);
            const flags = versionFlags(version);
            await build(go, 'k8s.io/kubernetes/cmd/kube-apiserver', path.join(target, 'kube-apiserver'), flags, note);
          },
        );
      },
    },
    progress,
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
  const version = /^\s*k8s\.io\/kubernetes\s+(v\S+)/m.exec(goMod)?.[1];
  if (version === undefined) throw new LabError('test/controlplane/go.mod names no version of k8s.io/kubernetes');
  return version;
}

/** Without these the API server calls itself v0.0.0-master, and clients that compare versions go wrong. */
function versionFlags(version: string): string {
  const [major, minor] = version.slice(1).split('.');
  const variables = { gitVersion: version, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' };
  const settings = Object.entries(variables).map(
    ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
  );
  return ['-s', '-w', ...settings].join(' ');
}

async function requireGo(goMod: string, env: Readonly<Record<string, string | undefined>>): Promise<string> {
  const wanted = /^go (\S+)/m.exec(goMod)?.[1] ?? '1.26.0';
  const help =
    `The lab builds etcd and kube-apiserver from source, once. Install Go ${wanted} or newer (https://go.dev/dl/), ` +
    `or set KUBEBUILDER_ASSETS to a folder that holds the programs etcd and kube-apiserver.`;
  const go = findProgram('go', `${env['PATH'] ?? ''}:/usr/local/go/bin`);
  if (go === undefined) throw new LabError(`Go is not installed. ${help}`);
  // Go before 1.21 would fail on the go line with a riddle; newer ones fetch the toolchain they need by themselves.
  const found = /go version go(\d+)\.(\d+)/.exec((await run(go, ['version'])).stdout.toString());
  if (found === null || Number(found[1]) < 1 || (found[1] === '1' && Number(found[2]) < 21)) {
    throw new LabError(`${go} is too old. ${help}`);
  }
  return go;
}

async function build(
  go: string,
  pkg: string,
  output: string,
  ldflags: string,
  note: (text: string) => void,
): Promise<void> {
  let packages = 0;
  await run(go, ['build', '-v', '-trimpath', '-ldflags', ldflags, '-o', output, pkg], {
    cwd: moduleDir,
    timeoutMs: 60 * 60_000,
    diesWithUs: true,
    onLine: (line) => {
      packages += 1;
      note(`${path.basename(output)}: package ${packages}, ${line.trim()}`);
    },
  });
}
