import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { silent } from '../lab/progress.ts';
import { controlPlaneBinaries, kubernetesVersion } from './binaries.ts';
import { kubeconfig } from './kubeconfig.ts';

test('the version comes from go.mod, and from nowhere else', () => {
  expect(kubernetesVersion('require (\n\tk8s.io/kubernetes v1.36.3\n)\n')).toBe('v1.36.3');
  expect(() => kubernetesVersion('require k8s.io/kubernetes-csi v1\n')).toThrow('names no version');
});

test('KUBEBUILDER_ASSETS is used, and must hold both programs', async () => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'holdfast-assets-'));
  try {
    writeFileSync(path.join(dir, 'etcd'), '');
    await expect(controlPlaneBinaries(silent, { KUBEBUILDER_ASSETS: dir })).rejects.toThrow(
      `${dir}, which lacks kube-apiserver`,
    );
    writeFileSync(path.join(dir, 'kube-apiserver'), '');
    expect(await controlPlaneBinaries(silent, { KUBEBUILDER_ASSETS: dir })).toEqual({
      etcd: path.join(dir, 'etcd'),
      kubeApiserver: path.join(dir, 'kube-apiserver'),
    });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('without Go, it says what to install and why', async () => {
  const dir = mkdtempSync(path.join(os.tmpdir(), 'holdfast-nogo-'));
  try {
    // A go that is too old stands for none: the real one may be in a place that is always looked at.
    writeFileSync(path.join(dir, 'go'), '#!/bin/sh\necho go version go1.19.8 linux/amd64\n', { mode: 0o755 });
    await expect(controlPlaneBinaries(silent, { PATH: dir, HOLDFAST_CACHE: path.join(dir, 'cache') })).rejects.toThrow(
      /too old.*etcd and kube-apiserver v.*are built from source.*Install Go 1\.\d+.*KUBEBUILDER_ASSETS/,
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a kubeconfig stands by itself', () => {
  const parsed: unknown = JSON.parse(kubeconfig('https://10.77.0.1:6443', 'CA', { kind: 'token', token: 'secret' }));
  expect(parsed).toMatchObject({
    clusters: [{ cluster: { server: 'https://10.77.0.1:6443', 'certificate-authority-data': 'Q0E=' } }],
    users: [{ user: { token: 'secret' } }],
    'current-context': 'lab',
  });
});
