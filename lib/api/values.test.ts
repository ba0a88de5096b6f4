import { expect, test } from '@jest/globals';
import { formatDuration, parseDurationMs } from './duration.ts';
import { formatBytes, parseSizeBytes } from './size.ts';
import { findCondition, isTrue, setCondition } from './conditions.ts';

test.each([
  ['3s', 3000],
  ['1m30s', 90_000],
  ['250ms', 250],
  ['1.5h', 5_400_000],
  ['0s', 0],
  ['1h1m1s1ms', 3_661_001],
  ['0.1ms', 0],
])('the duration %s is %d ms', (text, ms) => {
  expect(parseDurationMs(text)).toBe(ms);
});

test.each(['', '3', 's', '3 s', '-3s', '3d', '1e3s', '3s4', 'ms', '.5s', '1..5s'])('"%s" is no duration', (text) => {
  expect(() => parseDurationMs(text, 'spec.healing.legTimeout')).toThrow(
    `HF002: spec.healing.legTimeout: "${text}" is not a duration`,
  );
});

test('a duration that no timer can wait for is refused', () => {
  expect(() => parseDurationMs('9999h')).toThrow('the longest is 24 days');
});

test.each([0, 1, 250, 999, 1000, 1500, 3000, 60_000, 90_000, 3_600_000, 86_399_999])(
  '%d ms is formatted so that it is read back the same',
  (ms) => expect(parseDurationMs(formatDuration(ms))).toBe(ms),
);

test('a negative duration has a sign', () => expect(formatDuration(-1500)).toBe('-1s500ms'));

test.each([
  ['64Mi', 67_108_864],
  ['1Gi', 1_073_741_824],
  ['10G', 10_000_000_000],
  ['1.5Ti', 1_649_267_441_664],
  ['512', 512],
  ['1k', 1000],
])('the size %s is %d bytes', (text, bytes) => {
  expect(parseSizeBytes(text)).toBe(bytes);
});

test.each(['', 'Mi', '1 Gi', '1GiB', '1GB', '-1Gi', '1K', '0x10', '1e6'])('"%s" is no size', (text) => {
  expect(() => parseSizeBytes(text, 'capacity')).toThrow(`HF003: capacity: "${text}" is not a size`);
});

test('a size that is no whole number of bytes, or too large to count, is refused', () => {
  expect(() => parseSizeBytes('0.3')).toThrow('not a whole number of bytes');
  expect(() => parseSizeBytes('9Pi')).toThrow('not a whole number of bytes below 8Pi');
});

test.each([
  [0, '0'],
  [17, '17'],
  [1023, '1023'],
  [1024, '1Ki'],
  [1536, '1.5Ki'],
  [67_108_864, '64Mi'],
  [100 * 2 ** 20, '100Mi'],
  [120 * 2 ** 30, '120Gi'],
  [2 ** 30 - 1, '1Gi'],
  [1_649_267_441_664, '1.5Ti'],
  [2 ** 20 * 10.25, '10.3Mi'],
])('%d bytes are shown as %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

const at = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1000);
const ready = { type: 'Ready', status: 'True', reason: 'Fine', message: 'fine' } as const;

test('a condition remembers since when it is so', () => {
  const first = setCondition(undefined, ready, at(0));
  expect(first).toEqual([{ ...ready, lastTransitionTime: '2023-11-14T22:13:20Z' }]);
  const same = setCondition(first, { ...ready, message: 'still fine', observedGeneration: 3 }, at(60));
  expect(same[0]).toMatchObject({
    message: 'still fine',
    observedGeneration: 3,
    lastTransitionTime: '2023-11-14T22:13:20Z',
  });
  const changed = setCondition(same, { ...ready, status: 'False' }, at(90));
  expect(changed).toEqual([{ ...ready, status: 'False', lastTransitionTime: '2023-11-14T22:14:50Z' }]);
});

test('other conditions and their order stay, and what was given is not changed', () => {
  const before = setCondition(setCondition([], ready, at(0)), { ...ready, type: 'Full' }, at(1));
  const copy = structuredClone(before);
  const after = setCondition(before, { ...ready, status: 'Unknown' }, at(2));
  expect(after.map(({ type }) => type)).toEqual(['Ready', 'Full']);
  expect(before).toEqual(copy);
  expect([isTrue(after, 'Ready'), isTrue(after, 'Full'), isTrue(undefined, 'Ready')]).toEqual([false, true, false]);
  expect(findCondition(after, 'None')).toBeUndefined();
});
