import { HoldfastError } from '../../lib/api/errors.ts';
import { formatDuration, parseDurationMs } from '../../lib/api/duration.ts';
import type { ReplicatedVolumeSpec } from '../../lib/api/index.ts';
import { policyDelayMs, type StallPolicy } from '../../lib/api/policy.ts';
import { parsePlacement, PlacementSyntaxError } from '../../operator/placement/parse.ts';
import { toSpec } from '../../operator/placement/spec.ts';
import { CsiError } from '../grpc/errors.ts';
import {
  FOREIGN_PREFIX,
  parameterNamed,
  parameterTable,
  type Parameter,
  type ParameterName,
} from './parameter-table.ts';

/** What a StorageClass decides about its volumes. Absent fields get the CRD's defaults. */
export type ClassSpec = Partial<Pick<ReplicatedVolumeSpec, 'replicas' | 'placement' | 'provisioning'>> & {
  readonly healing?: Partial<ReplicatedVolumeSpec['healing']>;
};

/** The CRD's limit for a duration's text. */
const MAX_DURATION_LENGTH = 32;

/** The part of the spec that a text of the right form stands for; the two that are no part of it give none. */
const readers: Readonly<Record<ParameterName, (value: string) => ClassSpec>> = {
  replicas: (value) => ({ replicas: Number(value) }),
  placement: (value) => ({ placement: placement(value) }),
  replicaTimeout: (value) => ({ healing: { replicaTimeout: duration('replicaTimeout', value) } }),
  legTimeout: (value) => ({ healing: { legTimeout: duration('legTimeout', value) } }),
  onControlPlaneLoss: (value) => ({ healing: { onControlPlaneLoss: policy('onControlPlaneLoss', value) } }),
  onSlowLeg: (value) => ({ healing: { onSlowLeg: policy('onSlowLeg', value) } }),
  provisioning: (value) => ({ provisioning: value === 'Thick' ? 'Thick' : 'Thin' }),
  accessFrom: () => ({}),
  allowOverride: () => ({}),
};

/** The parameters that a StorageClass may have. */
export const parameterNames: readonly ParameterName[] = parameterTable.map(({ name }) => name);

/**
 * Reads the parameters of a StorageClass.
 *
 * @throws CsiError (HF402, INVALID_ARGUMENT) naming the parameter, its value and what would be right; for a placement
 * expression with the column of the mistake
 */
export function readParameters(parameters: Readonly<Record<string, string>>): ClassSpec {
  let spec: ClassSpec = {};
  for (const [name, value] of Object.entries(ownParameters(parameters))) {
    const parameter = parameterNamed(name);
    if (parameter === undefined) {
      const known = /^fs_?type$/i.test(name)
        ? `the filesystem is ${FOREIGN_PREFIX}fstype`
        : `the known ones are ${parameterNames.join(', ')}`;
      throw wrong(name, `unknown parameter "${name}"; ${known}`);
    }
    // A placement's own parser says where the mistake is.
    if (parameter.name !== 'placement') checkForm(parameter, value);
    const part = readers[parameter.name](value);
    spec = { ...spec, ...part, ...(part.healing && { healing: { ...spec.healing, ...part.healing } }) };
  }
  return spec;
}

/** The parameters that are meant for this driver, in a fixed order: what makes two requests alike. */
export function ownParameters(parameters: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const own = Object.entries(parameters).filter(([name]) => !name.startsWith(FOREIGN_PREFIX));
  return Object.fromEntries(own.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function checkForm({ name, pattern, expected }: Parameter, value: string): void {
  if (!new RegExp(`^(${pattern})$`).test(value)) throw wrong(name, `${name} is "${value}": expected ${expected}`);
}

function placement(value: string): ReplicatedVolumeSpec['placement'] {
  try {
    return toSpec(parsePlacement(value)) as ReplicatedVolumeSpec['placement'];
  } catch (error) {
    if (error instanceof PlacementSyntaxError) throw wrong('placement', error.display);
    throw error;
  }
}

function policy(name: keyof StallPolicy, value: string): string {
  try {
    policyDelayMs(name, value);
    return value;
  } catch (error) {
    if (error instanceof HoldfastError) throw wrong(name, error.message.replace(/^HF\d+: /, ''));
    throw error;
  }
}

function duration(name: string, value: string): string {
  try {
    const ms = parseDurationMs(value, name);
    if (ms < 1) throw wrong(name, `${name} is "${value}": expected more than 0, for example 3s`);
    return value.length > MAX_DURATION_LENGTH ? formatDuration(ms) : value;
  } catch (error) {
    if (error instanceof HoldfastError && !(error instanceof CsiError)) {
      throw wrong(name, error.message.replace(/^HF\d+: /, ''));
    }
    throw error;
  }
}

function wrong(name: string, message: string): CsiError {
  return new CsiError('INVALID_ARGUMENT', 'HF402', message, `parameters.${name}`);
}
