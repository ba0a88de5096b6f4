import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { contextOf, type Context } from '../../cli/context.ts';
import { check } from '../../cli/check/check.ts';
import { forceStart } from '../../cli/force-start.ts';
import { recover } from '../../cli/recover/recover.ts';
import { painter } from '../../cli/terminal.ts';
import { listVolumes, showVolume } from '../../cli/volumes.ts';
import type { StorageNodeStatus } from '../../lib/api/index.ts';
import { kinds, KubeError, resource } from '../../lib/kube/client.ts';
import { newNode, newReplica, newVolume, startTestApi, type TestApi } from './harness.ts';

const MIB = 1024 * 1024;
jest.setTimeout(60_000);

let api: TestApi;
let printed = '';
let context: Context;

beforeAll(async () => {
  api = await startTestApi();
  context = contextOf(api.connection, 'holdfast-system', (text) => void (printed += text), painter({}));
}, 120_000);
afterAll(async () => {
  await api?.stop();
});

const volumes = () => resource(api.connection, kinds.replicatedVolumes);
const replicas = () => resource(api.connection, kinds.volumeReplicas);
const nodes = () => resource(api.connection, kinds.storageNodes);
const status = { subresource: 'status' } as const;

async function refusal(change: Promise<unknown>): Promise<string> {
  const thrown: unknown = await change.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof KubeError)) throw new Error(`expected a refusal, found ${String(thrown)}`);
  expect(thrown.isInvalid).toBe(true);
  return thrown.message;
}

/** What a command prints. */
async function output(run: Promise<number>): Promise<{ code: number; text: string }> {
  printed = '';
  const code = await run;
  return { code, text: printed };
}

describe('rules that an old state breaks', () => {
  test('the generation of the record and the lineage never fall, and never go', async () => {
    await volumes().create(newVolume('falls'));
    const write = async (change: object) => await volumes().patch('falls', { status: change }, status);
    await write({ recordGeneration: 5, lineage: 2 });
    await write({ recordGeneration: 6 });
    expect(await refusal(write({ recordGeneration: 5 }))).toContain('the generation of the record never falls');
    expect(await refusal(write({ recordGeneration: null }))).toContain('the generation of the record never falls');
    expect(await refusal(write({ lineage: 1 }))).toContain('the lineage never falls');
    expect(await refusal(write({ lineage: null }))).toContain('the lineage never falls');
  });

  test('a change of the in-sync set is a new record', async () => {
    await volumes().create(newVolume('counts'));
    const write = async (change: object) => await volumes().patch('counts', { status: change }, status);
    await write({ recordGeneration: 1, inSync: ['a', 'b'] });
    await write({ inSync: ['b', 'a'] });
    expect(await refusal(write({ inSync: ['a'] }))).toContain('recordGeneration grows with it');
    await write({ inSync: ['a'], recordGeneration: 2 });
  });

  test('a forced start needs the acceptance, and is not taken back', async () => {
    await volumes().create(newVolume('forced'));
    const ask = async (request: object | null) => await volumes().patch('forced', { spec: { forceStart: request } });
    const refused = ask({ replica: 'forced-r1', lineage: 2, recordGeneration: 0, acceptDataLoss: false });
    expect(await refusal(refused)).toContain('acceptDataLoss must be true');
    expect(
      await refusal(ask({ replica: 'forced-r1', lineage: 1, recordGeneration: 0, acceptDataLoss: true })),
    ).toContain('lineage');
    await ask({ replica: 'forced-r1', lineage: 2, recordGeneration: 0, acceptDataLoss: true });
    expect(await refusal(ask(null))).toContain('is not taken back');
    expect(await refusal(ask({ replica: 'forced-r0' }))).toContain('is not taken back or changed');
    await ask({ replica: 'forced-r0', recordGeneration: 4 });
    expect(await refusal(ask({ recordGeneration: 3 }))).toContain('is not taken back or changed');
    await ask({ replica: 'forced-r1', lineage: 3 });
  });

  test('the lineage of a replica never falls, and what it takes over stays', async () => {
    const { spec } = await replicas().create(newReplica('lineage', { lineage: 2 }));
    expect(spec.lineage).toBe(2);
    const change = async (wanted: object) => await replicas().patch('lineage', { spec: wanted });
    expect(await refusal(change({ lineage: 1 }))).toContain('the lineage never falls');
    expect(await refusal(change({ adopt: { replicaUid: 'a', volumeUid: 'b' } }))).toContain("adopt can't be changed");
    expect((await replicas().create(newReplica('first'))).spec.lineage).toBe(1);
  });
});

describe('holdfast', () => {
  const record = { lineage: 1, epoch: 7, generation: 12, inSync: ['pg-r0', 'pg-r1'] };
  type Unknown = NonNullable<StorageNodeStatus['unknownReplicas']>[number];
  const onDisk = (name: string): Unknown => ({
    logicalVolume: `hf-fast/hf-old-${name}`,
    pool: 'fast',
    volume: 'pg',
    volumeUid: 'old-volume',
    replica: name,
    replicaUid: `old-${name}`,
    sizeBytes: 64 * MIB,
    provisioning: 'Thin',
    lineage: 1,
    epoch: 7,
    record,
  });

  test('recover shows what it would write, and writes it with --apply', async () => {
    for (const [node, name] of [
      ['s1', 'pg-r0'],
      ['s2', 'pg-r1'],
    ] as const) {
      await nodes().create(newNode(node));
      await nodes().patch(node, { status: { unknownReplicas: [onDisk(name)] } }, status);
    }
    const options = { volume: 'pg', without: [], json: false };
    const dry = await output(recover(context, { ...options, apply: false }));
    expect(dry.code).toBe(0);
    expect(dry.text).toContain('create ReplicatedVolume pg');
    expect(dry.text).toContain('create VolumeReplica pg-r1: takes over hf-old-pg-r1 on s2');
    expect(dry.text).toContain('nothing was written; --apply writes it');
    expect(await volumes().get('pg')).toBeUndefined();

    expect((await output(recover(context, { ...options, apply: true }))).text).toContain('pg: recovered');
    const volume = await volumes().get('pg');
    expect(volume).toMatchObject({
      spec: { capacityBytes: 64 * MIB, replicas: 2, provisioning: 'Thin', attachTo: '' },
      status: {
        inSync: ['pg-r0', 'pg-r1'],
        recordGeneration: 13,
        lineage: 1,
        attachment: { node: '', epoch: 8, clean: false },
        nextReplica: 2,
      },
    });
    expect(volume?.metadata.annotations ?? {}).toEqual({});
    expect(volume?.metadata.finalizers).toEqual(['holdfast.dev/operator']);
    expect(await replicas().get('pg-r1')).toMatchObject({
      metadata: { finalizers: ['holdfast.dev/storage-agent'], labels: { 'holdfast.dev/volume': 'pg' } },
      spec: {
        volumeUid: volume?.metadata.uid,
        storageNode: 's2',
        epoch: 8,
        hostNqn: '',
        adopt: { replicaUid: 'old-pg-r1', volumeUid: 'old-volume' },
      },
    });
  });

  test('recover again, before the agents have looked, changes nothing', async () => {
    const again = await output(recover(context, { volume: 'pg', without: [], apply: true, json: false }));
    expect(again).toMatchObject({ code: 0, text: expect.stringContaining('nothing to recover') });
  });

  test('recover raises objects that are older than the disks', async () => {
    const disk = { lineage: 1, epoch: 11, record: { ...record, epoch: 11, generation: 20, inSync: ['pg-r1'] } };
    await replicas().patch('pg-r1', { status: { disk } }, status);
    await output(recover(context, { volume: 'pg', without: [], apply: true, json: false }));
    expect((await volumes().get('pg'))?.status).toMatchObject({
      inSync: ['pg-r1'],
      recordGeneration: 21,
      attachment: { epoch: 12 },
      outOfSync: { 'pg-r0': { epoch: 12 } },
    });
    expect((await replicas().get('pg-r0'))?.spec).toMatchObject({ epoch: 12, hostNqn: '' });
  });

  test('volume force-start explains, needs the acceptance, and asks the operator', async () => {
    const options = { replica: 'pg-r0', acceptDataLoss: false, json: false };
    printed = '';
    await expect(forceStart(context, 'pg', options)).rejects.toThrow('HF601');
    expect(printed).toContain(
      'Every write since then is lost, also those that were acknowledged. They are on pg-r1 on s2.',
    );
    await expect(forceStart(context, 'pg', { ...options, replica: 'pg-r9' })).rejects.toThrow(/HF600.*pg-r0 on s1/);
    await expect(forceStart(context, 'pg', { ...options, replica: 'pg-r1' })).rejects.toThrow('HF201');
    await expect(forceStart(context, 'px', options)).rejects.toThrow(/HF600: there is no volume "px"; there are .*pg/);
    expect((await volumes().get('pg'))?.spec.forceStart).toBeUndefined();
    expect((await output(forceStart(context, 'pg', { ...options, acceptDataLoss: true }))).code).toBe(0);
    expect((await volumes().get('pg'))?.spec.forceStart).toEqual({
      replica: 'pg-r0',
      lineage: 2,
      recordGeneration: 21,
      acceptDataLoss: true,
    });
  });

  test('volume list and show', async () => {
    expect((await output(listVolumes(context, false))).text).toMatch(
      /^NAME +PHASE +IN-SYNC +SIZE +ATTACHED +MESSAGE\n/,
    );
    const shown = (await output(showVolume(context, 'pg', false))).text;
    expect(shown).toContain('lineage 1, epoch 12, record 21 (in sync: pg-r1)');
    expect(shown).toContain('lineage 1, epoch 11');
    const json = JSON.parse((await output(showVolume(context, 'pg', true))).text) as { replicas: unknown[] };
    expect(json.replicas).toHaveLength(2);
  });

  test('recover leaves it to a person which of two histories counts, and begins a lineage with it', async () => {
    const volume = await volumes().create(newVolume('apart'));
    const { uid: volumeUid = '' } = volume.metadata;
    const both = ['apart-r0', 'apart-r1'];
    const members = both.map((name, at) => ({ name, storageNode: `s${at + 1}`, pool: 'fast', role: 'Member' }));
    const attachment = { node: 'c1', hostNqn: 'h', epoch: 7, clean: false };
    const wanted = { attachment, inSync: ['apart-r1'], recordGeneration: 3, replicas: members, nextReplica: 2 };
    await volumes().patch('apart', { status: wanted }, status);
    for (const [at, name] of both.entries()) {
      const spec = { volume: 'apart', volumeUid, storageNode: `s${at + 1}`, pool: 'fast', epoch: 7, hostNqn: 'h' };
      await replicas().create(newReplica(name, spec));
      const own = { lineage: 1, epoch: 7, generation: at === 0 ? 6 : 3, inSync: [name] };
      const disk = { lineage: 1, epoch: 7, host: 'h', record: at === 0 ? { ...own, base: 2 } : own };
      await replicas().patch(name, { status: { disk } }, status);
    }
    const options = { volume: 'apart', without: [], json: false };
    const refused = await output(recover(context, { ...options, apply: true }));
    expect(refused).toMatchObject({ code: 1, text: expect.stringContaining('holdfast recover apart --keep apart-r1') });
    const keep = { ...options, keep: 'apart-r1' };
    await expect(recover(context, { ...keep, apply: true })).rejects.toThrow('HF601');
    expect(printed).toContain('lost: every acknowledged write that apart-r1 on s2 does not hold is lost, for good');
    expect((await volumes().get('apart'))?.status?.lineage).toBeUndefined();
    await output(recover(context, { ...keep, acceptDataLoss: true, apply: true }));
    expect((await volumes().get('apart'))?.status).toMatchObject({
      lineage: 2,
      inSync: ['apart-r1'],
      recordGeneration: 7,
      attachment: { node: '', epoch: 8 },
    });
    expect((await replicas().get('apart-r1'))?.spec).toMatchObject({ lineage: 2, epoch: 8, hostNqn: '' });
    expect((await replicas().get('apart-r0'))?.spec).toMatchObject({ lineage: 1, epoch: 8, hostNqn: '' });
  });

  test('recover takes an empty object out of the way of the replica on the disk', async () => {
    const volume = await volumes().create(newVolume('way'));
    const { uid: volumeUid = '' } = volume.metadata;
    const members = [{ name: 'way-r0', storageNode: 's1', pool: 'fast', role: 'Member' }];
    await volumes().patch('way', { status: { replicas: members } }, status);
    const finalizers = ['holdfast.dev/storage-agent'];
    const made = newReplica('way-r0', { volume: 'way', volumeUid, storageNode: 's1', pool: 'fast' });
    const empty = await replicas().create({ ...made, metadata: { ...made.metadata, finalizers } });
    const stamp = { ...record, inSync: ['way-r0'] };
    const held = { ...onDisk('way-r0'), volume: 'way', volumeUid, record: stamp };
    await nodes().patch('s1', { status: { unknownReplicas: [held] } }, status);
    const done = await output(recover(context, { volume: 'way', without: [], apply: true, json: false }));
    expect(done).toMatchObject({ code: 0, text: expect.stringContaining('delete VolumeReplica way-r0') });
    const now = await replicas().get('way-r0');
    expect(now?.metadata.uid).not.toBe(empty.metadata.uid);
    expect(now?.spec.adopt).toEqual({ replicaUid: 'old-way-r0', volumeUid });
    expect((await volumes().get('way'))?.status?.inSync).toEqual(['way-r0']);
  });

  test('check finds what is wrong, and its exit code says how bad it is', async () => {
    const conditions = [
      { type: 'Consistent', status: 'False', reason: 'X', message: '', lastTransitionTime: '2026-01-01T00:00:00Z' },
    ];
    await replicas().patch('pg-r0', { status: { conditions, message: 'HF315: epoch 7' } }, status);
    const noHost = () => Promise.reject(new Error('not asked for'));
    const { code, text } = await output(check(context, { node: undefined, json: true }, noHost));
    const { findings, errors } = JSON.parse(text) as { findings: { object: string; what: string }[]; errors: number };
    expect([code, errors > 0]).toEqual([1, true]);
    expect(findings).toContainEqual({ severity: 'error', object: 'replica pg-r0', what: 'HF315: epoch 7' });
  });
});
