import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { loadAccess, type AccessSources } from './access.ts';

let dir: string;
let nowMs = 0;
beforeAll(async () => {
  dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-access-'));
});
afterAll(async () => await rm(dir, { recursive: true }));

const sources = (env: Record<string, string> = {}): AccessSources => ({
  env: { HOME: dir, ...env },
  serviceAccountDir: dir,
  cacheMs: 1000,
  now: () => nowMs,
});

async function kubeconfig(cluster: object, user: object, more: object = {}): Promise<string> {
  const file = path.join(dir, 'config');
  await writeFile(
    file,
    JSON.stringify({
      clusters: [{ name: 'c', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
      ...more,
    }),
  );
  return file;
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

test('certificates come from data, or from files beside the kubeconfig', async () => {
  await writeFile(path.join(dir, 'key.pem'), 'KEY');
  const file = await kubeconfig(
    { 'certificate-authority-data': base64('CA'), 'tls-server-name': 'kubernetes' },
    { 'client-certificate-data': base64('CERT'), 'client-key': 'key.pem' },
  );
  const options = await loadAccess(file, sources()).options();
  expect([options.server, String(options.ca), String(options.cert), String(options.key), options.servername]).toEqual([
    'https://10.0.0.1:6443',
    'CA',
    'CERT',
    'KEY',
    'kubernetes',
  ]);
});

test('YAML is read, tokens and users become headers', async () => {
  const file = path.join(dir, 'yaml');
  await writeFile(
    file,
    [
      'current-context: x',
      'contexts: [{ name: x, context: { cluster: c, user: u } }]',
      'clusters: [{ name: c, cluster: { server: "http://127.0.0.1:8001", insecure-skip-tls-verify: true } }]',
      'users: [{ name: u, user: { token: abc, as: somebody } }]',
    ].join('\n'),
  );
  expect(await loadAccess(file, sources()).options()).toMatchObject({
    rejectUnauthorized: false,
    headers: { authorization: 'Bearer abc', 'impersonate-user': 'somebody' },
  });
  const basic = await kubeconfig({}, { username: 'a', password: 'b' });
  expect((await loadAccess(basic, sources()).options()).headers['authorization']).toBe(`Basic ${base64('a:b')}`);
});

test("a pod's service account is found, and its token read again as it changes", async () => {
  await writeFile(path.join(dir, 'token'), 'first\n');
  await writeFile(path.join(dir, 'ca.crt'), 'CA');
  const access = loadAccess(undefined, sources({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' }));
  const token = async () => (await access.options()).headers['authorization'];
  expect((await access.options()).server).toBe('https://[fd00::1]:443');
  await writeFile(path.join(dir, 'token'), 'second');
  expect(await token()).toBe('Bearer first');
  nowMs += 1001;
  expect(await token()).toBe('Bearer second');
  await writeFile(path.join(dir, 'token'), 'third');
  access.forget();
  expect(await token()).toBe('Bearer third');
  // In the middle of a rotation the file may be away for a moment.
  await rm(path.join(dir, 'token'));
  nowMs += 1001;
  expect(await token()).toBe('Bearer third');
});

test('a credential plugin is asked', async () => {
  const plugin = path.join(dir, 'plugin');
  const credential = {
    apiVersion: 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    status: { token: 'made' },
  };
  await writeFile(plugin, `#!/bin/sh\necho '${JSON.stringify(credential)}'\n`);
  await chmod(plugin, 0o755);
  const exec = { apiVersion: credential.apiVersion, command: plugin, interactiveMode: 'Never' };
  const file = await kubeconfig({}, { exec });
  const options = await loadAccess(file, sources()).options();
  expect(options).toMatchObject({ server: 'https://10.0.0.1:6443', headers: { Authorization: 'Bearer made' } });
});

const failing =
  (file: string | undefined, env = {}) =>
  () =>
    loadAccess(file, sources(env));

test('what is wrong is said', async () => {
  expect(failing(path.join(dir, 'none'))).toThrow(/HF005: the kubeconfig .*none can't be read: ENOENT/);
  expect(failing(undefined)).toThrow(/no way to the API server: .* name one with --kubeconfig FILE/);
  expect(failing(undefined, { KUBECONFIG: '/nowhere/config' })).toThrow(/\/nowhere\/config can't be read/);
  await writeFile(path.join(dir, 'text'), 'just text');
  expect(failing(path.join(dir, 'text'))).toThrow('is not a kubeconfig');
  await writeFile(path.join(dir, 'broken'), 'a: [');
  expect(failing(path.join(dir, 'broken'))).toThrow(/broken can't be read/);
  expect(failing(await kubeconfig({}, {}, { 'current-context': '' }))).toThrow('has no current-context');
  expect(failing(await kubeconfig({}, {}, { 'current-context': 'y' }))).toThrow('has no context "y"');
  expect(failing(await kubeconfig({}, {}, { clusters: [] }))).toThrow('has no cluster "c", which context "x" names');
  expect(failing(await kubeconfig({ server: '10.0.0.1' }, {}))).toThrow('it is a URL such as https://10.0.0.1:6443');
  expect(failing(await kubeconfig({}, { 'client-key': 'gone.pem' }))).toThrow(
    /gone\.pem, which .* names, can't be read/,
  );
});
