import { expect, test } from '@jest/globals';
import type { Lease } from './kinds.ts';
import { LeaseTracker } from './lease-tracker.ts';

const lease = (name: string, beat: number, seconds = 10): Lease => ({
  metadata: { name, uid: name },
  spec: { holderIdentity: name, renewTime: `beat ${beat}`, leaseDurationSeconds: seconds },
});

test('a lease that nobody has seen is not fresh', () => {
  const tracker = new LeaseTracker();
  expect([tracker.isFresh('a', 0), tracker.lastSeenMs('a'), tracker.staleAtMs('a')]).toEqual([
    false,
    undefined,
    undefined,
  ]);
});

test('a lease is fresh for its duration since it was seen to change, whatever time is written in it', () => {
  const tracker = new LeaseTracker();
  tracker.observe(lease('a', 1), 1000);
  expect(tracker.staleAtMs('a')).toBe(11_000);
  expect([tracker.isFresh('a', 10_999), tracker.isFresh('a', 11_000)]).toEqual([true, false]);
  tracker.observe(lease('a', 2), 12_000);
  expect([tracker.isFresh('a', 12_000), tracker.lastSeenMs('a')]).toEqual([true, 12_000]);
});

test('the same state again, as a relist or resync tells it, is no renewal', () => {
  const tracker = new LeaseTracker();
  tracker.observe(lease('a', 1), 1000);
  tracker.observe(lease('a', 1), 9000);
  expect(tracker.isFresh('a', 11_000)).toBe(false);
});

test('a lease that was made anew is a sign of life; a deleted one is not', () => {
  const tracker = new LeaseTracker();
  tracker.observe(lease('a', 1), 1000);
  tracker.observe({ ...lease('a', 1), metadata: { name: 'a', uid: 'other' } }, 9000);
  expect(tracker.isFresh('a', 11_000)).toBe(true);
  tracker.forget('a');
  expect(tracker.isFresh('a', 11_000)).toBe(false);
});

test('its own duration counts', () => {
  const tracker = new LeaseTracker();
  tracker.observe(lease('a', 1, 40), 0);
  expect([tracker.isFresh('a', 39_000), tracker.isFresh('a', 40_000)]).toEqual([true, false]);
});

test('Given a witness, When the observer is cut off, Then nobody grows stale in its eyes', () => {
  const tracker = new LeaseTracker({ witness: 'me' });
  tracker.observe(lease('me', 1), 0);
  tracker.observe(lease('a', 1), 0);
  // For a minute nothing comes through, not even our own renewals.
  expect(tracker.isFresh('a', 60_000)).toBe(true);
  // Our own renewal comes through first: what the others did meanwhile may be just behind it.
  tracker.observe(lease('me', 2), 60_000);
  expect(tracker.isFresh('a', 60_001)).toBe(true);
  // Still nothing of the other, while our own come through: it is really away.
  tracker.observe(lease('me', 3), 63_000);
  expect(tracker.isFresh('a', 63_000)).toBe(true);
  for (const ms of [66_000, 69_000, 72_000]) tracker.observe(lease('me', ms), ms);
  expect(tracker.isFresh('a', 72_000)).toBe(false);
});

test('Given a witness that was never seen, Then nobody known is stale', () => {
  const tracker = new LeaseTracker({ witness: 'me' });
  tracker.observe(lease('a', 1), 0);
  expect([tracker.isFresh('a', 60_000), tracker.isFresh('b', 60_000)]).toEqual([true, false]);
});
