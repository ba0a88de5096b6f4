import { describe, expect, test } from '@jest/globals';
import { badParameters, goodParameters } from '../testing/classes.ts';
import { parameterTable } from './parameter-table.ts';
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

  test.each(goodParameters)('%j is read', (parameters) => {
    expect(() => readParameters(parameters)).not.toThrow();
  });

  test.each(badParameters)('%j is refused with what would be right', (parameters, message) => {
    expect(() => readParameters(parameters)).toThrow(message);
  });

  // Or else the policy for StorageClasses would refuse what works.
  test.each(goodParameters)('%j has the forms that the table tells', (parameters) => {
    for (const { name, pattern } of parameterTable) {
      expect(parameters[name] ?? '').toMatch(new RegExp(`^(${pattern}|)$`));
    }
  });
});
