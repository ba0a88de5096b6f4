import { DEFAULT_STALL_POLICY } from '../../lib/api/policy.ts';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { load } from 'js-yaml';
import type { Crd } from '../../lib/api/crd.ts';
import type {
  KubeObject,
  ReplicatedVolume,
  StorageNode,
  VolumeConnection,
  VolumeReplica,
} from '../../lib/api/index.ts';
import { connect, kinds, resource, type KubeConnection, type ResourceKind } from '../../lib/kube/client.ts';
import { startControlPlane, type ControlPlane } from '../controlplane/controlplane.ts';
import { terminalProgress } from '../lab/progress.ts';

type CrdObject = Crd & KubeObject & { status?: { conditions?: { type: string; status: string; message?: string }[] } };

export const crdKind: ResourceKind<CrdObject> = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  namespaced: false,
};

/** A real API server that knows our kinds. */
export interface TestApi {
  readonly plane: ControlPlane;
  /** As a cluster administrator; unknown fields are refused. */
  readonly connection: KubeConnection;
  stop(): Promise<void>;
}

export async function startTestApi(): Promise<TestApi> {
  const dir = await mkdtemp(path.join(os.tmpdir(), 'holdfast-api-'));
  const plane = await startControlPlane({ dir, progress: terminalProgress(process.stderr) });
  const connection = connect({
    kubeconfigPath: plane.kubeconfigPath,
    userAgent: 'api-test/1',
    fieldValidation: 'Strict',
  });
  const stop = async (): Promise<void> => {
    connection.close();
    await plane.stop();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await installCrds(connection);
    await resource(connection, kinds.namespaces).create({ metadata: { name: 'holdfast-system' } });
  } catch (error) {
    await stop();
    throw error;
  }
  return { plane, connection, stop };
}

export async function readCrds(): Promise<CrdObject[]> {
  const dir = path.join(import.meta.dirname, '../../crds');
  const names = (await readdir(dir)).filter((name) => name.endsWith('.yaml'));
  return await Promise.all(names.map(async (name) => load(await readFile(path.join(dir, name), 'utf8')) as CrdObject));
}

async function installCrds(connection: KubeConnection): Promise<void> {
  const crds = resource(connection, crdKind);
  const all = await readCrds();
  await Promise.all(all.map((crd) => crds.create(crd)));
  for (const { metadata } of all) {
    await until(`${metadata.name} is served`, async () => {
      const conditions = (await crds.get(metadata.name))?.status?.conditions ?? [];
      return conditions.some(({ type, status }) => type === 'Established' && status === 'True');
    });
  }
}

/** Waits until something is so; throws with its name when it isn't in time. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(20);
  }
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

const MIB = 1024 * 1024;

/** Objects with the fewest fields that are valid; what the API server defaults is left out. */
export function newVolume(name: string, spec: object = {}): ReplicatedVolume {
  return { metadata: { name }, spec: { capacityBytes: 64 * MIB, ...spec } } as ReplicatedVolume;
}

export function newNode(name: string, spec: object = {}): StorageNode {
  return {
    metadata: { name },
    spec: { addresses: [{ ip: '10.0.0.1' }], pools: [{ name: 'fast', devices: ['/dev/vdb'] }], ...spec },
  } as StorageNode;
}

export function newReplica(name: string, spec: object = {}): VolumeReplica {
  return {
    metadata: { name },
    spec: { volume: 'v', volumeUid: 'u', storageNode: 'n1', pool: 'fast', sizeBytes: 64 * MIB, ...spec },
  } as VolumeReplica;
}

export function newConnection(name: string, spec: object = {}): VolumeConnection {
  return {
    metadata: { name },
    spec: {
      volume: 'v',
      volumeUid: 'u',
      node: 'c1',
      epoch: 1,
      sizeBytes: 64 * MIB,
      legTimeout: '3s',
      ...DEFAULT_STALL_POLICY,
      raidDisks: 2,
      legs: [],
      ...spec,
    },
  };
}
