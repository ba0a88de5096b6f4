import type { Cluster } from './cluster.ts';
import { KUBELET_LOG } from './node.ts';

/** What a person would look at first when a step has failed. */
export async function diagnose(cluster: Cluster): Promise<string> {
  const parts: string[] = [];
  const look = async (title: string, work: () => Promise<string>): Promise<void> => {
    const said = await work().catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
    parts.push(`--- ${title}\n${said.trim()}`);
  };
  const kubectl = (...args: string[]): void => void queue.push([args.join(' '), () => cluster.kubectl(...args)]);
  const queue: [string, () => Promise<string>][] = [];
  kubectl('get', 'nodes,pods', '--all-namespaces', '--output', 'wide');
  kubectl(
    'get',
    'pvc,pv,volumeattachments,storagenodes,replicatedvolumes,volumereplicas,volumeconnections',
    '--all-namespaces',
  );
  kubectl('get', 'events', '--all-namespaces', '--sort-by=.lastTimestamp');
  const namespace = ['--namespace', 'holdfast-system'];
  const pods = await cluster.kubectl('get', 'pods', ...namespace, '--output', 'name').catch(() => '');
  for (const pod of pods.split('\n').filter((name) => name !== '')) {
    kubectl('logs', ...namespace, '--all-containers', '--tail=25', '--prefix', pod);
  }
  for (const [title, work] of queue) await look(title, work);
  for (const vm of cluster.lab.vms.filter((one) => one.running())) {
    await look(
      `${vm.name}: kubelet`,
      async () => (await vm.exec(`tail -n 15 ${KUBELET_LOG}; tail -n 5 /var/log/containerd.log`)).stdout,
    );
  }
  return parts.join('\n');
}
