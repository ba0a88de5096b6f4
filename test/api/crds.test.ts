import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { KubeObject } from '../../lib/api/index.ts';
import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import { validate } from '../../lib/api/validate.ts';
import { kinds, KubeError, resource, type Resource } from '../../lib/kube/client.ts';
import { newConnection, newNode, newReplica, newVolume, startTestApi, type TestApi } from './harness.ts';

const MIB = 1024 * 1024;
// A real API server takes its time when it starts anew.
jest.setTimeout(60_000);

let api: TestApi;
let serial = 0;

beforeAll(async () => {
  api = await startTestApi();
}, 120_000);
afterAll(async () => {
  await api?.stop();
});

const volumes = () => resource(api.connection, kinds.replicatedVolumes);
const replicas = () => resource(api.connection, kinds.volumeReplicas);
const connections = () => resource(api.connection, kinds.volumeConnections);
const nodes = () => resource(api.connection, kinds.storageNodes);
const fresh = (prefix: string) => `${prefix}-${(serial += 1)}`;

/** The API server's refusal of a change, which names the rule. */
async function refusal(change: Promise<unknown>): Promise<string> {
  const error = await change.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof KubeError)) throw new Error(`expected a refusal, found ${String(error)}`);
  expect(error.isInvalid).toBe(true);
  return error.message;
}

async function newOf<T extends KubeObject>(all: Resource<T>, object: T): Promise<T> {
  return await all.create(object);
}

describe('defaults', () => {
  test('are the same from the API server and from our own validation', async () => {
    const volume = newVolume(fresh('rv'), { placement: { goals: [{ distinct: { label: 'rack' } } as object] } });
    const stored = await newOf(volumes(), volume);
    expect(stored.spec).toEqual({
      capacityBytes: 64 * MIB,
      replicas: 2,
      placement: { constraints: [], goals: [{ weight: 10, distinct: { label: 'rack' } }] },
      healing: { replicaTimeout: '10m', legTimeout: '3s', ...DEFAULT_STALL_POLICY, paused: false },
      provisioning: 'Thin',
      attachTo: '',
    });
    expect(validate('ReplicatedVolume', volume)).toMatchObject({ valid: true, object: { spec: stored.spec } });

    const replica = newReplica(fresh('vr'));
    expect(validate('VolumeReplica', replica)).toMatchObject({
      valid: true,
      object: { spec: (await newOf(replicas(), replica)).spec },
    });
    const node = newNode(fresh('sn'));
    expect(validate('StorageNode', node)).toMatchObject({
      valid: true,
      object: { spec: (await newOf(nodes(), node)).spec },
    });
  });

  test('of the attachment record are filled in', async () => {
    const { metadata } = await newOf(volumes(), newVolume(fresh('rv')));
    const updated = await volumes().patch(
      metadata.name,
      { status: { attachment: { epoch: 0 } } },
      { subresource: 'status' },
    );
    expect(updated.status?.attachment).toEqual({ node: '', hostNqn: '', epoch: 0, clean: true });
  });
});

describe('what is not valid is refused, by the API server and by our own validation', () => {
  const bad: readonly [what: string, object: object, field: string][] = [
    ['a size of 0', { capacityBytes: 0 }, 'spec.capacityBytes'],
    ['no replicas', { replicas: 0 }, 'spec.replicas'],
    ['nine replicas', { replicas: 9 }, 'spec.replicas'],
    ['a number as text', { replicas: '2' }, 'spec.replicas'],
    ['a duration without unit', { healing: { legTimeout: '3' } }, 'spec.healing.legTimeout'],
    ['an unknown provisioning', { provisioning: 'thin' }, 'spec.provisioning'],
    [
      'a constraint of two rules',
      { placement: { constraints: [{ distinct: { label: 'a' }, same: { label: 'a' } }] } },
      'spec.placement.constraints[0]',
    ],
    ['an unknown field', { replica: 2 }, 'spec.replica'],
  ];
  test.each(bad)('%s', async (_what, spec, field) => {
    const volume = newVolume(fresh('bad'), spec);
    const own = validate('ReplicatedVolume', volume);
    expect(own.errors.map((error) => error.field)).toContain(field);
    await expect(volumes().create(volume)).rejects.toThrow(field);
  });

  test('a storage node without a pool, or with a wrong port', async () => {
    expect(await refusal(nodes().create(newNode(fresh('sn'), { pools: [] })))).toContain('spec.pools');
    const wrongPort = newNode(fresh('sn'), { addresses: [{ ip: '10.0.0.1', port: 70_000 }] });
    expect(await refusal(nodes().create(wrongPort))).toContain('spec.addresses[0].port');
  });
});

describe('rules of a ReplicatedVolume', () => {
  test('its name has at most 63 characters, as a label has', async () => {
    await volumes().create(newVolume('a'.repeat(63)));
    expect(await refusal(volumes().create(newVolume('a'.repeat(64))))).toContain('at most 63 characters');
  });

  test('its size only grows, in whole MiB', async () => {
    const { metadata } = await volumes().create(newVolume(fresh('rv')));
    const size = async (capacityBytes: number) => await volumes().patch(metadata.name, { spec: { capacityBytes } });
    expect((await size(65 * MIB)).spec.capacityBytes).toBe(65 * MIB);
    expect(await refusal(size(64 * MIB))).toContain('capacityBytes only grows; a volume is never made smaller');
    expect(await refusal(size(66 * MIB + 1))).toContain('a multiple of 1048576 (1 MiB)');
  });

  test('its provisioning stays', async () => {
    const { metadata } = await volumes().create(newVolume(fresh('rv')));
    const change = volumes().patch(metadata.name, { spec: { provisioning: 'Thick' } });
    expect(await refusal(change)).toContain("provisioning can't be changed");
  });

  test('the attachment epoch never falls, and the record is never removed', async () => {
    const { metadata } = await volumes().create(newVolume(fresh('rv')));
    const attach = async (attachment: object | null) =>
      await volumes().patch(metadata.name, { status: { attachment } }, { subresource: 'status' });
    await attach({ node: 'c1', epoch: 4 });
    await attach({ node: 'c2', epoch: 5 });
    expect(await refusal(attach({ node: 'c1', epoch: 4 }))).toContain('the attachment epoch never falls');
    expect(await refusal(attach(null))).toContain('the attachment record is never removed');
  });

  test('the last in-sync replica is never removed from the record', async () => {
    const { metadata } = await volumes().create(newVolume(fresh('rv')));
    const record = async (inSync: readonly string[] | null) =>
      await volumes().patch(metadata.name, { status: { inSync } }, { subresource: 'status' });
    await record(['a', 'b']);
    await record(['b']);
    await record(['a']);
    expect(await refusal(record([]))).toContain('the last in-sync replica is never removed');
    expect(await refusal(record(null))).toContain('the last in-sync replica is never removed');
    expect(await refusal(record(['a', 'a']))).toContain('Duplicate');
  });

  test('the record does not go with the status as a whole', async () => {
    const { metadata } = await volumes().create(newVolume(fresh('rv')));
    const write = async (status: object | null) =>
      await volumes().patch(metadata.name, { status }, { subresource: 'status' });
    await write({ attachment: { node: 'c1', epoch: 4 }, inSync: ['a'] });
    const message = await refusal(write(null));
    expect(message).toContain('the attachment record is never removed');
    expect(message).toContain('the last in-sync replica is never removed');
  });

  test('spec and status are written apart', async () => {
    const volume = newVolume(fresh('rv'));
    const { metadata, status } = await volumes().create({ ...volume, status: { phase: 'Healthy' } });
    expect(status).toBeUndefined();
    const patched = await volumes().patch(
      metadata.name,
      { spec: { replicas: 3 }, status: { phase: 'Healthy' } },
      { subresource: 'status' },
    );
    expect([patched.spec.replicas, patched.status?.phase]).toEqual([2, 'Healthy']);
  });
});

describe('rules of a VolumeReplica', () => {
  test('its place stays', async () => {
    const { metadata } = await replicas().create(newReplica(fresh('vr')));
    for (const change of [{ volume: 'w' }, { volumeUid: 'w' }, { storageNode: 'n2' }, { pool: 'slow' }]) {
      const refused = replicas().patch(metadata.name, { spec: change });
      expect(await refusal(refused)).toContain("volume, volumeUid, storageNode and pool can't be changed");
    }
  });

  test('the epoch never falls, and another host needs a higher one', async () => {
    const { metadata } = await replicas().create(newReplica(fresh('vr')));
    const spec = async (change: object) => await replicas().patch(metadata.name, { spec: change });
    await spec({ epoch: 1, hostNqn: 'nqn.a' });
    await spec({ epoch: 1, hostNqn: 'nqn.a', sizeBytes: 65 * MIB });
    expect(await refusal(spec({ hostNqn: 'nqn.b' }))).toContain('another host needs a higher epoch');
    expect(await refusal(spec({ epoch: 0 }))).toContain('the epoch never falls');
    expect((await spec({ epoch: 2, hostNqn: '' })).spec.epoch).toBe(2);
  });

  test('drain never falls', async () => {
    const { metadata } = await replicas().create(newReplica(fresh('vr')));
    const spec = async (change: object) => await replicas().patch(metadata.name, { spec: change });
    expect(metadata && (await replicas().get(metadata.name))?.spec.drain).toBe(0);
    await spec({ drain: 2 });
    expect(await refusal(spec({ drain: 1 }))).toContain('drain never falls');
    expect(await refusal(spec({ drain: null }))).toContain('drain never falls');
    expect((await spec({ drain: 3, epoch: 1 })).spec.drain).toBe(3);
  });

  test('an orphan never becomes active again, and the size only grows', async () => {
    const { metadata } = await replicas().create(newReplica(fresh('vr')));
    const spec = async (change: object) => await replicas().patch(metadata.name, { spec: change });
    expect(await refusal(spec({ sizeBytes: 63 * MIB }))).toContain('sizeBytes only grows');
    await spec({ state: 'Orphan' });
    expect(await refusal(spec({ state: 'Active' }))).toContain('an orphan never becomes active again');
  });
});

const node = (pool: object) => newNode(fresh('sn'), { pools: [{ name: 'p', ...pool }] });

describe('rules of a VolumeConnection and a StorageNode', () => {
  test('a connection keeps its volume and node, and its epoch never falls', async () => {
    const { metadata } = await connections().create(newConnection(fresh('vc'), { epoch: 3 }));
    const spec = async (change: object) => await connections().patch(metadata.name, { spec: change });
    for (const change of [{ volume: 'w' }, { volumeUid: 'w' }, { node: 'c2' }]) {
      expect(await refusal(spec(change))).toContain("volume, volumeUid and node can't be changed");
    }
    expect(await refusal(spec({ epoch: 2 }))).toContain('the epoch never falls');
    expect((await spec({ epoch: 4 })).spec.epoch).toBe(4);
  });

  test('what a client asks to be drained never falls, while the leg is listed', async () => {
    const { metadata } = await connections().create(newConnection(fresh('vc'), { epoch: 3 }));
    const legs = async (...legs: object[]) =>
      await connections().patch(metadata.name, { status: { legs } }, { subresource: 'status' });
    await legs({ replica: 'v-r0', state: 'InSync' }, { replica: 'v-r1', state: 'Connecting', drain: 2 });
    const before = { replica: 'v-r1', state: 'Connecting' };
    expect(await refusal(legs({ ...before, drain: 1 }))).toContain('drain never falls');
    expect(await refusal(legs(before))).toContain('drain never falls');
    await legs({ ...before, drain: 3 });
  });

  test('a pool has either devices or a volume group', async () => {
    await nodes().create(node({ devices: ['/dev/vdb'] }));
    await nodes().create(node({ volumeGroup: 'vg0' }));
    expect(await refusal(nodes().create(node({})))).toContain('give either devices');
    const both = node({ volumeGroup: 'vg0', devices: ['/dev/vdb'] });
    expect(await refusal(nodes().create(both))).toContain('not both');
  });
});

const names = async (all: Resource<KubeObject>, fieldSelector: string) =>
  (await all.list({ fieldSelector })).items.map(({ metadata }) => metadata.name);

describe('finding and showing', () => {
  test('objects are selected by node, by volume and by attachment', async () => {
    await replicas().create(newReplica('sel-a', { storageNode: 'sel-n1', volume: 'sel-v' }));
    await replicas().create(newReplica('sel-b', { storageNode: 'sel-n2', volume: 'sel-v' }));
    await connections().create(newConnection('sel-c', { node: 'sel-c1', volume: 'sel-v' }));
    expect(await names(replicas() as Resource<KubeObject>, 'spec.storageNode=sel-n1')).toEqual(['sel-a']);
    expect(await names(replicas() as Resource<KubeObject>, 'spec.volume=sel-v')).toEqual(['sel-a', 'sel-b']);
    expect(await names(connections() as Resource<KubeObject>, 'spec.node=sel-c1')).toEqual(['sel-c']);
    await volumes().create(newVolume('sel-rv'));
    await volumes().patch(
      'sel-rv',
      { status: { attachment: { node: 'sel-c1', epoch: 1 } } },
      { subresource: 'status' },
    );
    expect(await names(volumes() as Resource<KubeObject>, 'status.attachment.node=sel-c1')).toEqual(['sel-rv']);
  });

  test('kubectl get rv answers whether a volume is safe', async () => {
    await volumes().create(newVolume('glance'));
    await volumes().patch(
      'glance',
      {
        status: {
          phase: 'Degraded',
          inSyncSummary: '1/2',
          size: '64Mi',
          message: 'zone b is away',
          attachment: { node: 'c1', epoch: 3 },
        },
      },
      { subresource: 'status' },
    );
    const shown = await table('/apis/holdfast.dev/v1alpha1/replicatedvolumes/glance');
    expect(shown).toMatchObject({
      Name: 'glance',
      Phase: 'Degraded',
      'In-Sync': '1/2',
      Size: '64Mi',
      Attached: 'c1',
      Epoch: 3,
      Message: 'zone b is away',
    });
    expect(Object.keys(shown)).toContain('Age');
  });

  test('kubectl get sn tells whether a node is ready, and why not', async () => {
    await nodes().create(newNode('glance'));
    const ready = { type: 'Ready', status: 'False', reason: 'PoolMissing', message: 'no volume group' };
    await nodes().patch(
      'glance',
      {
        status: {
          conditions: [{ ...ready, lastTransitionTime: '2026-01-01T00:00:00Z' }],
          summary: { capacity: '1Ti' },
        },
      },
      { subresource: 'status' },
    );
    expect(await table('/apis/holdfast.dev/v1alpha1/storagenodes/glance')).toMatchObject({
      Name: 'glance',
      Ready: 'False',
      Address: '10.0.0.1',
      Capacity: '1Ti',
      Cordoned: false,
      Message: 'no volume group',
    });
  });

  test('kubectl get vr and vc have their columns', async () => {
    await replicas().create(newReplica('glance'));
    expect(await table('/apis/holdfast.dev/v1alpha1/volumereplicas/glance')).toMatchObject({
      Volume: 'v',
      Node: 'n1',
      State: 'Active',
      Epoch: 0,
    });
    await connections().create(newConnection('glance'));
    const connected = { phase: 'Connected', legSummary: '2/2', devicePath: '/dev/holdfast/v' };
    await connections().patch('glance', { status: connected }, { subresource: 'status' });
    expect(await table('/apis/holdfast.dev/v1alpha1/volumeconnections/glance')).toMatchObject({
      Volume: 'v',
      Node: 'c1',
      Phase: 'Connected',
      Legs: '2/2',
      Device: '/dev/holdfast/v',
    });
  });

  test('the short names are known', async () => {
    const { body } = await api.connection.request({ method: 'GET', path: '/apis/holdfast.dev/v1alpha1' });
    const { resources } = JSON.parse(body) as { resources: { name: string; shortNames?: string[] }[] };
    const short = Object.fromEntries(
      resources.flatMap(({ name, shortNames }) => (shortNames ? [[name, shortNames]] : [])),
    );
    expect(short).toEqual({
      replicatedsnapshots: ['rsnap'],
      replicatedvolumes: ['rv'],
      volumereplicas: ['vr'],
      volumeconnections: ['vc'],
      snapshotreplicas: ['sr'],
      storagenodes: ['sn'],
    });
  });
});

/** What kubectl would print of one object, by column. */
async function table(path: string): Promise<Record<string, unknown>> {
  const accept = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  const { body } = await api.connection.request({ method: 'GET', path, accept });
  const { columnDefinitions, rows } = JSON.parse(body) as {
    columnDefinitions: { name: string }[];
    rows: { cells: unknown[] }[];
  };
  return Object.fromEntries(columnDefinitions.map(({ name }, at) => [name, rows[0]?.cells[at]]));
}
