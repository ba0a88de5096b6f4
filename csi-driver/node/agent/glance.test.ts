import { expect, test } from '@jest/globals';
import type { LegFacts } from './facts.ts';
import { KERNEL, stillCalm } from './glance.ts';
import { VolumeMemory } from './memory.ts';

const NQN = 'nqn.a';
const stat = { completed: 7, ioTimeMs: 3, writtenBytes: 4096, inFlight: 0 };

const leg = {
  nqn: NQN,
  controller: { name: 'nvme0', nqn: NQN, state: 'live' },
  namespace: { name: 'nvme0n1', nqn: NQN },
  valve: { name: 'hf-valve-a', device: 'dm-1' },
  member: { device: 'dm-1', state: new Set(['in_sync']), slot: 0 },
} as unknown as LegFacts;

/** A glance at a kernel where all is well but for what the case changes. */
function glance(changed: Partial<typeof KERNEL>, before: LegFacts = leg): boolean {
  const memory = new VolumeMemory();
  memory.learn({ replica: 'a', uid: 'u', nqn: NQN, address: '127.0.0.1', port: 4420 }, 0);
  const kernel = {
    arrayState: () => 'active',
    memberState: () => new Set(['in_sync']),
    controllerState: () => 'live',
    readBlockStat: () => stat,
    ...changed,
  };
  return stillCalm('md_hf_1', { legs: [before] }, memory, 100, kernel);
}

test('all as it was: calm', () => {
  expect(glance({})).toBe(true);
  expect(glance({ arrayState: () => 'clean' })).toBe(true);
});

const alarming: [string, Partial<typeof KERNEL>][] = [
  ['a write waits for the agent', { arrayState: () => 'write-pending' }],
  ['the array is gone', { arrayState: () => undefined }],
  ['md has failed the member', { memberState: () => new Set(['faulty', 'blocked']) }],
  ['md holds writes because of the member', { memberState: () => new Set(['in_sync', 'blocked']) }],
  ['the member is gone', { memberState: () => undefined }],
  ['the controller reconnects', { controllerState: () => 'connecting' }],
  ['the controller is gone', { controllerState: () => undefined }],
  ['the namespace is gone', { readBlockStat: () => undefined }],
  [
    'I/O waits in the valve with none below',
    { readBlockStat: (device: string) => (device === 'dm-1' ? { ...stat, inFlight: 2 } : stat) },
  ],
];

test.each(alarming)('%s: a full look', (_name, changed) => {
  expect(glance(changed)).toBe(false);
});

test('a leg without its parts was never calm', () => {
  expect(glance({}, { ...leg, member: undefined })).toBe(false);
});

test('I/O that stands still since the last look: a full look', () => {
  const memory = new VolumeMemory();
  memory.learn({ replica: 'a', uid: 'u', nqn: NQN, address: '127.0.0.1', port: 4420 }, 0);
  const kernel = {
    arrayState: () => 'active',
    memberState: () => new Set(['in_sync']),
    controllerState: () => 'live',
    readBlockStat: () => ({ ...stat, inFlight: 1 }),
  };
  expect(stillCalm('md_hf_1', { legs: [leg] }, memory, 100, kernel)).toBe(true);
  expect(stillCalm('md_hf_1', { legs: [leg] }, memory, 200, kernel)).toBe(false);
});
