import { expect, test } from '@jest/globals';
import { DEFAULT_STALL_POLICY, policyDelayMs } from './policy.ts';

test('by default nothing is risked: both wait for ever', () => {
  expect(policyDelayMs('onControlPlaneLoss', DEFAULT_STALL_POLICY.onControlPlaneLoss)).toBeUndefined();
  expect(policyDelayMs('onSlowLeg', DEFAULT_STALL_POLICY.onSlowLeg)).toBeUndefined();
});

test('the delay is read to the millisecond', () => {
  expect(policyDelayMs('onControlPlaneLoss', 'Continue after 30s')).toBe(30_000);
  expect(policyDelayMs('onSlowLeg', 'Drop after 1h0.5s')).toBe(3_600_500);
});

test.each([
  ['onControlPlaneLoss', 'Drop after 3s', 'expected "Wait" or, for example, "Continue after 30s"'],
  ['onControlPlaneLoss', 'wait', 'onControlPlaneLoss is "wait"'],
  ['onSlowLeg', 'Drop after soon', 'onSlowLeg: "soon" is not a duration'],
  ['onSlowLeg', '', 'expected "Report" or, for example, "Drop after 30s"'],
] as const)('%s: "%s" is refused', (field, text, message) => {
  expect(() => policyDelayMs(field, text)).toThrow(message);
});
