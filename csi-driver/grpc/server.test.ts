import { link, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Logger } from '../../lib/log.ts';
import { csiCall } from '../call.ts';
import { createCsiClient, type CsiClient } from '../client.ts';
import { ControllerService, IdentityService } from '../generated/csi.ts';
import { identityService } from '../identity/service.ts';
import { parseEndpoint } from './endpoint.ts';
import { CsiError } from './errors.ts';
import type { ControllerHandlers } from './handlers.ts';
import { serve, type RunningServer } from './server.ts';

let folder: string;
let endpoint: string;
let lines: { readonly level: string; readonly fields: Readonly<Record<string, unknown>> }[];
let server: RunningServer | undefined;
let client: CsiClient;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hf-csi-'));
  endpoint = `unix://${folder}/run/csi.sock`;
  lines = [];
  client = createCsiClient(endpoint);
});

afterEach(async () => {
  client.close();
  await server?.stop(1000);
  server = undefined;
  await rm(folder, { recursive: true, force: true });
});

const log = Object.fromEntries(
  ['debug', 'info', 'warn', 'error'].map((level) => [
    level,
    (_message: string, fields: Readonly<Record<string, unknown>> = {}) => lines.push({ level, fields }),
  ]),
) as unknown as Logger;

async function start(handlers: ControllerHandlers = {}): Promise<void> {
  server = await serve({
    endpoint,
    services: [
      { definition: IdentityService, handlers: identityService({ version: '1.2.3', ready: () => true }) },
      { definition: ControllerService, handlers },
    ],
    log,
    defaultTimeoutMs: 5000,
  });
}

describe('the gRPC server', () => {
  test('answers on a socket that only this user may open', async () => {
    await start();
    await expect(client.identity.getPluginInfo({})).resolves.toMatchObject({
      name: 'csi.holdfast.dev',
      vendorVersion: '1.2.3',
    });
    await expect(client.identity.probe({})).resolves.toEqual({ ready: true });
    expect((await stat(`${folder}/run/csi.sock`)).mode & 0o777).toBe(0o600);
  });

  test('gives code and message to the caller, and one line without secrets to the log', async () => {
    await start({
      createVolume: async () => {
        throw new CsiError('FAILED_PRECONDITION', 'HF407', 'volume x is in use');
      },
    });
    await expect(client.controller.createVolume({ name: 'x', secrets: { key: 'hunter2' } })).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: 'HF407: volume x is in use',
    });
    const line = lines.find(({ fields }) => fields['method'] === 'createVolume');
    expect(line?.fields).toMatchObject({ volume: 'x', code: 'FAILED_PRECONDITION', ms: expect.any(Number) });
    expect(JSON.stringify(lines)).not.toContain('hunter2');
  });

  test('an error nobody thought of is INTERNAL', async () => {
    await start({
      createVolume: async () => {
        throw new TypeError('x is undefined');
      },
    });
    await expect(client.controller.createVolume({})).rejects.toMatchObject({
      code: 'INTERNAL',
      details: 'x is undefined',
    });
  });

  test('a method that is left out is UNIMPLEMENTED', async () => {
    await start();
    await expect(client.controller.getCapacity({})).rejects.toMatchObject({ code: 'UNIMPLEMENTED' });
  });

  test('the deadline that a handler sees lies before that of the caller', async () => {
    let leftMs = 0;
    await start({
      deleteVolume: async (_request, { deadlineMs }) => {
        leftMs = deadlineMs - Date.now();
        return {};
      },
    });
    await client.controller.deleteVolume({}, { timeoutMs: 3000 });
    expect(leftMs).toBeGreaterThan(1500);
    expect(leftMs).toBeLessThanOrEqual(2600);
  });

  test('when the program stops, a call that waits ends, and the socket goes', async () => {
    await start({
      deleteVolume: (_request, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(new CsiError('UNAVAILABLE', 'HF406', 'stopping')));
        }),
    });
    const waiting = client.controller.deleteVolume({ volumeId: 'x' });
    waiting.catch(() => undefined);
    await client.identity.probe({});
    await server?.stop(2000);
    await expect(waiting).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(stat(`${folder}/run/csi.sock`)).rejects.toThrow('ENOENT');
    server = undefined;
  });
});

describe('the socket', () => {
  test('Given a killed program left it behind, Then it is replaced', async () => {
    await start();
    const orphan = createServer();
    const path = `${folder}/stale.sock`;
    await new Promise<void>((resolve) => orphan.listen(path, resolve));
    // Closing would remove the socket; a killed process doesn't.
    await link(path, `${folder}/left.sock`);
    await new Promise((resolve) => orphan.close(resolve));
    endpoint = `unix://${folder}/left.sock`;
    await server?.stop(1000);
    await start();
    const other = createCsiClient(endpoint);
    await expect(other.identity.probe({})).resolves.toEqual({ ready: true });
    other.close();
  });

  test('Given another program listens there, Then it is left alone', async () => {
    await start();
    const first = server;
    await expect(start()).rejects.toThrow('another program already listens');
    server = first;
    await expect(client.identity.probe({})).resolves.toEqual({ ready: true });
  });

  test('Given a file is there, Then it is left alone', async () => {
    await writeFile(`${folder}/file`, 'mine');
    endpoint = `unix://${folder}/file`;
    await expect(start()).rejects.toThrow('is not a socket');
    expect((await stat(`${folder}/file`)).size).toBe(4);
  });

  test.each(['tcp://127.0.0.1:1', '/run/x.sock', 'unix://run/x.sock', 'unix:///', `unix:///${'x'.repeat(120)}`])(
    'the endpoint %s is refused',
    (wrong) => {
      expect(() => parseEndpoint(wrong)).toThrow(`--endpoint is "${wrong}": expected`);
    },
  );
});

describe('csi-call', () => {
  test('prints the answer as JSON; requests in either spelling', async () => {
    await start({ deleteVolume: async () => ({}), controllerGetCapabilities: async () => ({ capabilities: [] }) });
    const { code, stdout = '' } = await csiCall(['--endpoint', endpoint, 'GetPluginInfo']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'csi.holdfast.dev' });
    for (const request of ['{"volume_id":"x"}', '{"volumeId":"x"}']) {
      await expect(csiCall(['--endpoint', endpoint, 'DeleteVolume', request])).resolves.toMatchObject({ code: 0 });
    }
    expect(lines.filter(({ fields }) => fields['volume'] === 'x')).toHaveLength(2);
  });

  test('calls several, one after the other, until one is refused', async () => {
    await start({ deleteVolume: async () => ({}) });
    const many = ['GetPluginInfo', 'DeleteVolume', '{"volume_id":"x"}', 'Probe'];
    const { code, stdout = '' } = await csiCall(['--endpoint', endpoint, ...many]);
    expect(code).toBe(0);
    expect(stdout.match(/^\{/gm)).toHaveLength(3);
    const refused = await csiCall([
      '--endpoint',
      endpoint,
      'CreateVolume',
      '{"name":"x"}',
      'DeleteVolume',
      '{"volume_id":"y"}',
    ]);
    expect(refused.code).toBe(1);
    expect(lines.filter(({ fields }) => fields['volume'] === 'y')).toHaveLength(0);
  });

  test('exits with 1 and the code when the driver refuses', async () => {
    await start();
    await expect(csiCall(['--endpoint', endpoint, 'CreateVolume', '{"name":"x"}'])).resolves.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('UNIMPLEMENTED: '),
    });
  });

  test.each([
    [[], 'no METHOD given'],
    [['Nonsense'], 'Nonsense is not a method of CSI'],
    [['Probe', 'x'], 'the request is not JSON'],
    [['Probe', '[]'], 'the request is a JSON object'],
    [['Probe', '{}', 'more'], 'too many arguments: more'],
    [['CreateVolume', '{"nmae":"x"}'], 'CreateVolumeRequest has no field "nmae"; it has name, capacity_range'],
    [['CreateVolume', '{"capacity_range":{"required_bytes":"1Gi"}}'], '1Gi'],
    [['CreateVolume', '{"volume_capabilities":[{"access_mode":{"mode":"RWO"}}]}'], 'RWO'],
    [['--timeout', 'soon', 'Probe'], '--timeout: "soon" is not a duration'],
    [['--verbose', 'Probe'], "Unknown option '--verbose'"],
  ])('%j is a wrong command line', async (argv, message) => {
    await expect(csiCall(['--endpoint', endpoint, ...argv])).resolves.toMatchObject({
      code: 2,
      stderr: expect.stringContaining(message),
    });
  });
});
