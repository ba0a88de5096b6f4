import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import type { Schema } from './crd.ts';
import { HoldfastError } from './errors.ts';
import { schemas } from './generated/schemas.ts';
import type { ReplicatedVolume, StorageNode, VolumeConnection, VolumeReplica } from './index.ts';

export interface KindTypes {
  readonly ReplicatedVolume: ReplicatedVolume;
  readonly StorageNode: StorageNode;
  readonly VolumeConnection: VolumeConnection;
  readonly VolumeReplica: VolumeReplica;
}

export type KindName = keyof KindTypes;

/** What is wrong with one field. */
export interface FieldError {
  /** As in `spec.pools[0].name`. */
  readonly field: string;
  readonly value: unknown;
  /** What would be right. */
  readonly expected: string;
}

export type Validation<T> =
  | { readonly valid: true; readonly object: T; readonly errors: readonly [] }
  | { readonly valid: false; readonly errors: readonly FieldError[] };

/**
 * Checks an object by the schema of its CRD, and gives it with the defaults that the API server would add. The object
 * given stays as it is. Unknown fields are errors. CEL rules are the API server's alone.
 */
export function validate<K extends KindName>(kind: K, object: unknown): Validation<KindTypes[K]> {
  const check = validatorOf(kind);
  const copy = structuredClone(object);
  if (check(copy)) return { valid: true, object: copy as KindTypes[K], errors: [] };
  const errors = (check.errors ?? []).map((error) => fieldError(error, copy));
  return { valid: false, errors };
}

/** {@link validate} for a caller that can't go on: the object with defaults, or HoldfastError HF001 that lists all errors. */
export function assertValid<K extends KindName>(kind: K, object: unknown): KindTypes[K] {
  const result = validate(kind, object);
  if (result.valid) return result.object;
  const [first] = result.errors;
  throw new HoldfastError('HF001', `${kind}: ${result.errors.map(formatFieldError).join('; ')}`, {
    field: first?.field,
  });
}

/** `spec.replicas: 0 is wrong: it is at least 1`. */
export function formatFieldError({ field, value, expected }: FieldError): string {
  const shown = value === undefined ? 'nothing' : (JSON.stringify(value) ?? typeof value);
  return `${field}: ${shown.length > 100 ? `${shown.slice(0, 97)}...` : shown} is wrong: ${expected}`;
}

const compiled = new Map<KindName, ValidateFunction>();
let ajv: Ajv | undefined;

function validatorOf(kind: KindName): ValidateFunction {
  let validator = compiled.get(kind);
  if (!validator) {
    ajv ??= createAjv();
    validator = ajv.compile(closed(withMetadata(schemas[kind])));
    compiled.set(kind, validator);
  }
  return validator;
}

function createAjv(): Ajv {
  const created = new Ajv({
    allErrors: true,
    useDefaults: true,
    verbose: true,
    keywords: [
      'x-kubernetes-list-type',
      'x-kubernetes-list-map-keys',
      'x-kubernetes-validations',
      'x-kubernetes-int-or-string',
    ],
  });
  addFormats.default(created, ['int32', 'int64', 'date-time']);
  return created;
}

/** Metadata is Kubernetes' own business: only the name is looked at. */
function withMetadata(schema: Schema): Schema {
  return {
    ...schema,
    required: ['metadata', ...(schema.required ?? [])],
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: {
        type: 'object',
        required: ['name'],
        properties: {
          name: {
            type: 'string',
            maxLength: 253,
            pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
          },
        },
        additionalProperties: {},
      },
      ...schema.properties,
    },
  };
}

/** No unknown fields anywhere, except where a map is meant. */
function closed(schema: Schema): object {
  const { properties, items, additionalProperties, ...rest } = schema;
  return {
    ...rest,
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, field]) => [name, closed(field)])),
    }),
    ...(items && { items: closed(items) }),
    ...(additionalProperties
      ? { additionalProperties: closed(additionalProperties) }
      : properties && { additionalProperties: false }),
  };
}

function fieldError(error: ErrorObject, object: unknown): FieldError {
  const at = fieldPath(error.instancePath, object);
  const { params, parentSchema } = error;
  switch (error.keyword) {
    case 'required':
      return { field: join(at, String(params['missingProperty'])), value: undefined, expected: 'it is required' };
    case 'additionalProperties': {
      const name = String(params['additionalProperty']);
      const known = Object.keys((parentSchema as Schema | undefined)?.properties ?? {});
      const value = (error.data as Record<string, unknown> | undefined)?.[name];
      return { field: join(at, name), value, expected: `there is no such field; there are ${known.join(', ')}` };
    }
    default:
      return { field: at === '' ? 'the object' : at, value: error.data, expected: expectation(error) };
  }
}

function expectation({ keyword, params, message }: ErrorObject): string {
  const limit = String(params['limit']);
  switch (keyword) {
    case 'type':
      return `it is of type ${String(params['type'])}`;
    case 'enum':
      return `it is one of ${(params['allowedValues'] as unknown[]).map(String).join(', ')}`;
    case 'minimum':
      return `it is at least ${limit}`;
    case 'maximum':
      return `it is at most ${limit}`;
    case 'minLength':
      return `it has at least ${limit} characters`;
    case 'maxLength':
      return `it has at most ${limit} characters`;
    case 'minItems':
      return `it has at least ${limit} items`;
    case 'maxItems':
      return `it has at most ${limit} items`;
    case 'minProperties':
    case 'maxProperties':
      return `it has ${keyword === 'minProperties' ? 'at least' : 'at most'} ${limit} fields`;
    case 'pattern':
      return `it matches ${String(params['pattern'])}`;
    case 'format':
      return params['format'] === 'date-time'
        ? 'it is a time such as 2026-01-31T12:00:00Z'
        : `it is an ${String(params['format'])}`;
    default:
      return message ?? `it breaks the rule ${keyword}`;
  }
}

/** `/spec/pools/0/name` as `spec.pools[0].name`. */
function fieldPath(pointer: string, object: unknown): string {
  let at = '';
  let value = object;
  for (const part of pointer.split('/').slice(1)) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    at = Array.isArray(value) ? `${at}[${name}]` : join(at, name);
    value = (value as Record<string, unknown> | undefined)?.[name];
  }
  return at;
}

function join(at: string, name: string): string {
  return at === '' ? name : `${at}.${name}`;
}
