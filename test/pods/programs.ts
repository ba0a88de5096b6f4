import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { kubernetesVersion, versionFlags } from '../controlplane/binaries.ts';
import { goModuleFiles, goPrograms, type GoProgram } from '../controlplane/go-programs.ts';
import type { Progress } from '../lab/progress.ts';

const GIB = 1024 ** 3;
const INSTEAD = 'run the other tests (`npm run test:unit`)';

/** Programs that pods need, by what they are for, each in a folder. */
export interface PodPrograms {
  /** On the host: kube-controller-manager, kube-scheduler, kubectl. For the guests: kubelet. */
  readonly kubernetes: string;
  /** For the guests: containerd, containerd-shim-runc-v2, ctr; ptp and host-local of CNI. */
  readonly containerd: string;
  /** For images: the CSI project's sidecars. On the host: snapshot-controller. */
  readonly sidecars: string;
  /** For an image: csi-provisioner. */
  readonly provisioner: string;
}

/** Sidecars by the name of their image, but for csi-provisioner, which needs other versions of its libraries. */
export const SIDECARS = {
  'csi-attacher': 'external-attacher/v4/cmd/csi-attacher',
  'csi-resizer': 'external-resizer/v2/cmd/csi-resizer',
  'csi-snapshotter': 'external-snapshotter/v8/cmd/csi-snapshotter',
  'snapshot-controller': 'external-snapshotter/v8/cmd/snapshot-controller',
} as const;

/** The programs: from the cache, else compiled. @throws LabError when Go is missing or too old, or a build fails */
export async function podPrograms(progress: Progress): Promise<PodPrograms> {
  const kubernetesDir = path.join(import.meta.dirname, 'kubernetes');
  const version = kubernetesVersion(await readFile(path.join(kubernetesDir, 'go.mod'), 'utf8'));
  const kubernetes = (name: string): GoProgram => ({
    package: `k8s.io/kubernetes/cmd/${name}`,
    ldflags: versionFlags(version),
  });
  const containerd = (name: string): GoProgram => fixed(`github.com/containerd/containerd/v2/cmd/${name}`);
  const cni = (name: string): GoProgram => fixed(`github.com/containernetworking/plugins/plugins/${name}`);
  return {
    kubernetes: await goPrograms(
      {
        moduleDir: kubernetesDir,
        kind: 'kubernetes',
        title: `kubelet, kube-controller-manager, kube-scheduler and kubectl ${version}`,
        instead: INSTEAD,
        needBytes: 3.5 * GIB,
        estimateMs: 6 * 60_000,
        programs: {
          'kube-scheduler': kubernetes('kube-scheduler'),
          'kube-controller-manager': kubernetes('kube-controller-manager'),
          kubectl: kubernetes('kubectl'),
          kubelet: { ...kubernetes('kubelet'), static: true },
        },
      },
      progress,
    ),
    containerd: await goPrograms(
      {
        moduleDir: path.join(import.meta.dirname, 'containerd'),
        kind: 'containerd',
        title: 'containerd and network plugins',
        instead: INSTEAD,
        needBytes: 2 * GIB,
        estimateMs: 4 * 60_000,
        programs: {
          containerd: containerd('containerd'),
          'containerd-shim-runc-v2': containerd('containerd-shim-runc-v2'),
          ctr: containerd('ctr'),
          ptp: cni('main/ptp'),
          'host-local': cni('ipam/host-local'),
        },
      },
      progress,
    ),
    sidecars: await goPrograms(
      {
        moduleDir: path.join(import.meta.dirname, '../cluster'),
        kind: 'sidecars',
        title: Object.keys(SIDECARS).join(', '),
        instead: INSTEAD,
        needBytes: 2 * GIB,
        estimateMs: 3 * 60_000,
        programs: Object.fromEntries(
          Object.entries(SIDECARS).map(([name, at]) => [name, fixed(`github.com/kubernetes-csi/${at}`)]),
        ),
      },
      progress,
    ),
    provisioner: await provisionerFolder(progress),
  };
}

/** A folder with the CustomResourceDefinitions of snapshots and group snapshots. */
export async function snapshotCrds(progress: Progress): Promise<string> {
  return await goModuleFiles(
    {
      moduleDir: path.join(import.meta.dirname, '../cluster'),
      kind: 'snapshot-crds',
      title: 'the CustomResourceDefinitions of snapshots',
      instead: INSTEAD,
      module: 'github.com/kubernetes-csi/external-snapshotter/client/v8',
      folder: 'config/crd',
    },
    progress,
  );
}

/** The path of csi-provisioner, for tests on a real API server. @throws LabError as {@link podPrograms} */
export async function provisionerProgram(progress: Progress): Promise<string> {
  return path.join(await provisionerFolder(progress), 'csi-provisioner');
}

async function provisionerFolder(progress: Progress): Promise<string> {
  return await goPrograms(
    {
      moduleDir: path.join(import.meta.dirname, 'provisioner'),
      kind: 'provisioner',
      title: 'csi-provisioner',
      instead: INSTEAD,
      needBytes: 2 * GIB,
      estimateMs: 3 * 60_000,
      programs: {
        'csi-provisioner': fixed('github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner'),
      },
    },
    progress,
  );
}

function fixed(name: string): GoProgram {
  return { package: name, ldflags: '-s -w', static: true };
}
