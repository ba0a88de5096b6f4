import { expect, test } from '@jest/globals';
import { GetCapacityRequest, type DeepPartial } from '../generated/csi.ts';
import { blockCapability, fakeCluster, mountCapability } from '../testing/fake-controller.ts';
import { getCapacity } from './room.ts';

const GIB = 2n ** 30n;
const HEADER = 4n * 2n ** 20n;
// Three storage nodes in three zones, of 100 GiB each.
const ask = (request: DeepPartial<GetCapacityRequest>) =>
  getCapacity(fakeCluster(), GetCapacityRequest.fromPartial(request));

test('the largest volume is what the operator would place', () => {
  expect(ask({ parameters: { provisioning: 'Thick' } })).toEqual({
    availableCapacity: 150n * GIB,
    maximumVolumeSize: 100n * GIB - HEADER,
    minimumVolumeSize: 2n ** 20n,
  });
  expect(ask({})).toMatchObject({ availableCapacity: 1500n * GIB, maximumVolumeSize: 1000n * GIB - HEADER });
});

test('there is none where the placement finds no nodes', () => {
  const none = { availableCapacity: 0n, maximumVolumeSize: 0n };
  expect(ask({ parameters: { replicas: '4', placement: 'distinct(zone)' } })).toMatchObject(none);
  expect(ask({ parameters: { placement: 'in(media, tape)' } })).toMatchObject(none);
});

test('the smallest volume is the smallest filesystem', () => {
  const least = (...volumeCapabilities: ReturnType<typeof blockCapability>[]) =>
    ask({ volumeCapabilities }).minimumVolumeSize;
  expect(least(blockCapability())).toBe(2n ** 20n);
  expect(least(mountCapability('ext4'))).toBe(2n * 2n ** 20n);
  expect(least(mountCapability('xfs'))).toBe(300n * 2n ** 20n);
});

test('wrong parameters are refused here as well', () => {
  expect(() => ask({ parameters: { replicas: '9' } })).toThrow('replicas is "9"');
});
