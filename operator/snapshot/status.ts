import type { ReplicatedSnapshot } from '../../lib/api/index.ts';
import { sameJson } from '../volume/merge-patch.ts';
import type { Member, SnapshotAction, Untouched } from './world.ts';

/** Writes the fields of a snapshot's status that differ. */
export function statusAction(
  { metadata, status = {} }: ReplicatedSnapshot,
  wanted: Partial<NonNullable<ReplicatedSnapshot['status']>>,
  unless?: Untouched,
): readonly SnapshotAction[] {
  const present: Readonly<Record<string, unknown>> = { ...status };
  const changed = Object.entries(wanted).filter(([key, value]) => !sameJson(value, present[key]));
  if (changed.length === 0) return [];
  const action = { kind: 'setStatus', name: metadata.name, status: Object.fromEntries(changed) } as const;
  return [unless === undefined ? action : { ...action, unless }];
}

/** What names a request to hold the writes of a volume for a snapshot. */
export function requestOf({ metadata }: ReplicatedSnapshot, attempt: number): string {
  return `${metadata.uid ?? ''}/${attempt}`;
}

/** Whether a request is one of the snapshot's tries. */
export function isRequestOf({ metadata }: ReplicatedSnapshot, request: string): boolean {
  return metadata.uid !== undefined && request.startsWith(`${metadata.uid}/`);
}

/** Takes a request back that was made for this snapshot: whoever holds writes for it lets them go on. */
export function withdraw({ snapshot, connection }: Member): readonly SnapshotAction[] {
  const { suspend } = connection?.spec ?? {};
  if (connection === undefined || suspend === undefined) return [];
  if (!isRequestOf(snapshot, suspend.request)) return [];
  const { name, uid = '' } = connection.metadata;
  return [{ kind: 'suspend', connection: name, uid, suspend: undefined }];
}
