import type { KubeNode, Resource } from '../../lib/kube/client.ts';
import { HoldfastError } from '../../lib/api/errors.ts';
import { isLabelKey } from '../../operator/placement/labels.ts';

/**
 * What every node says that can use volumes. Without a topology of some kind the provisioner makes no volume for a pod
 * that waits for one, and not every cluster has zones.
 */
export const CLIENT_LABEL = 'csi.holdfast.dev/client';

/** @throws HoldfastError HF004 for a list in which something is no label key */
export function parseTopologyKeys(text: string): readonly string[] {
  const keys = text
    .split(',')
    .map((key) => key.trim())
    .filter((key) => key !== '');
  const wrong = keys.find((key) => !isLabelKey(key));
  if (wrong === undefined) return keys;
  throw new HoldfastError(
    'HF004',
    `--topology-keys: "${wrong}" is not a label key, such as topology.kubernetes.io/zone`,
  );
}

/**
 * Those of a node's labels that tell where it is. The node's object is read when it is asked for; the kubelet asks when it
 * registers the driver. A machine without such an object (outside of Kubernetes) has no place that is known.
 */
export function nodeTopology(options: {
  readonly node: string;
  readonly nodes: Pick<Resource<KubeNode>, 'get'>;
  readonly keys: readonly string[];
}): () => Promise<Readonly<Record<string, string>>> {
  const { node, nodes, keys } = options;
  return async () => {
    const labels = (await nodes.get(node))?.metadata.labels ?? {};
    const own = keys.flatMap((key) => (Object.hasOwn(labels, key) ? [[key, labels[key] ?? '']] : []));
    return { ...(Object.fromEntries(own) as Record<string, string>), [CLIENT_LABEL]: 'true' };
  };
}
