import type { Condition, ConditionStatus } from './meta.ts';

/** Type of a VolumeReplica's condition: false once its logical volume is found to be gone. */
export const DATA_PRESENT = 'DataPresent';

/** A condition as its owner sees it now; when it began is worked out by {@link setCondition}. */
export interface ObservedCondition {
  readonly type: string;
  readonly status: ConditionStatus;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number | undefined;
}

/**
 * The conditions with one of them set. `lastTransitionTime` changes only when `status` does, so that it says since when
 * something is so; the order of the others stays.
 */
export function setCondition(
  conditions: readonly Condition[] | undefined,
  observed: ObservedCondition,
  now: Date,
): Condition[] {
  const before = conditions?.find((condition) => condition.type === observed.type);
  const { observedGeneration, ...rest } = observed;
  const condition: Condition = {
    ...rest,
    ...(observedGeneration === undefined ? {} : { observedGeneration }),
    lastTransitionTime: before?.status === observed.status ? before.lastTransitionTime : toTime(now),
  };
  if (!before) return [...(conditions ?? []), condition];
  return (conditions ?? []).map((each) => (each.type === observed.type ? condition : each));
}

/** The condition of this type, if it has been observed. */
export function findCondition(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** True only when the condition has been observed and holds; unknown is not true. */
export function isTrue(conditions: readonly Condition[] | undefined, type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}

/** RFC 3339 in whole seconds, which is what the API server keeps of a time. */
function toTime(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
