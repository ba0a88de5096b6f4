import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { badParameters, goodParameters } from '../testing/classes.ts';
import { parameterNamed, parameterTable } from './parameter-table.ts';
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

describe('the form of a placement', () => {
  const page = readFileSync(new URL('../../docs/reference/placement.md', import.meta.url), 'utf8');
  const blocks = (kind: string): readonly string[] =>
    [...page.matchAll(/^```(\S+)\n([\s\S]*?)^```$/gm)]
      .filter((match) => match[1] === kind)
      .map((match) => match[2] ?? '');
  const form = new RegExp(`^(${parameterNamed('placement')?.pattern ?? ''})$`);

  test.each(blocks('placement').flatMap((block) => block.trimEnd().split('\n')))('is that of %s', (example) => {
    expect(example).toMatch(form);
  });

  test.each(blocks('placement-error').map((block) => (block.split('\n')[1] ?? '').slice(2)))(
    'is not that of %s',
    (wrong) => {
      expect(wrong).not.toMatch(form);
    },
  );
});
