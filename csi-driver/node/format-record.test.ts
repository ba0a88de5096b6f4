import { beforeEach, expect, test } from '@jest/globals';
import type { ReplicatedVolume } from '../../lib/api/index.ts';
import { systemClock } from '../../lib/clock.ts';
import { fakeResource, type FakeResource } from '../testing/fake-resource.ts';
import { createFormatRecord } from './format-record.ts';

let volumes: FakeResource<ReplicatedVolume>;

beforeEach(() => {
  volumes = fakeResource<ReplicatedVolume>();
  volumes.put({
    metadata: { name: 'vol' },
    spec: {} as ReplicatedVolume['spec'],
    status: {
      attachment: { node: 'n1', hostNqn: '', epoch: 3, clean: false },
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: 't', reason: 'r', message: '' }],
    },
  });
});

const record = (node = 'n1') => createFormatRecord({ node, volumes, clock: systemClock });

const grant = (node: string, epoch: number): void => {
  const volume = volumes.peek('vol');
  if (volume)
    volumes.put({ ...volume, status: { ...volume.status, attachment: { node, hostNqn: '', epoch, clean: false } } });
};

test('a format is unfinished from begin to finish, also for the next node', async () => {
  expect(await record().isUnfinished('vol')).toBe(false);
  await record().begin('vol', 3, 'ext4');
  expect(await record('n2').isUnfinished('vol')).toBe(true);
  grant('n2', 4);
  await record('n2').begin('vol', 4, 'ext4');
  await record('n2').finish('vol', 4, 'ext4');
  expect(await record().isUnfinished('vol')).toBe(false);
});

test("the operator's conditions stay", async () => {
  await record().begin('vol', 3, 'ext4');
  expect(volumes.peek('vol')?.status?.conditions?.map(({ type }) => type)).toEqual(['Ready', 'Formatting']);
});

test('Given the volume was handed to another node, Then nothing is recorded', async () => {
  grant('n2', 4);
  await expect(record().begin('vol', 3, 'ext4')).rejects.toMatchObject({ code: 'HF413' });
  grant('n1', 5);
  await expect(record().finish('vol', 3, 'ext4')).rejects.toMatchObject({ code: 'HF413' });
  expect(volumes.writes).toHaveLength(0);
});

test('Given it is handed over between our read and our write, Then nothing is recorded', async () => {
  volumes.beforeWrite(() => grant('n2', 4));
  await expect(record().begin('vol', 3, 'ext4')).rejects.toMatchObject({ code: 'HF413' });
  expect(await record().isUnfinished('vol')).toBe(false);
});

test('Given the operator writes in between, Then it is recorded on top of that', async () => {
  volumes.beforeWrite(() => grant('n1', 3));
  await record().begin('vol', 3, 'ext4');
  expect(await record().isUnfinished('vol')).toBe(true);
});

test('Given there is no such volume, Then NOT_FOUND', async () => {
  await expect(record().isUnfinished('other')).rejects.toMatchObject({ status: 'NOT_FOUND' });
});
