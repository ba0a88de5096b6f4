import { isDeepStrictEqual } from 'node:util';
import {
  DATA_PRESENT,
  findCondition,
  legSizeBytes,
  setCondition,
  type Condition,
  type VolumeReplicaStatus,
} from '../../lib/api/index.ts';
import type { DecodedLeg } from '../../lib/host/leg-header.ts';
import { identityOf } from './identity.ts';
import type { StatusIntent } from './plan.ts';
import { allocatedBytes, type ReplicaWorld } from './world.ts';

const MIB = 1024 * 1024;
/** The API takes this many characters. */
const MAX_MESSAGE = 1024;

/** How often a change of `usedBytes` alone is worth a write. */
export const USAGE_REFRESH_MS = 30_000;

/** Bytes that a thin volume has taken from its pool, rounded to 1 MiB so that idle volumes cause no writes. */
export function usedBytes(world: Pick<ReplicaWorld, 'volume'>): number | undefined {
  const { volume } = world;
  if (volume?.dataPercent === undefined) return undefined;
  return Math.round((volume.sizeBytes * volume.dataPercent) / 100 / MIB) * MIB;
}

/** A message for people, with its code in front. */
export function messageOf(intent: Pick<StatusIntent, 'code' | 'message'>): string {
  const text = intent.code === undefined ? intent.message : `${intent.code}: ${intent.message}`;
  return text.length <= MAX_MESSAGE ? text : `${text.slice(0, MAX_MESSAGE - 1)}…`;
}

/**
 * The whole status to write. `fencedEpoch` and where to connect appear together, and only once the new export stands;
 * until then the former ones stay.
 */
export function nextStatus(
  world: ReplicaWorld,
  intent: StatusIntent,
  before: VolumeReplicaStatus | undefined,
  bootId: string,
  now: Date,
): VolumeReplicaStatus {
  const kept = before ?? {};
  const used = usedBytes(world) ?? kept.usedBytes;
  const status: VolumeReplicaStatus = {
    ...kept,
    phase: intent.phase,
    message: messageOf(intent),
    ...(used === undefined ? {} : { usedBytes: used }),
    ...sizeStatus(world),
    ...diskStatus(world, kept),
    conditions: dataPresent(world, intent, consistent(world, intent, kept.conditions, now), now),
  };
  if (intent.fencedEpoch === undefined) return status;
  const drained = Math.max(intent.drained ?? 0, kept.drained ?? 0);
  const listener = world.listeners[0];
  return {
    ...status,
    nqn: world.nqn,
    bootId,
    fencedEpoch: Math.max(intent.fencedEpoch, kept.fencedEpoch ?? 0),
    ...(drained === 0 ? {} : { drained }),
    ...(listener === undefined ? {} : { address: listener.ip, port: listener.port }),
  };
}

/** The capacity that there is room for: what was asked for, once the volume has it, and, when it is thick, all of its blocks. */
function sizeStatus({ volume, replica }: ReplicaWorld): Pick<VolumeReplicaStatus, 'sizeBytes'> {
  if (volume === undefined || volume.sizeBytes < legSizeBytes(replica.sizeBytes)) return {};
  const isWhole = replica.provisioning === 'Thin' || allocatedBytes(volume.tags) >= volume.sizeBytes;
  return isWhole ? { sizeBytes: replica.sizeBytes } : {};
}

/** What the disk knows. The record in front of the data is kept from the last look at it. */
function diskStatus({ volume, leg }: ReplicaWorld, kept: VolumeReplicaStatus): Pick<VolumeReplicaStatus, 'disk'> {
  if (volume === undefined) return {};
  const { lineage, epoch, host } = identityOf(volume.tags);
  const { record, blank } = leg === undefined ? (kept.disk ?? {}) : headerStatus(leg.decoded);
  return {
    disk: {
      lineage,
      epoch,
      ...(host === undefined ? {} : { host }),
      ...(blank === undefined ? {} : { blank }),
      ...(record === undefined ? {} : { record }),
    },
  };
}

/** What has been read in front of the data; nothing for what can't be made sense of. */
export function headerStatus(decoded: DecodedLeg): { readonly record?: RecordStatus; readonly blank?: true } {
  if (decoded.state === 'blank') return { blank: true };
  const record = recordOf(decoded);
  return record === undefined ? {} : { record };
}

/** The record that a leg carries, as the API tells it. */
function recordOf(decoded: DecodedLeg): RecordStatus | undefined {
  if (decoded.state !== 'record') return undefined;
  const { lineage, epoch, generation, base, inSync } = decoded.header;
  return { lineage, epoch, generation, ...(base === undefined ? {} : { base }), inSync: [...inSync] };
}

type RecordStatus = NonNullable<NonNullable<VolumeReplicaStatus['disk']>['record']>;

/** Whether object and disk agree. Without a look at the disk nothing is said that was not said before. */
function consistent(
  { volume }: ReplicaWorld,
  intent: StatusIntent,
  before: readonly Condition[] | undefined,
  now: Date,
): Condition[] {
  if (intent.conflict === true) {
    const message = messageOf(intent);
    return setCondition(before, { type: 'Consistent', status: 'False', reason: 'DiskKnowsBetter', message }, now);
  }
  if (volume === undefined || intent.fencedEpoch === undefined) return [...(before ?? [])];
  const message = 'the disk knows nothing later than the object';
  return setCondition(before, { type: 'Consistent', status: 'True', reason: 'Agrees', message }, now);
}

/** Whether the replica's data is still there: told once it is not, and when it is again after that. */
function dataPresent({ volume }: ReplicaWorld, intent: StatusIntent, before: Condition[], now: Date): Condition[] {
  if (intent.code === 'HF307') {
    const gone = {
      type: DATA_PRESENT,
      status: 'False',
      reason: 'LogicalVolumeGone',
      message: messageOf(intent),
    } as const;
    return setCondition(before, gone, now);
  }
  const wasGone = findCondition(before, DATA_PRESENT) !== undefined;
  if (!wasGone || volume === undefined || intent.fencedEpoch === undefined) return before;
  const found = {
    type: DATA_PRESENT,
    status: 'True',
    reason: 'Found',
    message: 'the logical volume is there',
  } as const;
  return setCondition(before, found, now);
}

/** Whether a status differs from what the API has; `usedBytes` alone counts only when its last write is old enough. */
export function isWorthWriting(
  before: VolumeReplicaStatus | undefined,
  after: VolumeReplicaStatus,
  sinceUsageMs: number,
): boolean {
  const keys = ['phase', 'message', 'sizeBytes', 'nqn', 'address', 'port', 'fencedEpoch', 'drained', 'bootId'] as const;
  if (keys.some((key) => before?.[key] !== after[key])) return true;
  if (!isDeepStrictEqual(before?.disk, after.disk)) return true;
  if (!isDeepStrictEqual(before?.conditions ?? [], after.conditions)) return true;
  return before?.usedBytes !== after.usedBytes && sinceUsageMs >= USAGE_REFRESH_MS;
}
