import type { ReplicatedVolume } from '../../lib/api/index.ts';
import {
  ControllerGetVolumeHealthResponse,
  ControllerGetVolumeResponse,
  ControllerListVolumeHealthResponse,
  ListVolumesResponse,
  type ControllerGetVolumeHealthRequest,
  type ControllerGetVolumeRequest,
  type ControllerListVolumeHealthRequest,
  type ListVolumesRequest,
} from '../generated/csi.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import { healthOfVolume } from '../health.ts';
import { isVolumeName, required } from '../validation.ts';
import { noVolume, type ListDeps } from './deps.ts';
import { volumeMessage } from './volume.ts';

/** All volumes by name, from the cache, each with the node that may write to it. */
export function listVolumes({ cachedVolumes }: ListDeps, request: ListVolumesRequest): ListVolumesResponse {
  const { entries, nextToken } = page(cachedVolumes(), request);
  return ListVolumesResponse.fromPartial({ entries: entries.map(entryOf), nextToken });
}

/** The volumes that something ails. */
export function listVolumeHealth(
  { cachedVolumes }: ListDeps,
  request: ControllerListVolumeHealthRequest,
): ControllerListVolumeHealthResponse {
  const ailing = cachedVolumes().filter((volume) => healthOfVolume(volume).healthStatuses.length > 0);
  const { entries, nextToken } = page(ailing, request);
  return ControllerListVolumeHealthResponse.fromPartial({ entries: entries.map(healthOfVolume), nextToken });
}

/** One volume, as the API server has it now. @throws CsiError (NOT_FOUND, HF405) when there is none */
export async function getVolume(
  deps: ListDeps,
  request: ControllerGetVolumeRequest,
): Promise<ControllerGetVolumeResponse> {
  return ControllerGetVolumeResponse.fromPartial(entryOf(await read(deps, request.volumeId)));
}

/** @throws CsiError (NOT_FOUND, HF405) when there is no such volume */
export async function getVolumeHealth(
  deps: ListDeps,
  request: ControllerGetVolumeHealthRequest,
): Promise<ControllerGetVolumeHealthResponse> {
  const volumeHealth = healthOfVolume(await read(deps, request.volumeId));
  return ControllerGetVolumeHealthResponse.fromPartial({ volumeHealth });
}

async function read({ volumes }: ListDeps, id: string): Promise<ReplicatedVolume> {
  required('volume_id', id, 'the id of the volume to look at');
  const volume = isVolumeName(id) ? await volumes.get(id) : undefined;
  if (volume === undefined) throw noVolume(id);
  return volume;
}

function entryOf(volume: ReplicatedVolume) {
  const node = volume.status?.attachment?.node;
  return {
    volume: volumeMessage(volume),
    status: { publishedNodeIds: node === undefined ? [] : [node] },
  };
}

/** Tokens tell after which name to go on; the prefix tells ours from others. */
const TOKEN_PREFIX = 'after:';

/** A part of the objects by name, after the token. @throws CsiError ABORTED for a token that is none of ours, INVALID_ARGUMENT for a negative number of entries */
export function page<T extends { readonly metadata: { readonly name: string } }>(
  objects: readonly T[],
  { maxEntries, startingToken }: { readonly maxEntries: number; readonly startingToken: string },
): { readonly entries: readonly T[]; readonly nextToken: string } {
  if (maxEntries < 0) throw invalid('max_entries', maxEntries, 'a number from 0, which stands for all');
  if (startingToken !== '' && !startingToken.startsWith(TOKEN_PREFIX)) {
    const message = `starting_token is "${startingToken}": expected the next_token of an earlier call`;
    throw new CsiError('ABORTED', 'HF401', message, 'starting_token');
  }
  const after = startingToken.slice(TOKEN_PREFIX.length);
  const rest = objects
    .filter(({ metadata }) => metadata.name > after)
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const entries = maxEntries === 0 ? rest : rest.slice(0, maxEntries);
  const last = entries.at(-1)?.metadata.name;
  return { entries, nextToken: entries.length < rest.length ? `${TOKEN_PREFIX}${last ?? ''}` : '' };
}
