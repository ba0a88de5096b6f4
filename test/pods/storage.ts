import type { Vm } from '../lab/vm/vm.ts';
import { apply, nodeToken } from '../system/manifests.ts';
import type { Cluster } from './cluster.ts';
import { NAMESPACE } from './look.ts';

/** The object that says what a storage node has; and, on a machine that runs no pods, the agent itself. */
export async function addStorageNode(cluster: Cluster, vm: Vm): Promise<void> {
  await cluster.storageNodes.create({
    metadata: { name: vm.name, labels: { zone: vm.zone } },
    spec: {
      addresses: [{ ip: vm.address, port: 4420 }],
      pools: [{ name: 'pool', devices: ['/dev/vdc'] }],
      cordoned: false,
      draining: false,
    },
  });
  if (!cluster.isNode(vm)) await startAgentOn(cluster, vm);
}

export async function startAgentOn({ connection, lab }: Cluster, vm: Vm): Promise<void> {
  await apply(connection, { apiVersion: 'v1', kind: 'Node', metadata: { name: vm.name } });
  const file = '/etc/holdfast/kubeconfig';
  const text = lab.controlPlane.kubeconfigForToken(await nodeToken(connection, NAMESPACE, 'storage-agent', vm.name));
  await vm.writeFile(file, text, 0o600);
  const options = `--node ${vm.name} --kubeconfig ${file} --lease-duration 15s`;
  await vm.spawn(`node /opt/holdfast/programs/storage-agent.mjs ${options}`, { logFile: '/var/log/holdfast.log' });
}
