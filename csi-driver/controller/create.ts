import type { ReplicatedVolume } from '../../lib/api/index.ts';
import { OPERATOR_FINALIZER } from '../../lib/api/names.ts';
import { KubeError } from '../../lib/kube/client.ts';
import type { CreateVolumeRequest, CreateVolumeResponse } from '../generated/csi.ts';
import { CreateVolumeResponse as Response } from '../generated/csi.ts';
import { CsiError, invalid } from '../grpc/errors.ts';
import type { CallContext } from '../grpc/handlers.ts';
import { required, volumeUses } from '../validation.ts';
import { fits, sizeFor } from './capacity.ts';
import { checkHolds, sourceBytes, sourceOf } from './content-source.ts';
import type { ControllerDeps } from './deps.ts';
import { notReady } from './deps.ts';
import { volumeNameFor } from './names.ts';
import { claimOverrides } from './overrides.ts';
import { readMutable } from './modify.ts';
import { ownParameters, readParameters, type ClassSpec } from './parameters.ts';
import { accessibleSegments, clientLabelsOf, wantsClient } from './topology.ts';
import {
  ACCESSIBLE_ANNOTATION,
  NAME_ANNOTATION,
  OVERRIDES_ANNOTATION,
  PARAMETERS_ANNOTATION,
  volumeMessage,
} from './volume.ts';

/**
 * Creates the ReplicatedVolume and waits until its replicas are in sync. The same request again finds the same volume.
 * When no placement is possible the volume stays and is placed as soon as a node is there: the answer is
 * DEADLINE_EXCEEDED with the operator's reason. (RESOURCE_EXHAUSTED would tell the provisioner that nothing was left
 * behind, and the volume would be forgotten.)
 */
export async function createVolume(
  deps: ControllerDeps,
  request: CreateVolumeRequest,
  context: CallContext,
): Promise<CreateVolumeResponse> {
  const source = sourceOf(request);
  const leastBytes = source === undefined ? 0 : await sourceBytes(deps, source);
  const wanted = desiredVolume(request, {}, leastBytes);
  const name = wanted.metadata.name;
  // A cache may be behind: what it does not have is made, and found then; what it has may be gone.
  const known = deps.cachedVolume(name) && (await deps.volumes.get(name));
  const found = known ?? (await createOrGet(deps, request, name, leastBytes));
  checkSame(found, wanted, request);

  const uid = found.metadata.uid;
  let last: ReplicatedVolume | undefined = found;
  let answered: ReplicatedVolume | undefined = found;
  const ready = await deps.changes.waitFor(name, context, async () => {
    // Once its replicas are in sync they are so for good: a cache that is behind tells that no less truly.
    const seen = deps.cachedVolume(name);
    // The first look is at what the API server has just answered: the cache does not have it yet.
    last = seen?.metadata.uid === uid ? seen : (answered ?? (await deps.volumes.get(name)));
    answered = undefined;
    if (last === undefined || last.metadata.uid !== uid || last.metadata.deletionTimestamp !== undefined) {
      throw new CsiError('ABORTED', 'HF409', `volume ${name} was deleted while it was being created`);
    }
    return hasReplicas(last) ? last : undefined;
  });
  if (ready === undefined) throw notReady(`volume ${name} has no replicas in sync yet`, last?.status?.message);
  return Response.fromPartial({ volume: volumeMessage(ready) });
}

const hasReplicas = ({ status }: ReplicatedVolume): boolean => (status?.inSync?.length ?? 0) > 0;

/**
 * The object that a request asks for.
 *
 * @param overrides what the claim sets instead of the StorageClass
 * @param leastBytes what its source holds
 * @throws CsiError for whatever is wrong in the request
 */
export function desiredVolume(
  request: CreateVolumeRequest,
  overrides: Readonly<Record<string, string>> = {},
  leastBytes = 0,
): ReplicatedVolume {
  const csiName = required('name', request.name, 'the name of the volume to create');
  const uses = volumeUses('volume_capabilities', request.volumeCapabilities);
  const source = sourceOf(request);
  const parameters = { ...request.parameters, ...overrides };
  // Of a VolumeAttributesClass: it is the last word, as it is when the volume is changed later.
  const ofClass = merged(readParameters(parameters), readMutable(request.mutableParameters));
  const requirement = request.accessibilityRequirements;
  const { accessFrom } = parameters;
  const accessible = accessFrom === undefined ? undefined : accessibleSegments(accessFrom, requirement);
  if (source !== undefined && ofClass.provisioning === 'Thick') {
    throw invalid('volume_content_source', 'given', 'none for a thick volume: it would share blocks with its source');
  }
  // Who names no size gets that of the source.
  const range =
    request.capacityRange ?? (leastBytes > 0 ? { requiredBytes: BigInt(leastBytes), limitBytes: 0n } : undefined);
  const capacityBytes = sizeFor(range, uses);
  checkHolds(capacityBytes, leastBytes);
  const spec = {
    ...ofClass,
    ...(source && { source }),
    ...(wantsClient(ofClass.placement) && { clientLabels: clientLabelsOf(requirement) }),
    capacityBytes,
  };
  return {
    metadata: {
      name: volumeNameFor(csiName),
      // The operator asks for nothing else first; and it does not have to add it.
      finalizers: [OPERATOR_FINALIZER],
      annotations: {
        [NAME_ANNOTATION]: csiName,
        [PARAMETERS_ANNOTATION]: JSON.stringify(ownParameters(request.parameters)),
        ...(Object.keys(overrides).length > 0 && { [OVERRIDES_ANNOTATION]: JSON.stringify(overrides) }),
        ...(accessible && { [ACCESSIBLE_ANNOTATION]: JSON.stringify(accessible) }),
      },
    },
    // What is absent here gets the CRD's defaults from the API server.
    spec: spec as ReplicatedVolume['spec'],
  };
}

function merged(first: ClassSpec, last: ClassSpec): ClassSpec {
  const healing = { ...first.healing, ...last.healing };
  return { ...first, ...last, ...(Object.keys(healing).length > 0 && { healing }) };
}

/** A claim may change its annotations later, or go: what counts is what they were when the volume was made. */
async function createOrGet(
  deps: ControllerDeps,
  request: CreateVolumeRequest,
  name: string,
  leastBytes: number,
): Promise<ReplicatedVolume> {
  try {
    const overrides = await claimOverrides(deps.claims, request);
    return await deps.volumes.create(desiredVolume(request, overrides, leastBytes));
  } catch (error) {
    const isRefused = error instanceof CsiError;
    if (!isRefused && !(error instanceof KubeError && error.isAlreadyExists)) throw error;
    const existing = await deps.volumes.get(name);
    if (existing !== undefined) return existing;
    if (isRefused) throw error;
    throw new CsiError('ABORTED', 'HF409', `volume ${name} came and went while it was being created; try again`);
  }
}

/** Only a volume that an equal CreateVolume made is handed out: any other may hold someone's data. */
function checkSame(found: ReplicatedVolume, wanted: ReplicatedVolume, request: CreateVolumeRequest): void {
  const name = wanted.metadata.name;
  if (found.metadata.deletionTimestamp !== undefined) {
    throw new CsiError('ABORTED', 'HF409', `volume ${name} is being deleted; try again when it is gone`);
  }
  const has = (key: string): string | undefined => found.metadata.annotations?.[key];
  const wants = (key: string): string | undefined => wanted.metadata.annotations?.[key];
  const differences: string[] = [];
  if (has(NAME_ANNOTATION) !== wants(NAME_ANNOTATION)) {
    differences.push(`it was not made by CreateVolume for the name "${wants(NAME_ANNOTATION) ?? ''}"`);
  }
  if (has(PARAMETERS_ANNOTATION) !== wants(PARAMETERS_ANNOTATION)) {
    differences.push(
      `its parameters are ${has(PARAMETERS_ANNOTATION) ?? '{}'}, not ${wants(PARAMETERS_ANNOTATION) ?? '{}'}`,
    );
  }
  if (JSON.stringify(found.spec.source ?? null) !== JSON.stringify(wanted.spec.source ?? null)) {
    differences.push(`it was made from ${JSON.stringify(found.spec.source ?? 'nothing')}`);
  }
  if (!fits(found.spec.capacityBytes, request.capacityRange)) {
    const { requiredBytes = 0n, limitBytes = 0n } = request.capacityRange ?? {};
    const limit = limitBytes === 0n ? '' : ` to ${limitBytes}`;
    differences.push(`its size is ${found.spec.capacityBytes} bytes, not ${requiredBytes}${limit}`);
  }
  if (differences.length > 0) {
    throw new CsiError(
      'ALREADY_EXISTS',
      'HF404',
      `volume ${name} exists and differs: ${differences.join('; ')}`,
      'name',
    );
  }
}
