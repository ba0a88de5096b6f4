import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { silentLog } from '../../lib/log.ts';
import { RegistrationClient, type PluginInfo } from '../generated/registration.ts';
import { serve, type RunningServer } from '../grpc/server.ts';
import { registration, type Registration } from './registration.ts';

let dir: string;
let server: RunningServer;
let kubelet: RegistrationClient;
let driver: Registration;

beforeEach(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'hf-reg-'));
  const socket = path.join(dir, 'csi.holdfast.dev-reg.sock');
  driver = registration('/var/lib/kubelet/plugins/csi.holdfast.dev/csi.sock', silentLog);
  server = await serve({
    endpoint: `unix://${socket}`,
    services: [driver.service],
    log: silentLog,
    defaultTimeoutMs: 5000,
  });
  kubelet = new RegistrationClient(`unix:${socket}`, credentials.createInsecure());
});

afterEach(async () => {
  kubelet.close();
  await server.stop(100);
  await rm(dir, { recursive: true, force: true });
});

test('kubelet is told what the driver is and where its socket is', async () => {
  const info = await new Promise<PluginInfo>((resolve, reject) => {
    kubelet.getInfo({}, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
  expect(info).toEqual({
    type: 'CSIPlugin',
    name: 'csi.holdfast.dev',
    endpoint: '/var/lib/kubelet/plugins/csi.holdfast.dev/csi.sock',
    supportedVersions: ['1.0.0'],
  });
});

test('the driver is registered when kubelet says so, and no longer when it says otherwise', async () => {
  const notify = (pluginRegistered: boolean, error: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      kubelet.notifyRegistrationStatus({ pluginRegistered, error }, (failure, answer) =>
        failure ? reject(failure) : resolve(answer),
      );
    });
  expect(driver.registered()).toBe(false);
  await notify(true, '');
  expect(driver.registered()).toBe(true);
  await notify(false, 'the CSI socket does not answer');
  expect(driver.registered()).toBe(false);
});
