import type { ReplicatedVolume, VolumeConnection } from '../lib/api/index.ts';
import { VolumeHealth, VolumeHealthErrorType as Type, type VolumeHealth_VolumeHealthEntry } from './generated/csi.ts';

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
