import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { loadAll } from 'js-yaml';
import { readParameters } from '../../csi-driver/controller/parameters.ts';
import { badParameters, goodParameters } from '../../csi-driver/testing/classes.ts';
import type { KubeObject } from '../../lib/api/index.ts';
import { resource, type ResourceKind } from '../../lib/kube/client.ts';
import { apply } from '../system/manifests.ts';
import { startTestApi, until, type TestApi } from './harness.ts';

jest.setTimeout(60_000);

interface StorageClass extends KubeObject {
  provisioner: string;
  parameters?: Readonly<Record<string, string>>;
  mountOptions?: readonly string[];
  volumeBindingMode?: string;
  allowedTopologies?: readonly object[];
}

const classKind: ResourceKind<StorageClass> = {
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'StorageClass',
  plural: 'storageclasses',
  namespaced: false,
};
const manifest = path.join(import.meta.dirname, '../../charts/holdfast/files/admission/classes.yaml');

let api: TestApi;
let serial = 0;

async function create(fields: Partial<StorageClass>): Promise<StorageClass> {
  const name = `class-${(serial += 1)}`;
  const whole = { metadata: { name }, provisioner: 'csi.holdfast.dev', volumeBindingMode: 'WaitForFirstConsumer' };
  return await resource(api.connection, classKind).create({ ...whole, ...fields });
}

beforeAll(async () => {
  api = await startTestApi();
  for (const object of loadAll(await readFile(manifest, 'utf8'))) await apply(api.connection, object as never);
  // The API server takes a policy up some time after it was made.
  await until('the policy is in force', async () =>
    create({ parameters: { replicas: '0' } }).then(
      () => false,
      () => true,
    ),
  );
}, 120_000);
afterAll(async () => {
  await api?.stop();
});

describe('a VolumeAttributesClass', () => {
  const attributesKind: ResourceKind<KubeObject> = {
    ...classKind,
    kind: 'VolumeAttributesClass',
    plural: 'volumeattributesclasses',
  };
  const of = async (
    parameters: Readonly<Record<string, string>>,
    driverName = 'csi.holdfast.dev',
  ): Promise<KubeObject> => {
    const metadata = { name: `class-${(serial += 1)}` };
    return await resource(api.connection, attributesKind).create({ metadata, driverName, parameters } as KubeObject);
  };

  test.each([[{ replicas: '3' }], [{ legTimeout: '1s', onSlowLeg: 'Drop after 30s' }]])(
    'with %j is accepted',
    async (parameters) => {
      await expect(of(parameters as unknown as Record<string, string>)).resolves.toBeDefined();
    },
  );

  test.each([
    [{ replicas: '9' }, 'replicas is "9": expected a number from 1 to 8'],
    [{ provisioning: 'Thick' }, 'unknown parameter "provisioning"; the known ones are replicas'],
    [{ 'csi.storage.k8s.io/fstype': 'xfs' }, 'unknown parameter'],
  ])('with %j is refused', async (parameters, says) => {
    await expect(of(parameters as unknown as Record<string, string>)).rejects.toThrow(says);
  });

  test('of another driver may say what it likes', async () => {
    await expect(of({ iops: '5' }, 'other.example')).resolves.toBeDefined();
  });
});

describe('a StorageClass', () => {
  test.each(goodParameters)('with parameters %j is accepted', async (parameters) => {
    await expect(create({ parameters })).resolves.toMatchObject({ provisioner: 'csi.holdfast.dev' });
  });

  test.each(badParameters.filter(([, , says]) => says !== undefined))(
    'with parameters %j is refused',
    async (parameters, _driverSays, says) => {
      await expect(create({ parameters })).rejects.toThrow(says);
    },
  );

  test('of the examples, and of the reference, is accepted', async () => {
    const root = path.join(import.meta.dirname, '../..');
    const examples = await readFile(path.join(root, 'charts/holdfast/examples/storage-classes.yaml'), 'utf8');
    const page = await readFile(path.join(root, 'docs/reference/storage-class.md'), 'utf8');
    const blocks = [...page.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map((match) => match[1] ?? '');
    const all = [examples, ...blocks].flatMap((text) => loadAll(text) as (StorageClass & { kind?: string })[]);
    const shown = all.filter((object) => object.kind === 'StorageClass');
    expect(shown.length).toBeGreaterThan(4);
    for (const object of shown) {
      await expect(resource(api.connection, classKind).create(object)).resolves.toBeDefined();
      expect(() => readParameters(object.parameters ?? {})).not.toThrow();
    }
  });

  test('of another driver may say what it likes', async () => {
    const other = create({ provisioner: 'other.example', parameters: { replicas: 'many' }, mountOptions: ['bind'] });
    await expect(other).resolves.toBeDefined();
  });

  test.each([
    [{ 'csi.storage.k8s.io/fstype': 'btrfs' }, 'expected ext4 or xfs'],
    [{ 'csi.storage.k8s.io/provisioner-secret-name': 'x' }, 'Holdfast uses no secrets'],
    [{ 'csi.storage.k8s.io/node-stage-secret-namespace': 'x' }, 'Holdfast uses no secrets'],
  ])("with the provisioner's %j is refused", async (parameters, says) => {
    await expect(create({ parameters })).rejects.toThrow(says);
  });

  test('with accessFrom needs to know for which node a volume is', async () => {
    const parameters = { accessFrom: 'zone' };
    const immediate = { parameters, volumeBindingMode: 'Immediate' };
    await expect(create(immediate)).rejects.toThrow('accessFrom needs volumeBindingMode: WaitForFirstConsumer');
    const allowedTopologies = [{ matchLabelExpressions: [{ key: 'zone', values: ['a'] }] }];
    await expect(create({ ...immediate, allowedTopologies })).resolves.toBeDefined();
  });

  test.each([[['noatime', 'commit=30', 'context="system_u:object_r:x:s0:c1,c2"']], [[]]])(
    'with mount options %j is accepted',
    async (mountOptions) => {
      await expect(create({ mountOptions })).resolves.toBeDefined();
    },
  );

  test.each([
    [['noatime', 'barrier=0'], 'what an application has flushed could be lost with the power'],
    [['norecovery'], 'the journal must be replayed'],
    [['bind'], 'no option of a filesystem'],
    [['rshared'], 'propagation'],
    [['noatime,bind'], 'expected one option each'],
  ])('with mount options %j is refused', async (mountOptions, says) => {
    await expect(create({ mountOptions })).rejects.toThrow(says);
  });
});
