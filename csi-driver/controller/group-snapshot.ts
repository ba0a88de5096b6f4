import { createHash } from 'node:crypto';
import type { ReplicatedSnapshot } from '../../lib/api/index.ts';
import {
  CreateVolumeGroupSnapshotResponse,
  GetVolumeGroupSnapshotResponse,
  GroupControllerGetCapabilitiesResponse,
  GroupControllerServiceCapability_RPC_Type as Rpc,
  type CreateVolumeGroupSnapshotRequest,
  type DeleteVolumeGroupSnapshotRequest,
  type DeleteVolumeGroupSnapshotResponse,
  type GetVolumeGroupSnapshotRequest,
} from '../generated/csi.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import type { CallContext, GroupControllerHandlers } from '../grpc/handlers.ts';
import { withVolumeLocks, type VolumeLocks } from '../grpc/volume-lock.ts';
import { isVolumeName, required } from '../validation.ts';
import { noVolume } from './deps.ts';
import { volumeNameFor } from './names.ts';
import {
  checkParameters,
  createOrGet,
  removing,
  snapshotMessage,
  taking,
  timestamp,
  type SnapshotDeps,
} from './snapshot.ts';
import { NAME_ANNOTATION } from './volume.ts';

/** The CRD takes this many. */
const MOST_VOLUMES = 64;

/** The CSI GroupController service: snapshots of several volumes at one instant. */
export function groupControllerService(deps: SnapshotDeps, locks: VolumeLocks = new Map()): GroupControllerHandlers {
  const handlers: GroupControllerHandlers = {
    createVolumeGroupSnapshot: (request, context) => createGroup(deps, request, context),
    deleteVolumeGroupSnapshot: (request, context) => deleteGroup(deps, request, context),
    getVolumeGroupSnapshot: async (request) => getGroup(deps, request),
    groupControllerGetCapabilities: async () =>
      GroupControllerGetCapabilitiesResponse.fromPartial({
        capabilities: [{ type: { $case: 'rpc', value: { type: Rpc.CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT } } }],
      }),
  };
  return withVolumeLocks(handlers, {
    locks,
    volumeOf: (request) => {
      const { groupSnapshotId, name } = request as { readonly groupSnapshotId?: string; readonly name?: string };
      const id = groupSnapshotId ?? (name ? volumeNameFor(name) : '');
      return id === '' ? '' : `group/${id}`;
    },
    unlocked: ['getVolumeGroupSnapshot', 'groupControllerGetCapabilities'],
  });
}

/** Takes snapshots of all volumes at once and waits for them. The same request again finds the same group. */
async function createGroup(
  deps: SnapshotDeps,
  request: CreateVolumeGroupSnapshotRequest,
  context: CallContext,
): Promise<CreateVolumeGroupSnapshotResponse> {
  const csiName = required('name', request.name, 'the name of the group snapshot to create');
  const volumes = [...new Set(request.sourceVolumeIds)].toSorted();
  if (volumes.length === 0) throw invalid('source_volume_ids', undefined, 'at least one volume');
  if (volumes.length > MOST_VOLUMES)
    throw invalid('source_volume_ids', volumes.length, `at most ${MOST_VOLUMES} volumes`);
  checkParameters(request.parameters);
  const group = volumeNameFor(csiName);
  const others = membersOf(deps, group).filter(({ spec }) => spec.group?.volumes.toSorted().join() !== volumes.join());
  if (others.length > 0) {
    const has = others[0]?.spec.group?.volumes.join(', ') ?? '';
    throw new CsiError('ALREADY_EXISTS', 'HF431', `group snapshot ${group} exists and is one of ${has}`, 'name');
  }
  const missing: string[] = [];
  const found = await Promise.all(
    volumes.map(async (volume) => {
      const object = isVolumeName(volume) ? await deps.volumes.get(volume) : undefined;
      if (object === undefined) missing.push(volume);
      return { volume, uid: object?.metadata.uid };
    }),
  );
  const members: ReplicatedSnapshot[] = [];
  for (const { volume, uid } of found) {
    const name = memberName(group, volume);
    const existing = await deps.snapshots.get(name);
    // Nothing is made while one of the volumes is not there.
    if (existing === undefined && missing.length > 0) throw noVolume(missing[0] ?? '');
    const spec = { volume, ...(uid === undefined ? {} : { volumeUid: uid }), group: { name: group, volumes } };
    const metadata = { name, annotations: { [NAME_ANNOTATION]: csiName } };
    const member = existing ?? (await createOrGet(deps, { metadata, spec }));
    if (member.spec.group?.name !== group || member.spec.group.volumes.toSorted().join() !== volumes.join()) {
      throw new CsiError('ALREADY_EXISTS', 'HF431', `snapshot ${name} exists and is of another group`, 'name');
    }
    members.push(member);
  }
  const taken: ReplicatedSnapshot[] = [];
  for (const member of members) taken.push(await taking(deps, member, context));
  return CreateVolumeGroupSnapshotResponse.fromPartial({ groupSnapshot: groupMessage(group, taken) });
}

/** Deletes all snapshots of a group and waits until they are gone. Success when there are none. */
async function deleteGroup(
  deps: SnapshotDeps,
  request: DeleteVolumeGroupSnapshotRequest,
  context: CallContext,
): Promise<DeleteVolumeGroupSnapshotResponse> {
  const group = required('group_snapshot_id', request.groupSnapshotId, 'the id of the group snapshot to delete');
  // The cache may lag; whoever calls knows the ids, which CreateVolumeGroupSnapshot has told.
  const named = await Promise.all(
    request.snapshotIds.map((id) => (isVolumeName(id) ? deps.snapshots.get(id) : Promise.resolve(undefined))),
  );
  const known = named.filter((each) => each !== undefined);
  const strange = known.find(({ spec }) => spec.group?.name !== group);
  if (strange !== undefined) throw invalid('snapshot_ids', strange.metadata.name, `snapshots of the group ${group}`);
  const all = new Map([...membersOf(deps, group), ...known].map((each) => [each.metadata.name, each]));
  await Promise.all([...all.values()].map((snapshot) => removing(deps, snapshot, context)));
  return {};
}

async function getGroup(
  deps: SnapshotDeps,
  request: GetVolumeGroupSnapshotRequest,
): Promise<GetVolumeGroupSnapshotResponse> {
  const group = required('group_snapshot_id', request.groupSnapshotId, 'the id of the group snapshot to look at');
  const named = await Promise.all(
    request.snapshotIds.map((id) => (isVolumeName(id) ? deps.snapshots.get(id) : Promise.resolve(undefined))),
  );
  const known = named.filter((each) => each !== undefined);
  const members = known.length > 0 ? known : membersOf(deps, group);
  if (members.length === 0 || members.some(({ spec }) => spec.group?.name !== group)) {
    throw new CsiError(
      'NOT_FOUND',
      'HF430',
      `there is no group snapshot "${group}" of these snapshots`,
      'group_snapshot_id',
    );
  }
  return GetVolumeGroupSnapshotResponse.fromPartial({ groupSnapshot: groupMessage(group, members) });
}

function membersOf(deps: SnapshotDeps, group: string): readonly ReplicatedSnapshot[] {
  return deps.cachedSnapshots().filter(({ spec }) => spec.group?.name === group);
}

function groupMessage(group: string, members: readonly ReplicatedSnapshot[]) {
  const times = members.map(({ metadata, status }) => status?.takenAt ?? metadata.creationTimestamp ?? '').toSorted();
  return {
    groupSnapshotId: group,
    snapshots: members.map(snapshotMessage),
    creationTime: timestamp(times[0]),
    readyToUse: members.every(({ status }) => status?.phase === 'Ready'),
  };
}

/** The snapshot of one volume in a group. */
function memberName(group: string, volume: string): string {
  return `${group}-${createHash('sha256').update(volume).digest('hex').slice(0, 8)}`;
}
