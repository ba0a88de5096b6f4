import { expect, test } from '@jest/globals';
import { isVolumeName } from '../validation.ts';
import { volumeNameFor } from './names.ts';

test('a name that Kubernetes takes stays as it is', () => {
  expect(volumeNameFor('pvc-0b5c1c7e-7c8e-4b39-9d9c-2f1d3d2b7a51')).toBe('pvc-0b5c1c7e-7c8e-4b39-9d9c-2f1d3d2b7a51');
});

test.each(['Data Base', 'x'.repeat(128), 'ÄÖÜ', '../../etc', '-', '', 'a..b', 'a_b', `v-h${'0'.repeat(12)}`])(
  '%j becomes a valid name',
  (name) => {
    const volume = volumeNameFor(name);
    expect(isVolumeName(volume)).toBe(true);
    expect(volume.length).toBeLessThanOrEqual(63);
    expect(volume).not.toBe(name);
  },
);

test('different names never become the same volume', () => {
  const names = ['Data Base', 'data base', 'data-base', 'data_base', 'data.base', 'x'.repeat(127), 'x'.repeat(128)];
  const volumes = new Set(names.map(volumeNameFor));
  expect(volumes.size).toBe(names.length);
  // Not even a name that was chosen to be another one's.
  expect(volumeNameFor(volumeNameFor('Data Base'))).not.toBe(volumeNameFor('Data Base'));
});
