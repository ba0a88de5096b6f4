import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { ReplicatedVolume, StorageNode, VolumeConnection, VolumeReplica } from '../../lib/api/index.ts';
import { connect, kinds, resource, type KubeConnection, type Resource } from '../../lib/kube/client.ts';
import { callByName, createCsiClient } from '../../csi-driver/client.ts';
import type { Lab } from '../lab/lab.ts';
import { run, startDaemon, tailOfFile, type Daemon } from '../lab/process.ts';
import type { Vm } from '../lab/vm/vm.ts';
import { callInGuest } from './guest-call.ts';
import { apply, applyProject, nodeToken, token } from './manifests.ts';

const NAMESPACE = 'holdfast-system';
const APP = '/opt/holdfast';
const GUEST_SOCKET = 'unix:///run/holdfast/csi.sock';
const POOL_DISK = '/dev/vdc';

export interface SystemOptions {
  /** How long a program may be silent before it counts as dead. Default 5s: a test does not want to wait. */
  readonly leaseDuration?: string;
  /** Further arguments for the node program of the CSI driver. */
  readonly clientAgentArgs?: readonly string[];
  /** Further arguments for the operator. */
  readonly operatorArgs?: readonly string[];
}

/** What the programs themselves have as their default. */
export const PRODUCT_LEASE_DURATION = '10s';

/** Holdfast, running in a lab as it would on hosts. */
export interface System {
  readonly lab: Lab;
  /** Everything, as the administrator. */
  readonly connection: KubeConnection;
  readonly volumes: Resource<ReplicatedVolume>;
  readonly replicas: Resource<VolumeReplica>;
  readonly connections: Resource<VolumeConnection>;
  readonly storageNodes: Resource<StorageNode>;
  /** Calls a CSI method of the controller, or of the node service of a client VM. Throws with the gRPC code and message. */
  csi(where: 'controller' | Vm, method: string, request: object, timeoutMs?: number): Promise<Record<string, unknown>>;
  /** The command `holdfast`, as an administrator runs it: its exit code, and all that it says. */
  holdfast(...args: readonly string[]): Promise<{ readonly code: number; readonly text: string }>;
  startStorageAgent(vm: Vm): Promise<void>;
  startClientAgent(vm: Vm): Promise<void>;
  startOperator(): Promise<void>;
  startController(): Promise<void>;
  stopOperator(): Promise<void>;
  stopController(): Promise<void>;
  /** Whether a program beside the control plane runs. */
  isRunning(program: 'operator' | 'csi-controller'): boolean;
  /** Memory (RSS) of each program in MiB, the highest of its instances. */
  rssMiB(): Promise<Record<'operator' | 'csiController' | 'clientAgent' | 'storageAgent', number>>;
  /** The end of a program's log. */
  tail(program: 'operator' | 'csi-controller', lines?: number): string;
  /** The log of the program that runs in a VM. */
  guestLog(vm: Vm): Promise<string>;
  stop(): Promise<void>;
}

/**
 * Installs Holdfast on a running lab: CRDs, identities and policies; StorageNodes with a zone each; and every program under
 * its own service account - agents in the VMs, operator and CSI controller beside the control plane.
 */
export async function startSystem(lab: Lab, options: SystemOptions = {}): Promise<System> {
  const leaseDuration = options.leaseDuration ?? '5s';
  const connection = connect({ kubeconfigPath: lab.controlPlane.kubeconfigPath, userAgent: 'holdfast-lab/1' });
  await applyProject(connection);
  await Promise.all(
    lab.vms.map((vm) =>
      apply(connection, { apiVersion: 'v1', kind: 'Node', metadata: { name: vm.name, labels: labelsOf(vm) } } as never),
    ),
  );
  const host = new Map<string, Daemon>();
  const controllerSocket = `unix://${path.join(lab.dir, 'csi-controller.sock')}`;

  const hostKubeconfig = async (account: string): Promise<string> => {
    const file = path.join(lab.dir, `${account}.kubeconfig`);
    await writeFile(file, lab.controlPlane.kubeconfigForToken(await token(connection, NAMESPACE, account)), {
      mode: 0o600,
    });
    return file;
  };
  const guestKubeconfig = async (vm: Vm, account: string): Promise<string> => {
    const file = `/etc/holdfast/${account}.kubeconfig`;
    const text = lab.controlPlane.kubeconfigForToken(await nodeToken(connection, NAMESPACE, account, vm.name));
    await vm.writeFile(file, text, 0o600);
    return file;
  };
  const startOnHost = async (name: string, program: string, args: readonly string[]): Promise<void> => {
    await host.get(name)?.kill();
    const file = path.join(import.meta.dirname, '../../dist', `${program}.mjs`);
    host.set(name, await startDaemon(name, process.execPath, [file, ...args], { logFile: logOf(name) }));
  };
  const logOf = (name: string): string => path.join(lab.dir, `${name}.log`);

  const system: System = {
    lab,
    connection,
    volumes: resource(connection, kinds.replicatedVolumes),
    replicas: resource(connection, kinds.volumeReplicas),
    connections: resource(connection, kinds.volumeConnections),
    storageNodes: resource(connection, kinds.storageNodes),
    async csi(where, method, request, timeoutMs = 60_000) {
      if (where !== 'controller') return await callInGuest(where, method, request, timeoutMs);
      const client = createCsiClient(controllerSocket);
      try {
        return await callByName(client, method, request, timeoutMs);
      } finally {
        client.close();
      }
    },
    async holdfast(...args) {
      const script = path.join(import.meta.dirname, '../../dist/holdfast.mjs');
      const kubeconfig = ['--kubeconfig', lab.controlPlane.kubeconfigPath];
      const { code, stdout, stderr } = await run(process.execPath, [script, ...args, ...kubeconfig], { check: false });
      return { code: code ?? -1, text: `${stdout.toString()}${stderr}` };
    },
    async startStorageAgent(vm) {
      const kubeconfig = await guestKubeconfig(vm, 'storage-agent');
      await vm.spawn(
        `node ${APP}/storage-agent.mjs --node ${vm.name} --kubeconfig ${kubeconfig} --lease-duration ${leaseDuration}`,
        { logFile: GUEST_LOG },
      );
    },
    async startClientAgent(vm) {
      const kubeconfig = await guestKubeconfig(vm, 'csi-node');
      await vm.spawn(
        `node ${APP}/csi-driver.mjs --mode node --endpoint ${GUEST_SOCKET} --node ${vm.name} ` +
          `--kubeconfig ${kubeconfig} --lease-duration ${leaseDuration} ${(options.clientAgentArgs ?? []).join(' ')}`,
        { logFile: GUEST_LOG },
      );
    },
    async startOperator() {
      const kubeconfig = await hostKubeconfig('operator');
      const args = ['--kubeconfig', kubeconfig, '--lease-duration', leaseDuration, ...(options.operatorArgs ?? [])];
      await startOnHost('operator', 'operator', args);
    },
    async startController() {
      const kubeconfig = await hostKubeconfig('csi-controller');
      const args = [
        '--mode',
        'controller',
        '--endpoint',
        controllerSocket,
        '--node',
        'control-plane',
        '--kubeconfig',
        kubeconfig,
      ];
      await startOnHost('csi-controller', 'csi-driver', args);
    },
    async stopOperator() {
      await host.get('operator')?.kill();
    },
    async stopController() {
      await host.get('csi-controller')?.kill();
    },
    isRunning(program) {
      const daemon = host.get(program);
      return daemon !== undefined && daemon.ended() === undefined;
    },
    async rssMiB() {
      const inGuests = async (vms: readonly Vm[], program: string): Promise<number> => {
        const all = await Promise.all(vms.filter((vm) => vm.running()).map((vm) => guestRssMiB(vm, program)));
        return Math.max(0, ...all);
      };
      const [operator, csiController, clientAgent, storageAgent] = await Promise.all([
        hostRssMiB(host.get('operator')),
        hostRssMiB(host.get('csi-controller')),
        inGuests(lab.clients, 'csi-driver.mjs'),
        inGuests(lab.storage, 'storage-agent.mjs'),
      ]);
      return { operator, csiController, clientAgent, storageAgent };
    },
    tail: (program, lines = 40) => tailOfFile(logOf(program), lines),
    guestLog: async (vm) => (await vm.readFile(GUEST_LOG)).toString(),
    async stop() {
      await Promise.all([...host.values()].map((daemon) => daemon.kill()));
      connection.close();
    },
  };

  for (const vm of lab.storage) {
    await system.storageNodes.create({
      metadata: { name: vm.name, labels: labelsOf(vm) },
      spec: {
        addresses: [{ ip: vm.address, port: 4420 }],
        pools: [{ name: 'pool', devices: [POOL_DISK] }],
        cordoned: false,
        draining: false,
      },
    });
  }
  await Promise.all([
    system.startOperator(),
    system.startController(),
    ...lab.storage.map((vm) => system.startStorageAgent(vm)),
    ...lab.clients.map((vm) => system.startClientAgent(vm)),
  ]);
  return system;
}

/** Waits until every storage node has its pools. Throws after four minutes, with what each says. */
export async function storageReady(
  { storageNodes, lab }: System,
  waiting: (text: string) => void = () => undefined,
): Promise<StorageNode[]> {
  const deadline = performance.now() + 240_000;
  for (;;) {
    const { items } = await storageNodes.list();
    const ready = items.filter((node) =>
      node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
    );
    if (ready.length === lab.storage.length) return ready;
    if (performance.now() > deadline) {
      const why = items.map(
        ({ metadata, status }) =>
          `${metadata.name}: ${status?.conditions?.map((c) => c.message).join(' ') ?? 'no status'}`,
      );
      throw new Error(`not every storage node became ready: ${why.join('; ')}`);
    }
    waiting(`${ready.length} of ${lab.storage.length} storage nodes ready`);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

const GUEST_LOG = '/var/log/holdfast.log';

function labelsOf(vm: Vm): Record<string, string> {
  return { zone: vm.zone, 'kubernetes.io/hostname': vm.name };
}

async function guestRssMiB(vm: Vm, program: string): Promise<number> {
  const { stdout } = await vm.exec(`for p in $(pgrep -f ${program}); do grep VmRSS /proc/$p/status; done`, {
    check: false,
  });
  return parseRssMiB(stdout);
}

async function hostRssMiB(daemon: Daemon | undefined): Promise<number> {
  if (!daemon) return 0;
  const { stdout } = await run('grep', ['VmRSS', `/proc/${daemon.pid}/status`], { check: false });
  return parseRssMiB(stdout.toString());
}

/** The largest of the `VmRSS: … kB` lines, in MiB. */
export function parseRssMiB(text: string): number {
  const kib = [...text.matchAll(/VmRSS:\s+(\d+) kB/g)].map((match) => Number(match[1]));
  return Math.round(Math.max(0, ...kib) / 102.4) / 10;
}
