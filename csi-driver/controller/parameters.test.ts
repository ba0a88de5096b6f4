import { describe, expect, test } from '@jest/globals';
import { readParameters } from './parameters.ts';

describe('readParameters', () => {
  test('reads every parameter and passes over those of the provisioner', () => {
    const spec = readParameters({
      replicas: '3',
      placement: 'distinct(zone); prefer(50) near(client)',
      replicaTimeout: '1m30s',
      legTimeout: '250ms',
      onControlPlaneLoss: 'Continue after 30s',
      onSlowLeg: 'Drop after 1m',
      provisioning: 'Thick',
      'csi.storage.k8s.io/fstype': 'xfs',
    });
    expect(spec).toEqual({
      replicas: 3,
      placement: { constraints: [{ distinct: { label: 'zone' } }], goals: [{ weight: 50, near: {} }] },
      healing: {
        replicaTimeout: '1m30s',
        legTimeout: '250ms',
        onControlPlaneLoss: 'Continue after 30s',
        onSlowLeg: 'Drop after 1m',
      },
      provisioning: 'Thick',
    });
  });

  test('leaves what is not given to the defaults of the API', () => {
    expect(readParameters({})).toEqual({});
  });

  test.each([
    [{ replicas: '0' }, 'replicas is "0": expected a number from 1 to 8'],
    [{ replicas: '9' }, 'from 1 to 8'],
    [{ replicas: 'two' }, 'replicas is "two"'],
    [{ replicas: '2.5' }, 'replicas is "2.5"'],
    [{ replicaTimeout: '10 minutes' }, 'replicaTimeout is "10 minutes": expected a duration such as 3s'],
    [{ legTimeout: '0s' }, 'legTimeout is "0s": expected more than 0'],
    [{ onControlPlaneLoss: 'Continue' }, 'onControlPlaneLoss is "Continue": expected "Wait" or, for example'],
    [{ onSlowLeg: 'Drop after x' }, 'onSlowLeg: "x" is not a duration'],
    [{ provisioning: 'thin' }, 'provisioning is "thin": expected Thin or Thick'],
    [{ placement: 'distinct(zone' }, 'placement, column 14'],
    [{ placement: 'distnct(zone)' }, 'did you mean distinct?'],
    [
      { fsType: 'ext4' },
      'unknown parameter "fsType"; the known ones are replicas, placement, replicaTimeout, legTimeout, onControlPlaneLoss, onSlowLeg, provisioning',
    ],
  ])('%j is refused with what would be right', (parameters, message) => {
    expect(() => readParameters(parameters as unknown as Record<string, string>)).toThrow(message);
  });
});
