import type { ControlPlane } from '../controlplane/controlplane.ts';
import { run } from '../lab/process.ts';
import type { Vm } from '../lab/vm/vm.ts';

/** Where the lab's app disk is in a guest, and on it our images. */
const IMAGES = '/opt/holdfast/images.tar';
export const KUBELET_LOG = '/var/log/kubelet.log';

/** The addresses of a node's pods. */
function podRange(vm: Vm): string {
  return `10.78.${vm.address.split('.').at(-1)}.0/24`;
}

/**
 * Makes a VM that was started with the flavour of nodes a node of the cluster: our images, its network, its kubelet. To be called
 * again after each start of the VM, which has forgotten all of it.
 */
export async function startNode(
  vm: Vm,
  controlPlane: ControlPlane,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  await run('ip', ['route', 'replace', podRange(vm), 'via', vm.address]);
  const kubeconfig = await controlPlane.kubeconfigForUser(`system:node:${vm.name}`, ['system:nodes']);
  await vm.writeFile('/etc/kubernetes/kubeconfig', kubeconfig, 0o600);
  await vm.writeFile('/etc/kubernetes/ca.crt', controlPlane.caPem);
  await vm.writeFile('/etc/kubernetes/kubelet.yaml', JSON.stringify(kubeletConfig));
  await vm.writeFile('/etc/cni/net.d/10-lab.conflist', JSON.stringify(network(podRange(vm))));
  // A pod's resolv.conf is the node's, or there is none.
  await vm.exec(`: > /etc/resolv.conf`);
  await vm.exec(`/kube/bin/ctr --namespace k8s.io images import --local --snapshotter overlayfs ${IMAGES}`, {
    timeoutMs: 120_000,
  });
  const given = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  const options = {
    config: '/etc/kubernetes/kubelet.yaml',
    kubeconfig: '/etc/kubernetes/kubeconfig',
    'hostname-override': vm.name,
    'node-ip': vm.address,
    'node-labels': given.join(','),
    'housekeeping-interval': '60s',
    v: '1',
  };
  const words = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  await vm.spawn(`/bin/sh -c 'umask 022; exec /kube/bin/kubelet ${words.join(' ')}'`, {
    logFile: KUBELET_LOG,
    env: { GOGC: '200' },
  });
}

/** Pods reach the host, and through it each other; nothing else is there to be reached. */
function network(range: string): object {
  const ipam = { type: 'host-local', ranges: [[{ subnet: range }]], routes: [{ dst: '0.0.0.0/0' }] };
  return { cniVersion: '1.0.0', name: 'lab', plugins: [{ type: 'ptp', ipMasq: false, ipam }] };
}

/** Defaults of the kubelet, but for what the lab has not (a firewall, a DNS) and for what costs emulated CPU. */
const kubeletConfig = {
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
  cgroupDriver: 'cgroupfs',
  failSwapOn: false,
  makeIPTablesUtilChains: false,
  localStorageCapacityIsolation: false,
  resolvConf: '/etc/resolv.conf',
  authentication: {
    anonymous: { enabled: false },
    webhook: { enabled: true },
    x509: { clientCAFile: '/etc/kubernetes/ca.crt' },
  },
  authorization: { mode: 'Webhook' },
  evictionHard: { 'memory.available': '0%', 'nodefs.available': '0%', 'imagefs.available': '0%' },
  imageGCHighThresholdPercent: 100,
  imageGCLowThresholdPercent: 99,
  nodeStatusReportFrequency: '5m',
  runtimeRequestTimeout: '5m',
  maxPods: 30,
} as const;
