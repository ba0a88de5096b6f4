import type { ReplicatedVolume } from '../../lib/api/index.ts';
import type { ControllerModifyVolumeRequest, ControllerModifyVolumeResponse } from '../generated/csi.ts';
import { CsiError } from '../grpc/errors.ts';
import { isVolumeName, required } from '../validation.ts';
import { changeSpec, refuseDeleted } from './change.ts';
import { noVolume, type ControllerDeps } from './deps.ts';
import { parameterTable } from './parameter-table.ts';
import { readParameters, type ClassSpec } from './parameters.ts';

/** The parameters that a VolumeAttributesClass may have: what can be changed while a volume is used. */
export const mutableNames: readonly string[] = parameterTable
  .filter((each) => 'mutable' in each)
  .map(({ name }) => name);

/**
 * Changes what a VolumeAttributesClass says of a volume. Time limits and policies count from now on; replicas are added and
 * filled, or leave once they are not needed, afterwards and by the operator.
 */
export async function controllerModify(
  deps: Pick<ControllerDeps, 'volumes'>,
  request: ControllerModifyVolumeRequest,
): Promise<ControllerModifyVolumeResponse> {
  const id = required('volume_id', request.volumeId, 'the id of the volume to change');
  const found = isVolumeName(id) ? await deps.volumes.get(id) : undefined;
  if (found === undefined) throw noVolume(id);
  const wanted = readMutable(request.mutableParameters);
  await changeSpec(deps.volumes, found, (volume) => {
    refuseDeleted(volume);
    return isAsWanted(volume, wanted) ? undefined : wanted;
  });
  return {};
}

/**
 * Reads the parameters of a VolumeAttributesClass.
 *
 * @throws CsiError (HF402, INVALID_ARGUMENT) naming the parameter, its value and what would be right
 */
export function readMutable(parameters: Readonly<Record<string, string>>): ClassSpec {
  const fixed = Object.keys(parameters).find((name) => !mutableNames.includes(name));
  if (fixed !== undefined) {
    const message = `${fixed} can't be changed by a VolumeAttributesClass; what can is ${mutableNames.join(', ')}`;
    throw new CsiError('INVALID_ARGUMENT', 'HF402', message, `mutable_parameters.${fixed}`);
  }
  try {
    return readParameters(parameters);
  } catch (error) {
    if (!(error instanceof CsiError)) throw error;
    const message = error.message.replace(/^HF\d+: /, '');
    throw new CsiError(error.status, error.code, message, error.field?.replace(/^parameters/, 'mutable_parameters'));
  }
}

function isAsWanted({ spec }: ReplicatedVolume, { healing = {}, ...wanted }: ClassSpec): boolean {
  const same = <T extends object>(has: T, wants: Partial<T>): boolean =>
    (Object.keys(wants) as (keyof T)[]).every((key) => has[key] === wants[key]);
  return same<object>(spec, wanted) && same(spec.healing, healing);
}
