import { isTrue } from '../lib/api/conditions.ts';
import type { ReplicatedVolume, StorageNode } from '../lib/api/index.ts';
import type { Metric, Sample } from '../lib/metrics.ts';

/** What the operator that leads knows, as it is when it is asked. */
export interface View {
  readonly volumes: () => readonly ReplicatedVolume[];
  readonly storageNodes: () => readonly StorageNode[];
  /** Whether the storage agent of a node renews its lease. */
  readonly isAlive: (storageNode: string) => boolean;
}

/** @param view undefined for an operator that stands by: only one of them tells of the volumes */
export function metricsOf(view: View | undefined): readonly Metric[] {
  const leading = gauge('holdfast_operator_leading', 'Whether this operator leads.', [
    { value: view === undefined ? 0 : 1 },
  ]);
  return view === undefined ? [leading] : [leading, ...ofVolumes(view), ...ofStorageNodes(view), ...ofPools(view)];
}

function ofVolumes({ volumes }: View): readonly Metric[] {
  const each = (value: (volume: ReplicatedVolume) => number, labels?: (volume: ReplicatedVolume) => object): Sample[] =>
    volumes().map((volume) => ({
      labels: { volume: volume.metadata.name, ...labels?.(volume) },
      value: value(volume),
    }));
  const attached = volumes().flatMap(({ metadata, status }): Sample[] => {
    const node = status?.attachment?.node ?? '';
    return node === '' ? [] : [{ labels: { volume: metadata.name, node }, value: 1 }];
  });
  return [
    gauge(
      'holdfast_volume_capacity_bytes',
      'The size of a volume.',
      each(({ spec }) => spec.capacityBytes),
    ),
    gauge(
      'holdfast_volume_wanted_replicas',
      'How many replicas a volume is to have.',
      each(({ spec }) => spec.replicas),
    ),
    gauge(
      'holdfast_volume_in_sync_replicas',
      'How many replicas hold every acknowledged write.',
      each(({ status }) => status?.inSync?.length ?? 0),
    ),
    gauge(
      'holdfast_volume_phase',
      'Always 1; the label tells the phase of the volume.',
      each(
        () => 1,
        ({ status }) => ({ phase: status?.phase ?? 'Pending' }),
      ),
    ),
    gauge('holdfast_volume_attached', 'Always 1; the label tells the node that has the volume.', attached),
  ];
}

function ofStorageNodes({ storageNodes, isAlive }: View): readonly Metric[] {
  const each = (is: (node: StorageNode) => boolean): Sample[] =>
    storageNodes().map((node) => ({ labels: { storage_node: node.metadata.name }, value: is(node) ? 1 : 0 }));
  return [
    gauge(
      'holdfast_storage_node_alive',
      'Whether the storage agent renews its lease.',
      each(({ metadata }) => isAlive(metadata.name)),
    ),
    gauge(
      'holdfast_storage_node_ready',
      'Whether its pools can be used.',
      each(({ status }) => isTrue(status?.conditions, 'Ready')),
    ),
    gauge(
      'holdfast_storage_node_cordoned',
      'Whether it gets no new replicas.',
      each(({ spec }) => spec.cordoned),
    ),
  ];
}

function ofPools({ storageNodes }: View): readonly Metric[] {
  type Figure = 'capacityBytes' | 'usedBytes' | 'provisionedBytes';
  const each = (figure: Figure): Sample[] =>
    storageNodes().flatMap(({ metadata, status }) =>
      (status?.pools ?? []).map((pool) => ({
        labels: { storage_node: metadata.name, pool: pool.name },
        value: pool[figure],
      })),
    );
  return [
    gauge('holdfast_pool_capacity_bytes', 'The size of a pool.', each('capacityBytes')),
    gauge('holdfast_pool_used_bytes', 'What is allocated in a pool.', each('usedBytes')),
    gauge('holdfast_pool_provisioned_bytes', 'What a pool has promised to volumes.', each('provisionedBytes')),
  ];
}

function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, help, type: 'gauge', samples };
}
