import type { ReplicatedVolumeSpec } from '../../lib/api/index.ts';
import { labelValue, type Labels } from '../../operator/placement/labels.ts';
import type { Topology, TopologyRequirement } from '../generated/csi.ts';
import { CsiError } from '../grpc/errors.ts';

/** What a topology is from which a volume can be used: labels of nodes. */
export type Segments = Readonly<Record<string, string>>;

/**
 * The labels of the node for which a volume is made, as far as the caller tells: of the topology that it prefers. Empty
 * when it has no wish, or names several that are alike to it.
 */
export function clientLabelsOf(requirement: TopologyRequirement | undefined): Segments {
  const [first] = requirement?.preferred ?? [];
  const [only, ...others] = requirement?.requisite ?? [];
  return first?.segments ?? (others.length === 0 ? only?.segments : undefined) ?? {};
}

/**
 * The topologies from which a volume of a class with `accessFrom` can be used: of those that the request names, each value
 * of this label once.
 *
 * @throws CsiError (INVALID_ARGUMENT, HF402) when the request names none with this label
 */
export function accessibleSegments(label: string, requirement: TopologyRequirement | undefined): readonly Segments[] {
  const named: readonly Topology[] = requirement?.requisite.length
    ? requirement.requisite
    : (requirement?.preferred ?? []);
  const values = new Set(named.flatMap(({ segments }) => labelValue(segments, label) ?? []));
  if (values.size > 0) return [...values].map((value) => ({ [label]: value }));
  const why =
    named.length === 0
      ? 'the request does not say for which node the volume is; the StorageClass needs volumeBindingMode: ' +
        'WaitForFirstConsumer, or allowedTopologies'
      : `the nodes of the request do not tell this label; it must be one of the chart's csiNode.topologyKeys, and on the nodes`;
  throw new CsiError('INVALID_ARGUMENT', 'HF402', `accessFrom is "${label}": ${why}`, 'parameters.accessFrom');
}

/** Whether it matters for a volume's placement where its client is. */
export function wantsClient(placement: Partial<ReplicatedVolumeSpec['placement']> | undefined): boolean {
  return (placement?.goals ?? []).some(({ near }) => near !== undefined);
}

/** Those labels of a node that placement can compare: of which some storage node has the key. */
export function comparableLabels(node: Labels, storageNodes: readonly { readonly labels: Labels }[]): Segments {
  const keys = new Set(storageNodes.flatMap(({ labels }) => Object.keys(labels)));
  return Object.fromEntries(Object.entries(node).filter(([key]) => keys.has(key)));
}
