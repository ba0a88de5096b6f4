import { expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, closeSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createDeviceUsers, devNoOf, isOn, parseMappedDevices } from './users.ts';

test('a device number is split as the C library does', () => {
  expect(devNoOf(0x903)).toBe('9:3');
  expect(devNoOf(0x10305)).toBe('259:5');
  // minor 0x12345: its upper bits stand above the major's
  expect(devNoOf(0x12300945)).toBe('9:74565');
});

test('who has the device itself open uses it, by whatever path', () => {
  const device = { dev: 5, rdev: 0x900, isBlockDevice: () => true };
  expect(isOn(device, '9:0')).toBe(true);
  expect(isOn(device, '9:1')).toBe(false);
  // A character device of the same number is another thing.
  expect(isOn({ ...device, isBlockDevice: () => false }, '9:0')).toBe(false);
});

test('the devices of mappings', () => {
  const maps = `7f00-7f01 r-xp 00000000 09:7f 131 /mnt/data/lib.so\n7f02-7f03 rw-p 00000000 00:00 0 \n`;
  expect([...parseMappedDevices(maps)]).toEqual(['9:127', '0:0']);
});

test('a process with an open file on the file system is found', async () => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'users-'));
  const fd = openSync(path.join(dir, 'file'), 'w');
  const child = spawn('sleep', ['60'], { stdio: ['ignore', fd, 'ignore'], cwd: '/proc' });
  try {
    await once(child, 'spawn');
    const users = createDeviceUsers(() => Promise.reject(new Error('not asked')));
    expect(await users.list(devNoOf(statSync(dir).dev))).toContain(child.pid);
    expect(await users.list('4095:77')).toEqual([]);
  } finally {
    child.kill('SIGKILL');
    closeSync(fd);
    rmSync(dir, { recursive: true });
  }
});
