import { expect, test } from '@jest/globals';
import type { VolumeConnection } from '../../../lib/api/index.ts';
import type { ConnectionFacts } from './facts.ts';
import { VolumeMemory } from './memory.ts';
import type { AgentPorts } from './ports.ts';
import { connectionStatus } from './status.ts';

const connection = { metadata: { name: 'v.c1' }, spec: { volume: 'v', epoch: 4, raidDisks: 2, legs: [] } };
const ports = { bootId: 'boot', clock: { now: () => 0 } } as unknown as AgentPorts;

function status(grant: ConnectionFacts['grant']): object {
  const facts = { grant, linked: true, array: { state: 'active' }, legs: [] } as unknown as ConnectionFacts;
  const plan = { actions: [], phase: 'Fenced', message: '' } as const;
  return connectionStatus(connection as unknown as VolumeConnection, facts, plan, new VolumeMemory(), ports);
}

test('an array of this epoch is offered', () => {
  expect(status('Ours')).toMatchObject({ epoch: 4, devicePath: '/dev/holdfast/v' });
});

// Given the array of an earlier epoch that is still being taken away, when its status named the present epoch, then the next
// look took that for the word of whoever started it, and the old array for its own.
test('an array of an earlier epoch is not said to be of this one', () => {
  expect(status('Lost')).not.toHaveProperty('epoch');
  expect(status('Lost')).not.toHaveProperty('devicePath');
});
