import type { ReplicatedSnapshot } from '../../lib/api/index.ts';
import { KubeError } from '../../lib/kube/client.ts';
import {
  CreateSnapshotResponse,
  GetSnapshotResponse,
  ListSnapshotsResponse,
  type CreateSnapshotRequest,
  type DeleteSnapshotRequest,
  type DeleteSnapshotResponse,
  type GetSnapshotRequest,
  type ListSnapshotsRequest,
} from '../generated/csi.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import type { CallContext } from '../grpc/handlers.ts';
import { isVolumeName, required } from '../validation.ts';
import { notReady, noVolume, type ControllerDeps } from './deps.ts';
import { page } from './list.ts';
import { volumeNameFor } from './names.ts';
import { NAME_ANNOTATION } from './volume.ts';

/** What calls about snapshots work with. */
export type SnapshotDeps = Pick<ControllerDeps, 'volumes' | 'snapshots' | 'cachedSnapshots' | 'changes'>;

/** The key under which a snapshot's changes are told, beside those of volumes. */
export const snapshotKey = (name: string): string => `snapshot/${name}`;

/**
 * Takes a snapshot of a volume and waits until it is taken. The same request again finds the same snapshot.
 * @throws CsiError NOT_FOUND (HF405) without such a volume, ALREADY_EXISTS (HF431) for a snapshot of another volume
 */
export async function createSnapshot(
  deps: SnapshotDeps,
  request: CreateSnapshotRequest,
  context: CallContext,
): Promise<CreateSnapshotResponse> {
  const source = required('source_volume_id', request.sourceVolumeId, 'the id of the volume to take it of');
  const csiName = required('name', request.name, 'the name of the snapshot to create');
  checkParameters(request.parameters);
  const name = volumeNameFor(csiName);
  const found = (await deps.snapshots.get(name)) ?? (await createOf(deps, name, csiName, source));
  const is =
    found.spec.group === undefined ? found.spec.volume : `a group of which it is a part (${found.spec.group.name})`;
  if (is !== source || found.metadata.annotations?.[NAME_ANNOTATION] !== csiName) {
    throw new CsiError(
      'ALREADY_EXISTS',
      'HF431',
      `snapshot ${name} exists and is one of ${is}, not of ${source}`,
      'name',
    );
  }
  const taken = await taking(deps, found, context);
  return CreateSnapshotResponse.fromPartial({ snapshot: snapshotMessage(taken) });
}

async function createOf(
  deps: SnapshotDeps,
  name: string,
  csiName: string,
  source: string,
): Promise<ReplicatedSnapshot> {
  const volume = isVolumeName(source) ? await deps.volumes.get(source) : undefined;
  if (volume === undefined) throw noVolume(source);
  return await createOrGet(deps, {
    metadata: { name, annotations: { [NAME_ANNOTATION]: csiName } },
    spec: { volume: source, volumeUid: volume.metadata.uid ?? '' },
  });
}

/** Makes the object, or finds the one that another call has made in between. */
export async function createOrGet(deps: SnapshotDeps, wanted: ReplicatedSnapshot): Promise<ReplicatedSnapshot> {
  const { name } = wanted.metadata;
  try {
    return await deps.snapshots.create(wanted);
  } catch (error) {
    if (!(error instanceof KubeError) || !error.isAlreadyExists) throw error;
    const existing = await deps.snapshots.get(name);
    if (existing !== undefined) return existing;
    throw new CsiError('ABORTED', 'HF409', `snapshot ${name} came and went while it was being created; try again`);
  }
}

/**
 * Waits until a snapshot is taken.
 * @throws CsiError DEADLINE_EXCEEDED (HF406) when it takes longer, FAILED_PRECONDITION (HF432) when it never will be
 */
export async function taking(
  deps: SnapshotDeps,
  { metadata: { name, uid } }: ReplicatedSnapshot,
  context: CallContext,
): Promise<ReplicatedSnapshot> {
  let last: ReplicatedSnapshot | undefined;
  const ready = await deps.changes.waitFor(snapshotKey(name), context, async () => {
    last = await deps.snapshots.get(name);
    if (last === undefined || last.metadata.uid !== uid || last.metadata.deletionTimestamp !== undefined) {
      throw new CsiError('ABORTED', 'HF409', `snapshot ${name} is being deleted; try again when it is gone`);
    }
    const { phase, message } = last.status ?? {};
    if (phase === 'Failed') {
      throw new CsiError('FAILED_PRECONDITION', 'HF432', `snapshot ${name} can not be taken: ${message ?? ''}`);
    }
    return phase === 'Ready' ? last : undefined;
  });
  if (ready === undefined) throw notReady(`snapshot ${name} is not taken yet`, last?.status?.message);
  return ready;
}

/** Deletes a snapshot and waits until it is gone. Success when there is none. */
export async function deleteSnapshot(
  deps: SnapshotDeps,
  request: DeleteSnapshotRequest,
  context: CallContext,
): Promise<DeleteSnapshotResponse> {
  const id = required('snapshot_id', request.snapshotId, 'the id of the snapshot to delete');
  const snapshot = isVolumeName(id) ? await deps.snapshots.get(id) : undefined;
  if (snapshot === undefined) return {};
  const { group } = snapshot.spec;
  if (group !== undefined) {
    throw invalid('snapshot_id', id, `no part of a group: delete the group snapshot ${group.name} as a whole`);
  }
  await removing(deps, snapshot, context);
  return {};
}

/** Deletes one snapshot and waits until it is gone. @throws CsiError DEADLINE_EXCEEDED (HF406) when that takes longer */
export async function removing(
  deps: SnapshotDeps,
  { metadata: { name, uid, deletionTimestamp } }: ReplicatedSnapshot,
  context: CallContext,
): Promise<void> {
  if (deletionTimestamp === undefined) await deps.snapshots.delete(name, uid === undefined ? {} : { uid });
  let message: string | undefined;
  const gone = await deps.changes.waitFor(snapshotKey(name), context, async () => {
    const now = await deps.snapshots.get(name);
    message = now?.status?.message;
    return now === undefined || now.metadata.uid !== uid ? true : undefined;
  });
  if (gone === undefined) throw notReady(`snapshot ${name} is being deleted`, message);
}

/** The snapshots that have been taken, by name; the passing ones of clones are not told. */
export async function listSnapshots(deps: SnapshotDeps, request: ListSnapshotsRequest): Promise<ListSnapshotsResponse> {
  const { snapshotId, sourceVolumeId } = request;
  // Asked for one, the answer is the API server's: the cache may not know yet what CreateSnapshot has just told.
  const one = snapshotId !== '' && isVolumeName(snapshotId) ? await deps.snapshots.get(snapshotId) : undefined;
  const all = snapshotId === '' ? deps.cachedSnapshots() : one === undefined ? [] : [one];
  const listed = all.filter(
    ({ spec, status }) =>
      status?.phase === 'Ready' &&
      spec.forVolume === undefined &&
      (sourceVolumeId === '' || spec.volume === sourceVolumeId),
  );
  const { entries, nextToken } = page(listed, request);
  return ListSnapshotsResponse.fromPartial({
    entries: entries.map((each) => ({ snapshot: snapshotMessage(each) })),
    nextToken,
  });
}

/** One snapshot, as the API server has it now. @throws CsiError (NOT_FOUND, HF430) when there is none */
export async function getSnapshot(deps: SnapshotDeps, request: GetSnapshotRequest): Promise<GetSnapshotResponse> {
  const id = required('snapshot_id', request.snapshotId, 'the id of the snapshot to look at');
  return GetSnapshotResponse.fromPartial({ snapshot: snapshotMessage(await readSnapshot(deps, id)) });
}

/** @throws CsiError (NOT_FOUND, HF430) when there is no such snapshot */
export async function readSnapshot(deps: Pick<SnapshotDeps, 'snapshots'>, id: string): Promise<ReplicatedSnapshot> {
  const snapshot = isVolumeName(id) ? await deps.snapshots.get(id) : undefined;
  if (snapshot === undefined || snapshot.metadata.deletionTimestamp !== undefined) {
    throw new CsiError('NOT_FOUND', 'HF430', `there is no snapshot "${id}"`, 'snapshot_id');
  }
  return snapshot;
}

/** A snapshot as CSI tells it. */
export function snapshotMessage({ metadata, spec, status }: ReplicatedSnapshot) {
  return {
    snapshotId: metadata.name,
    sourceVolumeId: spec.volume,
    sizeBytes: BigInt(status?.sizeBytes ?? 0),
    creationTime: timestamp(status?.takenAt ?? metadata.creationTimestamp),
    readyToUse: status?.phase === 'Ready',
    groupSnapshotId: spec.group?.name ?? '',
  };
}

/** A protobuf timestamp; CSI requires one. */
export function timestamp(rfc3339: string | undefined): { readonly seconds: bigint; readonly nanos: number } {
  const ms = rfc3339 === undefined ? 0 : Date.parse(rfc3339);
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
}

/** What the sidecar adds by itself (its own prefix) means nothing here; there are no others. */
export function checkParameters(parameters: Readonly<Record<string, string>>): void {
  const unknown = Object.keys(parameters).filter((key) => !key.startsWith('csi.storage.k8s.io/'));
  if (unknown.length > 0) throw invalid('parameters', unknown.join(', '), 'none: a snapshot has no parameters');
}
