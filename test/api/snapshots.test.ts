import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { SnapshotReplica } from '../../lib/api/index.ts';
import { kinds, KubeError, resource } from '../../lib/kube/client.ts';
import { newConnection, newReplica, newVolume, startTestApi, type TestApi } from './harness.ts';

jest.setTimeout(60_000);

/** What the API server itself holds of snapshots, whoever writes. */
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
}, 120_000);
afterAll(async () => {
  await api?.stop();
});

const snapshots = () => resource(api.connection, kinds.replicatedSnapshots);
const copies = () => resource(api.connection, kinds.snapshotReplicas);
const connections = () => resource(api.connection, kinds.volumeConnections);
const asStatus = { subresource: 'status' } as const;

async function refusal(change: Promise<unknown>): Promise<string> {
  const error = await change.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof KubeError)) throw new Error(`expected a refusal, found ${String(error)}`);
  return error.message;
}

describe('a snapshot', () => {
  const entry = (name: string) => ({ name, uid: name, replica: 'v-r0', storageNode: 's1', pool: 'p' });

  test('is of one volume for ever, and its copies are what they were when it became ready', async () => {
    await snapshots().create({ metadata: { name: 'snap' }, spec: { volume: 'v' } });
    expect(await refusal(snapshots().patch('snap', { spec: { volume: 'w' } }))).toMatch("can't be changed");
    const write = (status: object) => snapshots().patch('snap', { status }, asStatus);
    await write({ phase: 'Taking', attempt: 1, copies: [entry('a'), entry('b')] });
    await write({ attempt: 2, copies: [entry('c')] });
    expect(await refusal(write({ attempt: 1 }))).toMatch('never falls');
    await write({ phase: 'Ready' });
    expect(await refusal(write({ copies: [entry('d')] }))).toMatch('never changed');
    await write({ phase: 'Deleting' });
    expect(await refusal(write({ copies: [] }))).toMatch('never changed');
  });

  test('has copies that are taken once', async () => {
    const spec = { snapshot: 'snap', snapshotUid: 'u', volume: 'v', volumeUid: 'u', replica: 'v-r0', replicaUid: 'u' };
    const place = { storageNode: 's1', pool: 'p', sizeBytes: 1 << 26, attempt: 1 };
    await copies().create({ metadata: { name: 'copy' }, spec: { ...spec, ...place } } as SnapshotReplica);
    expect((await copies().get('copy'))?.spec.take).toBe('');
    await copies().patch('copy', { spec: { take: 't1' } });
    expect(await refusal(copies().patch('copy', { spec: { take: 't2' } }))).toMatch('taken once');
    expect(await refusal(copies().patch('copy', { spec: { replicaUid: 'x' } }))).toMatch("can't be changed");
    expect((await copies().list({ fieldSelector: 'spec.storageNode=s1' })).items).toHaveLength(1);
  });
});

// Given two operators for a moment, when one has said what counts of a standstill, then the other can't say something else.
test('what counts of a standstill is fixed with its release', async () => {
  await connections().create(newConnection('v.c1'));
  const suspend = (change: object) => connections().patch('v.c1', { spec: { suspend: change } });
  await suspend({ request: 'r1' });
  expect((await connections().get('v.c1'))?.spec.suspend).toEqual({
    request: 'r1',
    hold: false,
    limitMs: 4000,
    release: '',
  });
  await suspend({ hold: true });
  await suspend({ release: 't1', copies: ['a'] });
  expect(await refusal(suspend({ copies: ['a', 'b'] }))).toMatch('fixed with its release');
  expect(await refusal(suspend({ release: 't2' }))).toMatch('fixed with its release');
  await suspend({ request: 'r2', hold: false, release: '', copies: null });
});

test('a volume and a replica begin with what they began with, and a thick volume with nothing', async () => {
  const volumes = resource(api.connection, kinds.replicatedVolumes);
  await volumes.create(newVolume('rv', { source: { snapshot: 'snap' } }));
  expect(await refusal(volumes.patch('rv', { spec: { source: { snapshot: 'other' } } }))).toMatch(
    "source can't be changed",
  );
  expect(await refusal(volumes.patch('rv', { spec: { source: null } }))).toMatch("source can't be changed");
  const thick = newVolume('thick', { source: { volume: 'rv' }, provisioning: 'Thick' });
  expect(await refusal(volumes.create(thick))).toMatch('is Thin');
  const both = newVolume('both', { source: { volume: 'rv', snapshot: 'snap' } });
  expect(await refusal(volumes.create(both))).toMatch('must have at most 1');
  const replicas = resource(api.connection, kinds.volumeReplicas);
  await replicas.create(newReplica('vr', { source: { copyUid: 'u' } }));
  expect(await refusal(replicas.patch('vr', { spec: { source: { copyUid: 'x' } } }))).toMatch(
    "source can't be changed",
  );
});
