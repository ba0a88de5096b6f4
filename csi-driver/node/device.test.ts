import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import { beforeEach, expect, test } from '@jest/globals';
import type { VolumeConnection, VolumeConnectionStatus } from '../../lib/api/index.ts';
import { createChanges } from '../changes.ts';
import { callContext } from '../testing/fake-controller.ts';
import { fakeResource } from '../testing/fake-resource.ts';
import { createAttachedDevices } from './device.ts';
import { deviceNumber, hostPaths } from './paths.ts';

const changes = createChanges();
let connections = fakeResource<VolumeConnection>();
let present: boolean;

beforeEach(() => {
  connections = fakeResource<VolumeConnection>(({ spec }) => changes.notify(spec.volume));
  present = true;
});

const devices = () =>
  createAttachedDevices({
    node: 'n1',
    connections,
    changes,
    paths: {
      ...hostPaths,
      blockDevice: async (path) =>
        present && path === '/dev/holdfast/vol' ? { path: '/dev/md127', number: '9:127' } : undefined,
    },
  });

function connection(status: VolumeConnectionStatus, epoch = status.epoch ?? 1): void {
  const spec = {
    volume: 'vol',
    volumeUid: 'u',
    node: 'n1',
    epoch,
    sizeBytes: 1,
    legTimeout: '3s',
    ...DEFAULT_STALL_POLICY,
    raidDisks: 2,
    legs: [],
  };
  connections.put({ metadata: { name: 'vol.n1' }, spec, status });
}

test('answers with the device of a connection that is Connected', async () => {
  connection({ phase: 'Connected', epoch: 2 });
  await expect(devices().ready('vol', 2, callContext())).resolves.toEqual({
    path: '/dev/md127',
    number: '9:127',
    epoch: 2,
  });
});

test('waits until the array runs again after a reboot, under a newer epoch', async () => {
  connection({ phase: 'Connecting', message: 'waiting for vol-r0' });
  setTimeout(() => connection({ phase: 'Connected', epoch: 7 }), 10);
  await expect(devices().ready('vol', 2, callContext())).resolves.toMatchObject({ epoch: 7 });
});

test.each<[string, () => void, string]>([
  [
    'the array does not run',
    () => connection({ phase: 'Waiting', message: 'no leg' }),
    'the connection is Waiting: no leg',
  ],
  ['it runs under an older epoch', () => connection({ phase: 'Connected', epoch: 1 }), 'Connected'],
  ['a newer epoch is granted', () => connection({ phase: 'Connected', epoch: 2 }, 3), 'Connected'],
])('Given %s, Then DEADLINE_EXCEEDED says so', async (_, given, message) => {
  given();
  await expect(devices().ready('vol', 2, callContext(50))).rejects.toMatchObject({
    status: 'DEADLINE_EXCEEDED',
    message: expect.stringContaining(message),
  });
});

test('Given no device is there although it should, Then that is said', async () => {
  present = false;
  connection({ phase: 'Connected', epoch: 2 });
  await expect(devices().ready('vol', 2, callContext(50))).rejects.toThrow('/dev/holdfast/vol is not there');
});

test('Given there is no connection, Then FAILED_PRECONDITION at once', async () => {
  await expect(devices().ready('vol', 2, callContext(60_000))).rejects.toMatchObject({
    status: 'FAILED_PRECONDITION',
    message: expect.stringContaining('ControllerPublishVolume comes first'),
  });
});

test('device numbers are split as glibc does', () => {
  expect(deviceNumber(0x97f)).toBe('9:127');
  expect(deviceNumber(Number((259n << 8n) | 5n))).toBe('259:5');
  expect(deviceNumber(Number((9n << 8n) | 0x2an | (0x1n << 20n)))).toBe('9:298');
});
