import { expect, test } from '@jest/globals';
import { uncovered } from './start-stop.ts';

// Given a leg that left within this epoch, when the array is started anew from another one, then md takes the bits in front
// of that one for clean: a resync by bitmap would leave the first without writes that were acknowledged.
test('a start ends what the bitmap knew of legs that had left', () => {
  const entry = { epoch: 1, at: '2026-01-01T00:00:00Z', reason: 'no answer', bootId: 'boot', nqn: 'nqn-a' };
  expect(uncovered({ 'v-a': entry })).toEqual({ 'v-a': { ...entry, bootId: null, nqn: null } });
});
