import type { ReplicatedVolume } from '../../lib/api/index.ts';
import type { Volume } from '../generated/csi.ts';
import type { Segments } from './topology.ts';

/** What CreateVolume was asked for, kept on the volume so that a repeated call can be told from another one. */
export const NAME_ANNOTATION = 'csi.holdfast.dev/name';
export const PARAMETERS_ANNOTATION = 'csi.holdfast.dev/parameters';
/** What the claim has set instead. */
export const OVERRIDES_ANNOTATION = 'csi.holdfast.dev/overrides';
/** The topologies from which the volume can be used, a list of label sets; none: from everywhere. */
export const ACCESSIBLE_ANNOTATION = 'csi.holdfast.dev/accessible-from';

/** A volume as CSI tells it. */
export function volumeMessage({ metadata, spec }: ReplicatedVolume) {
  const text = metadata.annotations?.[ACCESSIBLE_ANNOTATION];
  const segments = text === undefined ? [] : (JSON.parse(text) as readonly Segments[]);
  return {
    volumeId: metadata.name,
    capacityBytes: BigInt(spec.capacityBytes),
    contentSource: contentSource(spec.source),
    accessibleTopology: segments.map((each) => ({ segments: { ...each } })),
  } satisfies Partial<Volume>;
}

function contentSource(source: ReplicatedVolume['spec']['source']): Volume['contentSource'] {
  if (source?.snapshot !== undefined) return { type: { $case: 'snapshot', value: { snapshotId: source.snapshot } } };
  if (source?.volume !== undefined) return { type: { $case: 'volume', value: { volumeId: source.volume } } };
  return undefined;
}
