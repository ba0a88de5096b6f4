import { describe, expect, test } from '@jest/globals';
import type { KubeObject } from '../../lib/api/index.ts';
import { fakeResource } from '../testing/fake-resource.ts';
import { claimOverrides, overridesOf } from './overrides.ts';

describe('annotations of a claim', () => {
  const of = (annotations: Record<string, string>, allow = 'legTimeout, replicas') =>
    overridesOf('ns/c', annotations, allow);

  test('set what the StorageClass lets them set', () => {
    const others = { 'volume.kubernetes.io/selected-node': 'n1', 'csi.holdfast.dev/x': 'y' };
    expect(of({ 'holdfast.dev/legTimeout': '1s', ...others })).toEqual({ legTimeout: '1s' });
    expect(of(others, '')).toEqual({});
  });

  test.each([
    [
      { 'holdfast.dev/provisioning': 'Thick' },
      'HF420: annotation holdfast.dev/provisioning of the claim ns/c: its StorageClass lets a claim set legTimeout, replicas (parameter allowOverride)',
    ],
    [
      { 'holdfast.dev/replicas': '9' },
      'annotation holdfast.dev/replicas of the claim ns/c: replicas is "9": expected a number',
    ],
    [{ 'holdfast.dev/legTimout': '1s' }, 'there is no parameter "legTimout"; the known ones are replicas'],
    [{ 'holdfast.dev/allowOverride': 'replicas' }, 'lets a claim set legTimeout, replicas'],
  ])('%j is refused', (annotations, message) => {
    expect(() => of(annotations as unknown as Record<string, string>)).toThrow(message);
  });

  test('nothing may be set where the StorageClass says nothing', () => {
    expect(() => of({ 'holdfast.dev/replicas': '3' }, '')).toThrow('lets a claim set none');
  });
});

describe('the claim', () => {
  const claims = fakeResource<KubeObject>();
  claims.put({ metadata: { name: 'data', uid: 'uid-1', annotations: { 'holdfast.dev/replicas': '3' } } });
  const parameters = {
    allowOverride: 'replicas',
    'csi.storage.k8s.io/pvc/name': 'data',
    'csi.storage.k8s.io/pvc/namespace': 'ns',
  };

  test('is the one for which the volume is', async () => {
    expect(await claimOverrides(() => claims, { name: 'pvc-uid-1', parameters })).toEqual({ replicas: '3' });
  });

  test('that is another one of the same name sets nothing, and no volume is made', async () => {
    const asked = claimOverrides(() => claims, { name: 'pvc-uid-0', parameters });
    await expect(asked).rejects.toMatchObject({
      status: 'FAILED_PRECONDITION',
      message: expect.stringContaining('the claim ns/data for which volume pvc-uid-0 was to be made is gone'),
    });
  });

  test('must be named where it may set something', async () => {
    const asked = claimOverrides(() => claims, { name: 'pvc-uid-1', parameters: { allowOverride: 'replicas' } });
    await expect(asked).rejects.toThrow('the provisioner needs --extra-create-metadata');
  });

  test('is not looked for when no claim asks', async () => {
    const nobody = () => ({ get: () => Promise.reject(new Error('read')) });
    expect(await claimOverrides(nobody, { name: 'x', parameters: {} })).toEqual({});
  });
});
