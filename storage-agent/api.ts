import {
  STORAGE_AGENT_FINALIZER,
  type SnapshotReplica,
  type StorageNode,
  type VolumeReplica,
} from '../lib/api/index.ts';
import { kinds } from '../lib/kube/client.ts';
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
      const object = await replicas.get(name);
      if (object === undefined || object.metadata.uid !== uid) return;
      await removeFinalizer(replicas, object, STORAGE_AGENT_FINALIZER);
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
      const object = await copies.get(name);
      if (object === undefined || object.metadata.uid !== uid) return;
      await removeFinalizer(copies, object, STORAGE_AGENT_FINALIZER);
    },
  };
}
