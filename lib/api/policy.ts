import { parseDurationMs } from './duration.ts';
import { HoldfastError } from './errors.ts';

/** What a client does with a leg that can't be recorded or that is slow: fields of `spec.healing`, and of a connection. */
export interface StallPolicy {
  /** `Wait`, or `Continue after 30s`. */
  readonly onControlPlaneLoss: string;
  /** `Report`, or `Drop after 30s`. */
  readonly onSlowLeg: string;
}

/** The API's defaults: writes wait, nothing is risked. */
export const DEFAULT_STALL_POLICY: StallPolicy = { onControlPlaneLoss: 'Wait', onSlowLeg: 'Report' };

const WORDS = {
  onControlPlaneLoss: { never: 'Wait', after: 'Continue after ' },
  onSlowLeg: { never: 'Report', after: 'Drop after ' },
} as const;

/**
 * After how many milliseconds a policy acts.
 * @returns undefined: never
 * @throws HoldfastError HF002 when the text is neither of the two forms
 */
export function policyDelayMs(field: keyof StallPolicy, text: string): number | undefined {
  const { never, after } = WORDS[field];
  if (text === never) return undefined;
  if (text.startsWith(after)) return parseDurationMs(text.slice(after.length), field);
  throw new HoldfastError('HF002', `${field} is "${text}": expected "${never}" or, for example, "${after}30s"`, {
    field,
  });
}
