import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { bundle } from '../../build.ts';
import { buildImages, ownVersion, type BuiltImage } from '../../images/build.ts';
import { connect, kinds, resource, type KubeConnection, type Resource } from '../../lib/kube/client.ts';
import type { StorageNode } from '../../lib/api/index.ts';
import { clusterBinaries } from '../cluster/binaries.ts';
import { startLab, type Lab } from '../lab/lab.ts';
import { run, startDaemon, type Daemon, type RunResult } from '../lab/process.ts';
import type { Progress } from '../lab/progress.ts';
import type { Flavour } from '../lab/vm/flavour.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { nodeDisk } from './disk.ts';
import { baseImage } from './lab-images.ts';
import { startNode } from './node.ts';
import { podPrograms, snapshotCrds } from './programs.ts';
import { writeProgramLayers } from './program-layers.ts';

/** The address of the Service `kubernetes`: without kube-proxy the API server itself has it. */
const API_SERVICE = '10.96.0.1';
const API_PORT = 443;
/** Of our images: no registry has this name, so none is asked. */
export const IMAGE_PREFIX = 'holdfast.dev/lab/';

export interface ClusterOptions {
  /** VMs that are nodes of the cluster: they run pods. The others are machines that hold replicas only. */
  readonly nodes: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly storage: number;
  readonly clients: number;
  readonly progress: Progress;
}

/** A cluster that runs pods, in the lab. */
export interface Cluster {
  readonly lab: Lab;
  readonly connection: KubeConnection;
  readonly storageNodes: Resource<StorageNode>;
  readonly images: readonly BuiltImage[];
  kubectl(...args: string[]): Promise<string>;
  helm(...args: string[]): Promise<string>;
  /** Our own command, as the administrator. */
  holdfast(...args: string[]): Promise<string>;
  /** Writes a file in the lab's folder. @returns its path */
  file(name: string, text: string): Promise<string>;
  /** Whether a VM runs pods. */
  isNode(vm: Vm): boolean;
  /** Starts a VM that was off, and its kubelet. */
  powerOn(vm: Vm): Promise<void>;
  stop(): Promise<void>;
}

/** Everything that the cluster needs from the network. To be called outside of the lab, which leads nowhere. */
export async function preparePods(progress: Progress): Promise<void> {
  await clusterBinaries(progress);
  await nodeDisk(progress);
  await snapshotCrds(progress);
}

/** Starts a lab whose VMs run pods: control plane with its controllers on the host, kubelet and containerd in the VMs. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { progress, nodes } = options;
  const [programs, disk, cluster] = [
    await podPrograms(progress),
    await nodeDisk(progress),
    await clusterBinaries(progress),
  ];
  const base = process.env['HOLDFAST_LAB_DIR'] ?? '';
  const appDir = path.join(base, 'app');
  await mkdir(appDir, { recursive: true });
  // For machines that run no pods, and for the command.
  await bundle(['storage-agent', 'holdfast'], path.join(appDir, 'programs'));
  const images = await buildImages({
    output: path.join(base, 'images'),
    prefix: IMAGE_PREFIX,
    tag: await ownVersion(),
    progress,
  });
  await writeProgramLayers(images, path.join(appDir, 'images.tar'), path.join(base, 'layers'));
  await rm(path.join(base, 'images'), { recursive: true });

  const flavour: Flavour = {
    key: disk.key,
    diskFile: disk.file,
    mountPoint: '/kube',
    prepare: `/kube/bin/prepare ${baseImage('holdfast-agent')}`,
    memoryMiB: 1024,
    cpus: 2,
    translationMiB: 512,
  };
  const lab = await startLab({
    storage: options.storage,
    clients: options.clients,
    // As many as a storage VM has: then all nodes start from the same saved state.
    clientDiskBytes: [64 * 1024 ** 2],
    appDir,
    flavours: Object.fromEntries(Object.keys(nodes).map((name) => [name, flavour])),
    apiPort: API_PORT,
    apiServerArgs: ['--kubelet-preferred-address-types=InternalIP'],
    progress,
  });
  const daemons: Daemon[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(daemons.map((daemon) => daemon.kill()));
    connection.close();
    await lab.stop();
  };
  const { kubeconfigPath } = lab.controlPlane;
  const kubectl = async (...args: string[]): Promise<string> => {
    const program = path.join(programs.kubernetes, 'kubectl');
    return said(await run(program, ['--kubeconfig', kubeconfigPath, ...args], { timeoutMs: 600_000 }));
  };
  const connection = connect({ kubeconfigPath, userAgent: 'holdfast-pods/1' });
  const onHost = async (folder: string, name: string, ...args: string[]): Promise<void> => {
    const common = [`--kubeconfig=${kubeconfigPath}`, ...args];
    const logFile = path.join(lab.dir, `${name}.log`);
    daemons.push(await startDaemon(name, path.join(folder, name), common, { logFile }));
  };
  const alone = ['--leader-elect=false', '--bind-address=127.0.0.1'];
  const inHome = {
    HELM_CACHE_HOME: lab.dir,
    HELM_CONFIG_HOME: lab.dir,
    HELM_DATA_HOME: lab.dir,
    KUBECONFIG: kubeconfigPath,
  };
  const said = ({ stdout }: RunResult): string => stdout.toString();
  const startKubelet = (vm: Vm): Promise<void> => startNode(vm, lab.controlPlane, nodes[vm.name] ?? {});
  try {
    await run('ip', ['addr', 'add', `${API_SERVICE}/32`, 'dev', 'lo']);
    const pki = path.join(lab.dir, 'cp/pki');
    await onHost(
      programs.kubernetes,
      'kube-controller-manager',
      ...alone,
      `--service-account-private-key-file=${path.join(pki, 'sa.key')}`,
      `--root-ca-file=${path.join(pki, 'ca.crt')}`,
      '--node-monitor-grace-period=40s',
      '--attach-detach-reconcile-sync-period=20s',
    );
    await onHost(programs.kubernetes, 'kube-scheduler', ...alone);
    await kubectl('apply', '--kustomize', await snapshotCrds(progress));
    await onHost(programs.sidecars, 'snapshot-controller', '--feature-gates=CSIVolumeGroupSnapshot=true');
    await progress.step('starting kubelets', 40_000, async () => {
      await Promise.all(Object.keys(nodes).map((name) => startKubelet(lab.vm(name))));
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    lab,
    connection,
    storageNodes: resource(connection, kinds.storageNodes),
    images,
    kubectl,
    helm: async (...args) => said(await run(cluster.helm, args, { env: inHome, timeoutMs: 600_000 })),
    holdfast: async (...args) => {
      const script = path.join(appDir, 'programs/holdfast.mjs');
      return said(await run(process.execPath, [script, ...args], { env: inHome, timeoutMs: 120_000 }));
    },
    file: async (name, text) => {
      await writeFile(path.join(lab.dir, name), text);
      return path.join(lab.dir, name);
    },
    isNode: (vm) => vm.name in nodes,
    powerOn: async (vm) => {
      await vm.powerOn();
      if (vm.name in nodes) await startKubelet(vm);
    },
    stop,
  };
}
