/**
 * What a StorageClass may say about its volumes, in one table: CreateVolume reads by it, the reference
 * (docs/reference/storage-class.md) and the admission policy for StorageClasses are made from it (generate.ts).
 */

/** One parameter of a StorageClass. */
export interface Parameter {
  readonly name: string;
  /** The field of a ReplicatedVolume's spec that it sets, whose default is that of the parameter; undefined for none. */
  readonly field?: string;
  /**
   * The form of the whole text, in what RE2 (the API server) and JavaScript have in common. Whatever the reader accepts has
   * this form, so that the policy refuses nothing that would work.
   */
  readonly pattern: string;
  /** A further condition in CEL over `value`, a text of the right form. */
  readonly rule?: string;
  /** What would be right, as it follows "expected". */
  readonly expected: string;
  readonly example: string;
  /** A VolumeAttributesClass may have it, too: it can be changed while the volume is used. */
  readonly mutable?: true;
  /** Markdown, for the reference. */
  readonly description: string;
}

/** What CEL's duration() reads as well. */
const DURATION = '([0-9]+([.][0-9]+)?(ms|s|m|h))+';
/** The longest that a timer of ours takes (lib/api/duration.ts). */
const LONGEST = "duration('596h31m23s647ms')";

const NAME = '[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?';
const LABEL = `([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?${NAME}`;

/** The grammar of operator/placement/parse.ts, which also counts and compares. */
function placementPattern(): string {
  const s = '\\s*';
  const value = `(""|${NAME})`;
  const one = `(distinct|same)${s}[(]${s}${LABEL}${s}[)]`;
  const exists = `exists${s}[(]${s}${LABEL}${s}[)]`;
  const list = (names: string): string => `${names}${s}[(]${s}${LABEL}${s},${s}${value}(${s}[|]${s}${value})*${s}[)]`;
  const near = `near${s}[(]${s}client${s}(,${s}${LABEL}${s})?[)]`;
  const spread = `spread${s}[(]${s}capacity${s}[)]`;
  const weight = `${s}[(]${s}0*(100|[1-9][0-9]?)${s}[)]${s}`;
  const goal = `prefer(${weight}|\\s+)(${one}|${list('in')}|${near}|${spread})`;
  const term = `(${one}|${exists}|${list('(in|notIn)')}|${goal})`;
  return `${s}(${term}${s}(;${s}|$))*`;
}

const overridable = [
  'replicas',
  'placement',
  'replicaTimeout',
  'legTimeout',
  'onControlPlaneLoss',
  'onSlowLeg',
  'provisioning',
  'accessFrom',
] as const;
const overridableList = overridable.join('|');

/** In the order of the reference. */
export const parameterTable = [
  {
    name: 'replicas',
    field: 'replicas',
    mutable: true,
    pattern: '[1-8]',
    expected: 'a number from 1 to 8',
    example: '3',
    description: 'How many copies there are of each volume, each on another storage node.',
  },
  {
    name: 'placement',
    field: 'placement',
    pattern: placementPattern(),
    expected: 'a placement such as "distinct(zone); prefer near(client)"',
    example: 'distinct(topology.kubernetes.io/zone)',
    description:
      'Where the copies may be: constraints and goals over the labels of storage nodes ([placement](placement.md)).',
  },
  {
    name: 'legTimeout',
    field: 'healing.legTimeout',
    mutable: true,
    pattern: DURATION,
    rule: `duration(value) > duration('0s') && duration(value) <= ${LONGEST}`,
    expected: 'a duration such as 3s, 1m30s or 250ms',
    example: '3s',
    description:
      'How long writes wait for a replica that does not answer, before its loss is recorded and they go on without it.',
  },
  {
    name: 'replicaTimeout',
    field: 'healing.replicaTimeout',
    mutable: true,
    pattern: DURATION,
    rule: `duration(value) > duration('0s') && duration(value) <= ${LONGEST}`,
    expected: 'a duration such as 10m or 1h30m',
    example: '10m',
    description: 'How long a replica may stay away, before the volume heals onto another storage node.',
  },
  {
    name: 'onControlPlaneLoss',
    field: 'healing.onControlPlaneLoss',
    mutable: true,
    pattern: `Wait|Continue after ${DURATION}`,
    rule: `value == 'Wait' || duration(value.substring(15)) <= ${LONGEST}`,
    expected: '"Wait" or, for example, "Continue after 30s"',
    example: 'Continue after 30s',
    description:
      'What writes do when a replica is lost while the API server can not be reached. `Continue after …` risks acknowledged ' +
      'writes ([what it risks](../explanation/data-safety.md)).',
  },
  {
    name: 'onSlowLeg',
    field: 'healing.onSlowLeg',
    mutable: true,
    pattern: `Report|Drop after ${DURATION}`,
    rule: `value == 'Report' || duration(value.substring(11)) <= ${LONGEST}`,
    expected: '"Report" or, for example, "Drop after 30s"',
    example: 'Drop after 30s',
    description: 'What happens to a replica whose connection lives but that ends no I/O.',
  },
  {
    name: 'provisioning',
    field: 'provisioning',
    pattern: 'Thin|Thick',
    expected: 'Thin or Thick',
    example: 'Thick',
    description:
      '`Thin`: a replica takes what is written to it, and a pool may promise more than it has. `Thick`: all of it is reserved.',
  },
  {
    name: 'accessFrom',
    pattern: LABEL,
    expected: 'the key of a node label, such as topology.kubernetes.io/region',
    example: 'topology.kubernetes.io/region',
    description:
      'A volume can be used from every node. With this, only from nodes that have the value of this label that the node of ' +
      'its first pod has. The label must be one of `csiNode.topologyKeys` of the chart, and the class needs ' +
      '`volumeBindingMode: WaitForFirstConsumer` or `allowedTopologies`.',
  },
  {
    name: 'allowOverride',
    pattern: ` *(${overridableList})( *, *(${overridableList}))* *`,
    expected: `names of parameters, separated by commas (${overridable.join(', ')})`,
    example: 'replicas, legTimeout',
    description:
      'The parameters that a PersistentVolumeClaim may set for itself by an annotation, such as `holdfast.dev/legTimeout: 1s`.',
  },
] as const satisfies readonly Parameter[];

export type ParameterName = (typeof parameterTable)[number]['name'];

/** @returns undefined when there is no parameter of this name */
export function parameterNamed(name: string): (Parameter & { readonly name: ParameterName }) | undefined {
  return parameterTable.find((parameter) => parameter.name === name);
}

/** Keys with this prefix are the provisioner's own (`csi.storage.k8s.io/fstype`, `.../pvc/name`, ...). */
export const FOREIGN_PREFIX = 'csi.storage.k8s.io/';

/** Annotations of a PersistentVolumeClaim with this prefix set parameters for its volume alone. */
export const OVERRIDE_PREFIX = 'holdfast.dev/';
