import { API_GROUP, API_VERSION } from '../api/names.ts';
import type {
  KubeObject,
  ObjectMeta,
  ReplicatedSnapshot,
  ReplicatedVolume,
  SnapshotReplica,
  StorageNode,
  VolumeConnection,
  VolumeReplica,
} from '../api/index.ts';

/** Where a kind of object lives in the API. */
export interface ResourceKind<T extends KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Carries the object's type only; there is no such value. */
  readonly object?: T;
}

/** coordination.k8s.io/v1. Times are RFC 3339 with microseconds. */
export interface Lease extends KubeObject {
  spec?: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    acquireTime?: string;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

/** Core v1: what `kubectl describe` lists below an object. */
export interface KubeEvent extends KubeObject {
  involvedObject: {
    apiVersion?: string;
    kind?: string;
    name?: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
  };
  reason?: string;
  message?: string;
  type?: string;
  count?: number;
  firstTimestamp?: string;
  lastTimestamp?: string;
  reportingComponent?: string;
  reportingInstance?: string;
  source?: { component?: string; host?: string };
}

export interface KubeNode extends KubeObject {
  metadata: ObjectMeta;
  spec?: { unschedulable?: boolean };
  status?: { conditions?: { type: string; status: string }[] };
}

function holdfast<T extends KubeObject>(kind: string, plural: string): ResourceKind<T> {
  return { group: API_GROUP, version: API_VERSION, kind, plural, namespaced: false };
}

/** The kinds that Holdfast reads and writes. */
export const kinds = {
  replicatedVolumes: holdfast<ReplicatedVolume>('ReplicatedVolume', 'replicatedvolumes'),
  volumeReplicas: holdfast<VolumeReplica>('VolumeReplica', 'volumereplicas'),
  volumeConnections: holdfast<VolumeConnection>('VolumeConnection', 'volumeconnections'),
  replicatedSnapshots: holdfast<ReplicatedSnapshot>('ReplicatedSnapshot', 'replicatedsnapshots'),
  snapshotReplicas: holdfast<SnapshotReplica>('SnapshotReplica', 'snapshotreplicas'),
  storageNodes: holdfast<StorageNode>('StorageNode', 'storagenodes'),
  leases: {
    group: 'coordination.k8s.io',
    version: 'v1',
    kind: 'Lease',
    plural: 'leases',
    namespaced: true,
  } as ResourceKind<Lease>,
  events: { group: '', version: 'v1', kind: 'Event', plural: 'events', namespaced: true } as ResourceKind<KubeEvent>,
  nodes: { group: '', version: 'v1', kind: 'Node', plural: 'nodes', namespaced: false } as ResourceKind<KubeNode>,
  claims: {
    group: '',
    version: 'v1',
    kind: 'PersistentVolumeClaim',
    plural: 'persistentvolumeclaims',
    namespaced: true,
  } as ResourceKind<KubeObject>,
  namespaces: {
    group: '',
    version: 'v1',
    kind: 'Namespace',
    plural: 'namespaces',
    namespaced: false,
  } as ResourceKind<KubeObject>,
} as const;

/** `v1` or `group/version`. */
export function apiVersionOf(kind: ResourceKind<KubeObject>): string {
  return kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
}

/** The URL path of a kind's collection, in a namespace or in all of them. */
export function collectionPath(kind: ResourceKind<KubeObject>, namespace?: string): string {
  const base = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const scope = kind.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : '';
  return `${base}${scope}/${kind.plural}`;
}
