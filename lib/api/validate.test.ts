import { expect, test } from '@jest/globals';
import { assertValid, formatFieldError, validate, type KindName } from './validate.ts';

const volume = (spec: object) => ({ metadata: { name: 'v' }, spec: { capacityBytes: 1048576, ...spec } });

test('defaults are added to a copy', () => {
  const given = volume({ placement: { goals: [{ spread: { resource: 'capacity' } }] } });
  const result = validate('ReplicatedVolume', given);
  expect(result).toMatchObject({
    valid: true,
    object: {
      spec: {
        replicas: 2,
        provisioning: 'Thin',
        attachTo: '',
        healing: { replicaTimeout: '10m', legTimeout: '3s', paused: false },
        placement: { constraints: [], goals: [{ weight: 10, spread: { resource: 'capacity' } }] },
      },
    },
  });
  expect(given.spec).not.toHaveProperty('replicas');
});

const cases: readonly [kind: KindName, object: unknown, message: string][] = [
  ['ReplicatedVolume', volume({ capacityBytes: 0 }), 'spec.capacityBytes: 0 is wrong: it is at least 1048576'],
  ['ReplicatedVolume', volume({ replicas: 99 }), 'spec.replicas: 99 is wrong: it is at most 8'],
  ['ReplicatedVolume', volume({ replicas: 1.5 }), 'spec.replicas: 1.5 is wrong: it is of type integer'],
  ['ReplicatedVolume', volume({ provisioning: 'Fat' }), 'spec.provisioning: "Fat" is wrong: it is one of Thin, Thick'],
  [
    'ReplicatedVolume',
    volume({ healing: { timeout: '3s' } }),
    'spec.healing.timeout: "3s" is wrong: there is no such field; there are replicaTimeout, legTimeout, onControlPlaneLoss, onSlowLeg, paused',
  ],
  [
    'ReplicatedVolume',
    volume({ healing: { legTimeout: 'soon' } }),
    'spec.healing.legTimeout: "soon" is wrong: it matches',
  ],
  [
    'ReplicatedVolume',
    volume({ placement: { constraints: [{ in: { label: 'media', values: [] } }] } }),
    'spec.placement.constraints[0].in.values: [] is wrong: it has at least 1 items',
  ],
  ['ReplicatedVolume', { metadata: { name: 'v' } }, 'spec: nothing is wrong: it is required'],
  ['ReplicatedVolume', { spec: { capacityBytes: 1048576 } }, 'metadata: nothing is wrong: it is required'],
  [
    'ReplicatedVolume',
    { ...volume({}), metadata: { name: 'Not_A_Name' } },
    'metadata.name: "Not_A_Name" is wrong: it matches',
  ],
  ['ReplicatedVolume', 7, 'the object: 7 is wrong: it is of type object'],
  ['ReplicatedVolume', null, 'the object: null is wrong: it is of type object'],
  [
    'StorageNode',
    { metadata: { name: 'n' }, spec: { addresses: [{ ip: '10.0.0.1', port: 0 }], pools: [{ name: 'p' }] } },
    'spec.addresses[0].port: 0 is wrong: it is at least 1',
  ],
  [
    'VolumeReplica',
    { metadata: { name: 'r' }, spec: {}, status: { conditions: [{ type: 'A', lastTransitionTime: 'noon' }] } },
    'status.conditions[0].lastTransitionTime: "noon" is wrong: it is a time such as 2026-01-31T12:00:00Z',
  ],
];

test.each(cases)('%s: what is wrong is told with its value and what would be right', (kind, object, message) => {
  const result = validate(kind, object);
  expect(result.errors.map(formatFieldError)).toContainEqual(expect.stringContaining(message));
  expect(() => assertValid(kind, object)).toThrow(/^HF001: /);
});

test('all that is wrong is told at once', () => {
  expect(validate('ReplicatedVolume', volume({ replicas: 0, capacityBytes: 0 })).errors).toHaveLength(2);
});

test('long values are shortened', () => {
  const shown = formatFieldError({ field: 'f', value: 'x'.repeat(500), expected: 'e' });
  expect(shown.length).toBeLessThan(150);
});
