import type { ReplicatedVolume, VolumeConnection } from '../lib/api/index.ts';
import {
  StorageHealthErrorType as StorageType,
  VolumeHealth,
  VolumeHealthErrorType as Type,
  type NodeGetStorageHealthResponse_StorageBackendHealth as BackendHealth,
  type VolumeHealth_VolumeHealthEntry,
} from './generated/csi.ts';

/** What ails a volume, as the operator sees it: from all storage nodes and the client together. Empty: nothing. */
export function healthOfVolume({ metadata, status }: ReplicatedVolume): VolumeHealth {
  return VolumeHealth.fromPartial({
    volumeId: metadata.name,
    healthStatuses: volumeEntries(status?.phase, status?.message),
  });
}

function volumeEntries(
  phase: NonNullable<ReplicatedVolume['status']>['phase'],
  message = '',
): VolumeHealth_VolumeHealthEntry[] {
  switch (phase) {
    case 'Degraded':
      return [{ status: Type.DEGRADED, reason: 'ReplicaNotInSync', message }];
    case 'Healing':
      return [{ status: Type.DEGRADED, reason: 'ReplicaIsReplaced', message }];
    case 'Waiting':
      return [{ status: Type.INACCESSIBLE, reason: 'WaitsForReplica', message }];
    case 'Pending':
    case 'Creating':
    case 'Healthy':
    case 'Deleting':
    case undefined:
      return [];
  }
}

/** Phases of a VolumeConnection in which nothing can be read or written, and how they are told. */
const CUT: Readonly<Record<string, string>> = { Waiting: 'IoWaits', Fenced: 'Fenced', Failed: 'NotStarted' };

/** What ails a volume, as the client agent of a node sees its legs there. */
export function healthOfConnection(volume: string, { spec, status }: VolumeConnection): VolumeHealth {
  const { phase, message = '', legs = [] } = status ?? {};
  const cut = CUT[phase ?? ''];
  const away = spec.legs.filter(({ replica }) => legs.find((leg) => leg.replica === replica)?.state !== 'InSync');
  const states = away.map(
    ({ replica }) => `${replica} is ${legs.find((leg) => leg.replica === replica)?.state ?? 'Connecting'}`,
  );
  return VolumeHealth.fromPartial({
    volumeId: volume,
    healthStatuses: [
      ...(cut ? [{ status: Type.INACCESSIBLE, reason: cut, message }] : []),
      ...(phase === 'Connected' && away.length > 0
        ? [{ status: Type.DEGRADED, reason: 'LegNotInSync', message: states.join('; ') }]
        : []),
    ],
  });
}

/**
 * What ails the storage as a node sees it: storage nodes of which it reaches no leg. A node that uses no volume knows nothing.
 *
 * @param connections those of the node
 */
export function healthOfStorage(connections: readonly VolumeConnection[]): BackendHealth[] {
  const reached = new Map<string, boolean>();
  for (const { spec, status } of connections) {
    for (const { replica, address } of spec.legs) {
      const leg = status?.legs?.find((each) => each.replica === replica);
      // One whose first connection is still being made tells nothing.
      if (leg === undefined || leg.state === 'Connecting') continue;
      reached.set(address, reached.get(address) === true || leg.state !== 'Unreachable');
    }
  }
  const away = [...reached].flatMap(([address, isReached]) => (isReached ? [] : [address])).toSorted();
  if (away.length === 0) return [];
  const all = away.length === reached.size;
  return [
    {
      status: all ? StorageType.STORAGE_UNREACHABLE : StorageType.STORAGE_DEGRADED,
      reason: all ? 'NoStorageNodeReached' : 'StorageNodeNotReached',
      message: `no leg answers on ${away.join(', ')}`,
      volumeCapability: undefined,
    },
  ];
}
