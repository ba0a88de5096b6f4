import { expect, test } from '@jest/globals';
import { createFakeClock } from '../fake-clock.ts';
import type { KubeConnection } from './connection.ts';
import { createEventRecorder, type EventRecorderOptions } from './events.ts';
import { KubeError } from './error.ts';
import { createFakeResource } from './fake-resource.ts';
import type { KubeEvent } from './kinds.ts';

function setUp(options: EventRecorderOptions = {}) {
  const clock = createFakeClock();
  const events = createFakeResource<KubeEvent>();
  const recorder = createEventRecorder({} as KubeConnection, 'operator', { clock, events: () => events, ...options });
  const shown = () => [...events.objects.values()].map(({ reason, count }) => `${reason} x${count}`);
  return { clock, events, recorder, shown };
}

const volume = { kind: 'ReplicatedVolume', apiVersion: 'holdfast.dev/v1alpha1', metadata: { name: 'v', uid: 'u' } };

test('repeats are counted, also those that come while the first is being written', async () => {
  const { recorder, events, shown } = setUp();
  const gate = Promise.withResolvers<void>();
  events.before = async () => await gate.promise;
  for (let i = 0; i < 50; i += 1) recorder.event(volume, 'Warning', 'Degraded', 'zone b is away');
  recorder.event(volume, 'Normal', 'Healed', 'fine');
  gate.resolve();
  await recorder.flush();
  expect(shown()).toEqual(['Degraded x50', 'Healed x1']);
  expect(events.requests.length).toBeLessThanOrEqual(3);
});

test('the same after a long time is a new event, as is another message', async () => {
  const { clock, recorder, shown } = setUp();
  recorder.event(volume, 'Normal', 'Healed', 'a');
  recorder.event(volume, 'Normal', 'Healed', 'b');
  await recorder.flush();
  await clock.advance(11 * 60_000);
  recorder.event(volume, 'Normal', 'Healed', 'a');
  await recorder.flush();
  expect(shown()).toEqual(['Healed x1', 'Healed x1', 'Healed x1']);
});

test('an event that the API server has dropped is made anew', async () => {
  const { recorder, events, shown } = setUp();
  recorder.event(volume, 'Normal', 'Healed', 'a');
  await recorder.flush();
  for (const name of events.objects.keys()) await events.delete(name);
  recorder.event(volume, 'Normal', 'Healed', 'a');
  await recorder.flush();
  expect(shown()).toEqual(['Healed x2']);
});

test('an API server that refuses harms nobody', async () => {
  const { recorder, events, shown } = setUp();
  events.before = () => {
    throw new KubeError(403, 'Forbidden', 'no');
  };
  recorder.event(volume, 'Normal', 'Healed', 'a');
  await recorder.flush();
  events.before = () => undefined;
  recorder.event(volume, 'Normal', 'Healed', 'a');
  await recorder.flush();
  expect(shown()).toEqual(['Healed x2']);
});

test('a flood while nothing can be written is bounded', async () => {
  const { recorder, events } = setUp({ maxWaiting: 10 });
  const gate = Promise.withResolvers<void>();
  events.before = async () => await gate.promise;
  for (let i = 0; i < 1000; i += 1) recorder.event(volume, 'Normal', 'Flood', `message ${i}`);
  gate.resolve();
  await recorder.flush();
  expect(events.objects.size).toBeLessThanOrEqual(11);
  expect([...events.objects.values()].at(-1)?.message).toBe('message 999');
});

test('a message that is too long for the API is cut', async () => {
  const { recorder, events } = setUp();
  recorder.event(volume, 'Normal', 'Long', 'x'.repeat(5000));
  await recorder.flush();
  expect([...events.objects.values()][0]?.message).toHaveLength(1024);
});
