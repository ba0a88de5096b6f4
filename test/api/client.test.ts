import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { CLIENT_AGENT_FINALIZER, OPERATOR_FINALIZER } from '../../lib/api/index.ts';
import { connect, kinds, resource } from '../../lib/kube/client.ts';
import { createEventRecorder } from '../../lib/kube/events.ts';
import { addFinalizer, removeFinalizer } from '../../lib/kube/finalizer.ts';
import { newConnection, newReplica, newVolume, startTestApi, type TestApi } from './harness.ts';

const MIB = 1024 * 1024;
// A real API server takes its time when it starts anew.
jest.setTimeout(60_000);

let api: TestApi;

beforeAll(async () => {
  api = await startTestApi();
}, 120_000);
afterAll(async () => {
  await api?.stop();
});

const volumes = () => resource(api.connection, kinds.replicatedVolumes);
const replicas = () => resource(api.connection, kinds.volumeReplicas);

describe('reading and writing', () => {
  test('what is not there is undefined, and deleting it is success', async () => {
    expect(await volumes().get('nothing')).toBeUndefined();
    await volumes().delete('nothing');
    await expect(volumes().patch('nothing', {})).rejects.toMatchObject({ status: 404, isNotFound: true });
  });

  test('a kind that is not installed is told as such', async () => {
    const snapshots = { ...kinds.replicatedVolumes, kind: 'VolumeSnapshot', plural: 'volumesnapshots' };
    await expect(resource(api.connection, snapshots).list()).rejects.toThrow(
      'HF006: the API server does not know volumesnapshots.holdfast.dev in version v1alpha1; install the CustomResourceDefinitions',
    );
  });

  test('a name is taken once', async () => {
    await volumes().create(newVolume('once'));
    await expect(volumes().create(newVolume('once'))).rejects.toMatchObject({
      isAlreadyExists: true,
      isConflict: false,
      status: 409,
      reason: 'AlreadyExists',
      message: expect.stringContaining('replicatedvolumes.holdfast.dev "once" already exists'),
    });
  });

  test('a long list comes whole, through several pages', async () => {
    const make = async (at: number) => await replicas().create(newReplica(`page-${at}`, { volume: 'paged' }));
    for (let at = 0; at < 520; at += 40) {
      await Promise.all(Array.from({ length: Math.min(40, 520 - at) }, async (_, i) => await make(at + i)));
    }
    const { items, resourceVersion } = await replicas().list({ fieldSelector: 'spec.volume=paged' });
    expect(new Set(items.map(({ metadata }) => metadata.name)).size).toBe(520);
    expect(Number(resourceVersion)).toBeGreaterThan(0);
    expect(items[519]?.kind).toBe('VolumeReplica');
  });

  test('labels select', async () => {
    const replica = newReplica('labelled');
    await replicas().create({ ...replica, metadata: { ...replica.metadata, labels: { 'holdfast.dev/volume': 'v1' } } });
    const { items } = await replicas().list({ labelSelector: 'holdfast.dev/volume=v1' });
    expect(items.map(({ metadata }) => metadata.name)).toEqual(['labelled']);
  });

  test('a merge patch with a resourceVersion is an optimistic lock, on status too', async () => {
    const { metadata } = await volumes().create(newVolume('locked'));
    const record = async (resourceVersion: string | undefined, phase: string) =>
      await volumes().patch('locked', { metadata: { resourceVersion }, status: { phase } }, { subresource: 'status' });
    const after = await record(metadata.resourceVersion, 'Creating');
    expect(after.status?.phase).toBe('Creating');
    await expect(record(metadata.resourceVersion, 'Healthy')).rejects.toMatchObject({
      status: 409,
      reason: 'Conflict',
      isConflict: true,
      isAlreadyExists: false,
    });
    expect((await record(after.metadata.resourceVersion, 'Healthy')).status?.phase).toBe('Healthy');
    // A spec change in between is a change of the object as well.
    const spec = await volumes().patch('locked', { spec: { capacityBytes: 65 * MIB } });
    expect(spec.status?.phase).toBe('Healthy');
  });

  test('a map in the record changes by key, and null removes', async () => {
    await volumes().create(newVolume('record'));
    const entry = { epoch: 1, at: '2026-01-01T00:00:00Z' };
    const patch = async (outOfSync: object) =>
      (await volumes().patch('record', { status: { outOfSync } }, { subresource: 'status' })).status?.outOfSync;
    expect(await patch({ a: entry, b: entry })).toEqual({ a: entry, b: entry });
    expect(await patch({ a: null })).toEqual({ b: entry });
  });

  test('replace refuses a stale object', async () => {
    const first = await volumes().create(newVolume('replaced'));
    await volumes().replace({ ...first, spec: { ...first.spec, replicas: 3 } });
    await expect(volumes().replace(first)).rejects.toMatchObject({ isConflict: true });
  });

  test('a delete keeps to its preconditions', async () => {
    const { metadata } = await volumes().create(newVolume('guarded'));
    const wrong = volumes().delete('guarded', { uid: '00000000-0000-4000-8000-000000000000' });
    await expect(wrong).rejects.toMatchObject({ isConflict: true });
    expect(await volumes().get('guarded')).toBeDefined();
    await volumes().delete('guarded', { uid: metadata.uid ?? '' });
    expect(await volumes().get('guarded')).toBeUndefined();
  });

  test('an unknown field is warned of, and left out', async () => {
    const warnings: string[] = [];
    const connection = connect({
      kubeconfigPath: api.plane.kubeconfigPath,
      userAgent: 'warned/1',
      onWarning: (warning) => warnings.push(warning),
    });
    await resource(connection, kinds.replicatedVolumes).create(newVolume('typo', { replica: 3 }));
    expect(warnings).toEqual(['unknown field "spec.replica"']);
    connection.close();
  });
});

const apply = async (fieldManager: string, spec: object, force = false) =>
  await replicas().apply({ metadata: { name: 'applied' }, spec }, { fieldManager, force });

const condition = (type: string) => ({
  type,
  status: 'True' as const,
  reason: 'Fine',
  message: '',
  lastTransitionTime: '2026-01-01T00:00:00Z',
});

describe('server-side apply', () => {
  test('makes, changes and gives up fields; another manager must force', async () => {
    const { spec } = newReplica('applied');
    expect((await apply('operator', { ...spec, epoch: 1, hostNqn: 'nqn.a' })).spec.epoch).toBe(1);
    expect((await apply('operator', { ...spec, epoch: 2, hostNqn: 'nqn.b' })).spec.epoch).toBe(2);
    await expect(apply('someone', { epoch: 3 })).rejects.toMatchObject({ isConflict: true });
    expect((await apply('someone', { epoch: 3 }, true)).spec.epoch).toBe(3);
  });

  test('works on status, and removes what is no longer named', async () => {
    await replicas().create(newReplica('status'));
    const apply = async (status: object) =>
      await replicas().apply(
        { metadata: { name: 'status' }, status },
        { fieldManager: 'storage-agent', force: true, subresource: 'status' },
      );
    const ready = await apply({ phase: 'Ready', nqn: 'nqn.x', message: 'fine' });
    expect(ready.status).toEqual({ phase: 'Ready', nqn: 'nqn.x', message: 'fine' });
    expect((await apply({ phase: 'Erasing', nqn: 'nqn.x' })).status).toEqual({ phase: 'Erasing', nqn: 'nqn.x' });
    const again = await apply({ phase: 'Erasing', nqn: 'nqn.x' });
    expect(again.metadata.resourceVersion).toBe((await replicas().get('status'))?.metadata.resourceVersion);
  });

  test('sets one condition of several writers by its type', async () => {
    await replicas().create(newReplica('conditions'));
    for (const [manager, type] of [
      ['one', 'A'],
      ['two', 'B'],
    ] as const) {
      await replicas().apply(
        { metadata: { name: 'conditions' }, status: { conditions: [condition(type)] } },
        { fieldManager: manager, subresource: 'status' },
      );
    }
    const found = (await replicas().get('conditions'))?.status?.conditions?.map(({ type }) => type);
    expect(found).toEqual(['A', 'B']);
  });
});

describe('finalizers', () => {
  test('hold an object until they are gone', async () => {
    const all = resource(api.connection, kinds.volumeConnections);
    const created = await all.create(newConnection('held.c1'));
    const held = await addFinalizer(all, created, CLIENT_AGENT_FINALIZER);
    expect(held.metadata.finalizers).toEqual([CLIENT_AGENT_FINALIZER]);
    expect(await addFinalizer(all, held, CLIENT_AGENT_FINALIZER)).toBe(held);
    const both = await addFinalizer(all, held, OPERATOR_FINALIZER);
    // The list is replaced as a whole: a stale one must not bring a finalizer back.
    await expect(removeFinalizer(all, held, CLIENT_AGENT_FINALIZER)).rejects.toMatchObject({ isConflict: true });
    await all.delete('held.c1');
    const deleting = await all.get('held.c1');
    expect(deleting?.metadata.deletionTimestamp).toBeDefined();
    await expect(removeFinalizer(all, both, OPERATOR_FINALIZER)).rejects.toMatchObject({ isConflict: true });
    const last = await removeFinalizer(all, deleting ?? both, OPERATOR_FINALIZER);
    expect(last.metadata.finalizers).toEqual([CLIENT_AGENT_FINALIZER]);
    await removeFinalizer(all, last, CLIENT_AGENT_FINALIZER);
    expect(await all.get('held.c1')).toBeUndefined();
    expect(await removeFinalizer(all, last, CLIENT_AGENT_FINALIZER)).toBe(last);
  });
});

describe('events', () => {
  test('are found with the object, and repeats are counted', async () => {
    const volume = await volumes().create(newVolume('eventful'));
    const recorder = createEventRecorder(api.connection, 'operator');
    recorder.event(volume, 'Normal', 'Placed', 'replica a is on n1');
    for (let i = 0; i < 3; i += 1) {
      recorder.event(volume, 'Warning', 'Degraded', 'zone b is away');
      await recorder.flush();
    }
    const events = resource(api.connection, kinds.events, 'default');
    // As kubectl describe asks.
    const fieldSelector = `involvedObject.name=eventful,involvedObject.uid=${volume.metadata.uid},involvedObject.kind=ReplicatedVolume`;
    const { items } = await events.list({ fieldSelector });
    expect(items.map(({ reason, type, count, message }) => ({ reason, type, count, message }))).toEqual(
      expect.arrayContaining([
        { reason: 'Placed', type: 'Normal', count: 1, message: 'replica a is on n1' },
        { reason: 'Degraded', type: 'Warning', count: 3, message: 'zone b is away' },
      ]),
    );
    expect(items).toHaveLength(2);
  });
});

describe('credentials', () => {
  test('a token of a service account is let in, and RBAC decides what it may', async () => {
    const accounts = resource(
      api.connection,
      {
        group: '',
        version: 'v1',
        kind: 'ServiceAccount',
        plural: 'serviceaccounts',
        namespaced: true,
      },
      'holdfast-system',
    );
    await accounts.create({ metadata: { name: 'agent' } });
    const { body } = await api.connection.request({
      method: 'POST',
      path: '/api/v1/namespaces/holdfast-system/serviceaccounts/agent/token',
      body: JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} }),
      contentType: 'application/json',
    });
    const { status } = JSON.parse(body) as { status: { token: string } };
    const { mkdtemp, writeFile, rm } = await import('node:fs/promises');
    const dir = await mkdtemp('/tmp/holdfast-token-');
    await writeFile(`${dir}/config`, api.plane.kubeconfigForToken(status.token));
    const connection = connect({ kubeconfigPath: `${dir}/config`, userAgent: 'agent/1' });
    await expect(resource(connection, kinds.storageNodes).list()).rejects.toMatchObject({
      status: 403,
      isForbidden: true,
      message: expect.stringContaining('system:serviceaccount:holdfast-system:agent'),
    });
    connection.close();
    await rm(dir, { recursive: true });
  });

  test('an unreachable server is named as such, within the deadline', async () => {
    await api.plane.stopApiServer('freeze');
    const startedMs = performance.now();
    const patient = connect({ kubeconfigPath: api.plane.kubeconfigPath, userAgent: 'x/1', requestTimeoutMs: 400 });
    await expect(resource(patient, kinds.storageNodes).list()).rejects.toMatchObject({
      status: 0,
      reason: 'Timeout',
      isUnanswered: true,
    });
    expect(performance.now() - startedMs).toBeLessThan(2000);
    await api.plane.startApiServer();
    expect((await resource(patient, kinds.storageNodes).list({ timeoutMs: 10_000 })).items).toEqual([]);
    patient.close();
  });
});
