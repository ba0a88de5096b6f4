import { describe, expect, test } from '@jest/globals';
import type { KubeObject } from '../../lib/api/index.ts';
import { compile } from './cel.ts';
import { rulesOf } from './rules.ts';

test.each([
  ['self >= oldSelf', 2, 1, true],
  ['self % 4 == 0', 6, undefined, false],
  ["oldSelf.state != 'Orphan' || self.state == 'Orphan'", { state: 'Active' }, { state: 'Orphan' }, false],
  [
    'has(self.a) == has(oldSelf.a) && (!has(self.a) || self.a == oldSelf.a)',
    { a: [1, { b: 2 }] },
    { a: [1, { b: 2 }] },
    true,
  ],
  ['has(self.a.b)', { a: {} }, undefined, false],
  ['size(self) <= 2', 'abc', undefined, false],
  ['self in ["Ready", \'Deleting\']', 'Deleting', undefined, true],
  ['self.index in [1, 2]', { index: 3 }, undefined, false],
  ['!(self.a > 1 && self.b < 3)', { a: 2, b: 3 }, undefined, true],
])('%s of %j after %j: %s', (rule, self, oldSelf, holds) => {
  expect(compile(rule)(self, oldSelf)).toBe(holds);
});

test('a field that is not there is an error, as the API server has it', () => {
  expect(() => compile('self.a.b > 1')({}, {})).toThrow('no such key: a');
});

test.each(['self.all(x, x > 1)', 'size(self', 'self ?: 1', 'matches(self)', 'self > 1 1'])(
  '%s is refused, as it is not known',
  (rule) => {
    expect(() => compile(rule)).toThrow(SyntaxError);
  },
);

describe('a ReplicatedVolume', () => {
  const volume = (status: object, spec: object = {}): KubeObject =>
    ({
      metadata: { name: 'pg' },
      spec: { capacityBytes: 1048576, provisioning: 'Thin', ...spec },
      status,
    }) as KubeObject;
  const check = (before: KubeObject | undefined, after: KubeObject): void =>
    rulesOf('ReplicatedVolume')?.(before, after);
  const before = volume({ inSync: ['a', 'b'], recordGeneration: 3, lineage: 1, attachment: { epoch: 4 } });

  test('may change its in-sync set with a new record', () => {
    const after = volume({ inSync: ['a'], recordGeneration: 4, lineage: 1, attachment: { epoch: 4 } });
    expect(() => check(before, after)).not.toThrow();
  });

  test.each([
    [
      'another in-sync set under the same number',
      { inSync: ['a'], recordGeneration: 3, lineage: 1, attachment: { epoch: 4 } },
    ],
    ['a record of before', { inSync: ['a', 'b'], recordGeneration: 2, lineage: 1, attachment: { epoch: 4 } }],
    ['an epoch of before', { inSync: ['a', 'b'], recordGeneration: 3, lineage: 1, attachment: { epoch: 3 } }],
    ['no attachment', { inSync: ['a', 'b'], recordGeneration: 3, lineage: 1 }],
    ['an in-sync set that becomes empty', { inSync: [], recordGeneration: 4, lineage: 1, attachment: { epoch: 4 } }],
  ])('is refused with %s', (_, status) => {
    expect(() => check(before, volume(status))).toThrow(expect.objectContaining({ status: 422 }));
  });
});

test('every rule of our CRDs is known', () => {
  const kinds = ['ReplicatedVolume', 'VolumeReplica', 'VolumeConnection', 'StorageNode'];
  for (const kind of kinds) expect(rulesOf(kind)).toBeDefined();
});
