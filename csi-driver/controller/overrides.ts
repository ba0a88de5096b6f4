import type { KubeObject } from '../../lib/api/index.ts';
import type { Resource } from '../../lib/kube/client.ts';
import type { CreateVolumeRequest } from '../generated/csi.ts';
import { CsiError } from '../grpc/errors.ts';
import { FOREIGN_PREFIX, OVERRIDE_PREFIX } from './parameter-table.ts';
import { parameterNames, readParameters } from './parameters.ts';

/** What the provisioner adds with --extra-create-metadata. */
const CLAIM_NAME = `${FOREIGN_PREFIX}pvc/name`;
const CLAIM_NAMESPACE = `${FOREIGN_PREFIX}pvc/namespace`;

/** The PersistentVolumeClaims of a namespace. */
export type Claims = (namespace: string) => Pick<Resource<KubeObject>, 'get'>;

/**
 * The parameters that the claim of a new volume sets for itself, by annotations such as `holdfast.dev/legTimeout: 1s`.
 * Empty when no claim asks (another orchestrator), or it sets none.
 *
 * @throws CsiError HF402 (INVALID_ARGUMENT) when some may be set and the request doesn't say by whom, HF420 for one that the StorageClass doesn't let it set or that has no such value,
 * HF409 (FAILED_PRECONDITION) when the claim is gone: nobody wants the volume any more
 */
export async function claimOverrides(
  claims: Claims,
  { name, parameters }: Pick<CreateVolumeRequest, 'name' | 'parameters'>,
): Promise<Readonly<Record<string, string>>> {
  const claimName = parameters[CLAIM_NAME];
  const namespace = parameters[CLAIM_NAMESPACE];
  if (!claimName || !namespace) {
    if (parameters['allowOverride'] === undefined) return {};
    const why = 'the request does not name the claim; the provisioner needs --extra-create-metadata';
    throw new CsiError('INVALID_ARGUMENT', 'HF402', `allowOverride: ${why}`, 'parameters.allowOverride');
  }
  const claim = await claims(namespace).get(claimName);
  // Of the same name, but another one: the provisioner puts the claim's UID into the name of its volume.
  if (claim === undefined || !name.includes(claim.metadata.uid ?? '')) {
    const message = `the claim ${namespace}/${claimName} for which volume ${name} was to be made is gone`;
    throw new CsiError('FAILED_PRECONDITION', 'HF409', message);
  }
  return overridesOf(`${namespace}/${claimName}`, claim.metadata.annotations ?? {}, parameters['allowOverride'] ?? '');
}

/** {@link claimOverrides} of annotations that are known. */
export function overridesOf(
  claim: string,
  annotations: Readonly<Record<string, string>>,
  allowOverride: string,
): Readonly<Record<string, string>> {
  const allowed = allowOverride.split(',').map((name) => name.trim());
  const mayBe = allowOverride.trim() === '' ? 'none' : allowed.join(', ');
  const overrides: Record<string, string> = {};
  for (const [key, value] of Object.entries(annotations)) {
    if (!key.startsWith(OVERRIDE_PREFIX)) continue;
    const name = key.slice(OVERRIDE_PREFIX.length);
    if (!parameterNames.some((known) => known === name)) {
      throw refused(claim, key, `there is no parameter "${name}"; the known ones are ${parameterNames.join(', ')}`);
    }
    if (!allowed.includes(name)) {
      throw refused(claim, key, `its StorageClass lets a claim set ${mayBe} (parameter allowOverride)`);
    }
    try {
      readParameters({ [name]: value });
    } catch (error) {
      if (error instanceof CsiError) throw refused(claim, key, error.message.replace(/^HF\d+: /, ''));
      throw error;
    }
    overrides[name] = value;
  }
  return overrides;
}

function refused(claim: string, key: string, why: string): CsiError {
  const message = `annotation ${key} of the claim ${claim}: ${why}`;
  return new CsiError('INVALID_ARGUMENT', 'HF420', message, `metadata.annotations["${key}"]`);
}
