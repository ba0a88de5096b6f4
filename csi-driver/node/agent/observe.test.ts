import { describe, expect, test } from '@jest/globals';
import type { VolumeConnection } from '../../../lib/api/index.ts';
import { startedUnder } from './observe.ts';

const connection = (epoch: number, status?: object): Pick<VolumeConnection, 'spec' | 'status'> =>
  ({ spec: { epoch }, ...(status ? { status } : {}) }) as Pick<VolumeConnection, 'spec' | 'status'>;

/** Given a running array, whether it belongs to the epoch that the connection is for. */
describe('a running array', () => {
  test('is ours when this process started it under this epoch', () => {
    expect(startedUnder(connection(7), { startedEpoch: 7 }, 'boot')).toBe(true);
  });

  test('is ours when our predecessor in this boot reported it under this epoch', () => {
    expect(startedUnder(connection(7, { epoch: 7, bootId: 'boot' }), { startedEpoch: undefined }, 'boot')).toBe(true);
  });

  // Given c1 had the volume, then c2, then c1 again, when c1's array of the first time still runs, then it must go.
  test('is not ours when it was started under an earlier epoch', () => {
    expect(startedUnder(connection(9, { epoch: 7, bootId: 'boot' }), { startedEpoch: undefined }, 'boot')).toBe(false);
    expect(startedUnder(connection(9), { startedEpoch: 7 }, 'boot')).toBe(false);
  });

  test('is not ours when nobody reported it: it had no user yet', () => {
    expect(startedUnder(connection(9), { startedEpoch: undefined }, 'boot')).toBe(false);
    expect(startedUnder(connection(9, { epoch: 9, bootId: 'another' }), { startedEpoch: undefined }, 'boot')).toBe(
      false,
    );
  });
});
