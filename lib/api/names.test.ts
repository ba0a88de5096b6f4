import { expect, test } from '@jest/globals';
import {
  arrayName,
  bitmapChunkBytes,
  cloneSnapshotName,
  hostId,
  hostNqn,
  isReplicaNqn,
  LEG_DATA_SECTOR,
  LEG_HEADER_BYTES,
  legSizeBytes,
  logicalVolumeName,
  replicaNqn,
  replicaSerial,
  uuidV5,
  valveName,
} from './names.ts';

const uid = '0c3f5d1e-7a24-4b0e-9c55-8f3a2b1c4d5e';
const GIB = 2 ** 30;

test('a UUID of version 5 is as RFC 9562 has it', () => {
  expect(uuidV5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'www.example.com')).toBe(
    '2ed6657d-e927-568b-95e1-2665a8aea6a2',
  );
});

test('a node has one host identity for ever', () => {
  expect(hostNqn('c1')).toBe('nqn.2026-01.dev.holdfast:client:c1');
  expect(hostId('c1')).toBe(hostId('c1'));
  expect(hostId('c1')).not.toBe(hostId('c2'));
});

test('names fit where they go', () => {
  const bootId = '6c8d2b90-1111-4222-8333-444455556666';
  expect(replicaNqn(uid, bootId)).toBe(`nqn.2026-01.dev.holdfast:replica:${uid}:6c8d2b90`);
  expect([isReplicaNqn(replicaNqn(uid, bootId)), isReplicaNqn(hostNqn('c1'))]).toEqual([true, false]);
  expect(replicaNqn(uid, bootId).length).toBeLessThanOrEqual(223);
  // A Kubernetes node's name has at most 63 characters in practice, and 253 in theory.
  expect(hostNqn('n'.repeat(188)).length).toBeLessThanOrEqual(223);
  expect(replicaSerial(uid)).toBe('0c3f5d1e7a244b0e9c55');
  // Block device names have 31 characters (linux/genhd.h, DISK_NAME_LEN), device-mapper's 127.
  expect(arrayName(uid)).toBe('md_hf_0c3f5d1e7a24');
  expect(valveName(uid).length).toBeLessThan(127);
  expect(logicalVolumeName(uid)).toBe(`hf-${uid}`);
});

test('a leg has the volume behind its header', () => {
  expect(legSizeBytes(64 * 2 ** 20)).toBe(68 * 2 ** 20);
  expect(LEG_DATA_SECTOR).toBe(8192);
});

test.each([
  [1, 64 * 1024],
  [2 * GIB, 64 * 1024],
  [2 * GIB + 1, 128 * 1024],
  [2048 * GIB, 64 * 2 ** 20],
  [65_536 * GIB, 64 * 2 ** 20],
])('the bitmap of a volume of %d bytes has chunks of %d bytes', (sizeBytes, chunkBytes) => {
  expect(bitmapChunkBytes(sizeBytes)).toBe(chunkBytes);
});

test('the bitmap always fits in front of the data', () => {
  for (let sizeBytes = 2 ** 20; sizeBytes <= 2 ** 46; sizeBytes *= 1.37) {
    const bits = Math.ceil(sizeBytes / bitmapChunkBytes(sizeBytes));
    expect(8192 + Math.ceil(bits / 8)).toBeLessThanOrEqual(LEG_HEADER_BYTES);
  }
});

test('the snapshot of a clone has a name that a label may have', () => {
  expect(cloneSnapshotName('pvc-1')).toBe('clone-pvc-1');
  const long = cloneSnapshotName('v'.repeat(63));
  expect(long).toMatch(/^clone-[-0-9a-f]{36}$/);
  expect(cloneSnapshotName(`${'v'.repeat(62)}w`)).not.toBe(long);
});
