import {
  STORAGE_AGENT_FINALIZER,
  type SnapshotReplica,
  type StorageNode,
  type VolumeReplica,
} from '../lib/api/index.ts';
import { KubeError, kinds, type KubeObject, type Resource } from '../lib/kube/client.ts';
import { removeFinalizer } from '../lib/kube/finalizer.ts';
import type { Informer } from '../lib/kube/informer.ts';
import type { Kube } from '../lib/kube/kube.ts';
import type { CopyApi, StorageApi } from './ports.ts';

const FIELD_MANAGER = 'storage-agent';

/** The API server as the storage-agent of one node sees it. */
export function createStorageApi(
  kube: Kube,
  node: string,
  informers: { readonly nodes: Informer<StorageNode>; readonly replicas: Informer<VolumeReplica> },
): StorageApi {
  const nodes = kube.resource(kinds.storageNodes);
  const replicas = kube.resource(kinds.volumeReplicas);
  const volumes = kube.resource(kinds.replicatedVolumes);
  const status = { fieldManager: FIELD_MANAGER, force: true, subresource: 'status' } as const;
  return {
    cachedNode: () => informers.nodes.get(node),
    cachedReplica: (name) => informers.replicas.get(name),
    cachedReplicas: () => informers.replicas.list(),
    readReplica: (name) => replicas.get(name),
    readVolume: (name) => volumes.get(name),
    writeReplicaStatus: async (name, next) => {
      await replicas.apply({ metadata: { name }, status: next }, status);
    },
    writeNodeStatus: async (next) => {
      await nodes.apply({ metadata: { name: node }, status: next }, status);
    },
    releaseReplica: async (name, uid) => {
      await release(replicas, informers.replicas.get(name), name, uid);
    },
  };
}

/** The same for the copies of snapshots. */
export function createCopyApi(
  kube: Kube,
  node: string,
  informers: { readonly nodes: Informer<StorageNode>; readonly copies: Informer<SnapshotReplica> },
): CopyApi {
  const copies = kube.resource(kinds.snapshotReplicas);
  const snapshots = kube.resource(kinds.replicatedSnapshots);
  return {
    cachedNode: () => informers.nodes.get(node),
    cachedCopy: (name) => informers.copies.get(name),
    readSnapshot: (name) => snapshots.get(name),
    writeCopyStatus: async (name, status) => {
      await copies.apply(
        { metadata: { name }, status },
        { fieldManager: FIELD_MANAGER, force: true, subresource: 'status' },
      );
    },
    releaseCopy: async (name, uid) => {
      await release(copies, informers.copies.get(name), name, uid);
    },
  };
}

/** Takes our finalizer off the object of this UID. What the cache has is tried first: it does no harm when it is old. */
async function release<T extends KubeObject>(
  resource: Resource<T>,
  cached: T | undefined,
  name: string,
  uid: string,
): Promise<void> {
  if (cached !== undefined && cached.metadata.uid === uid) {
    try {
      await removeFinalizer(resource, cached, STORAGE_AGENT_FINALIZER);
      return;
    } catch (error) {
      if (!(error instanceof KubeError && error.isConflict)) throw error;
    }
  }
  const object = await resource.get(name);
  if (object === undefined || object.metadata.uid !== uid) return;
  await removeFinalizer(resource, object, STORAGE_AGENT_FINALIZER);
}
