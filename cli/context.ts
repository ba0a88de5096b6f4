import {
  HoldfastError,
  type ReplicatedSnapshot,
  type ReplicatedVolume,
  type SnapshotReplica,
  type StorageNode,
  type VolumeConnection,
  type VolumeReplica,
} from '../lib/api/index.ts';
import type { OptionSpecs } from '../lib/cli.ts';
import { connect, kinds, resource, type KubeConnection, type Lease, type Resource } from '../lib/kube/client.ts';
import type { Paint } from './terminal.ts';

/** What a command works with. */
export interface Context {
  readonly volumes: Resource<ReplicatedVolume>;
  readonly replicas: Resource<VolumeReplica>;
  readonly connections: Resource<VolumeConnection>;
  readonly storageNodes: Resource<StorageNode>;
  readonly snapshots: Resource<ReplicatedSnapshot>;
  readonly copies: Resource<SnapshotReplica>;
  readonly leases: Resource<Lease>;
  readonly nowMs: () => number;
  readonly out: (text: string) => void;
  readonly paint: Paint;
}

/** The options that every command has. */
export const shared = {
  output: {
    type: 'choice',
    choices: ['table', 'json'],
    default: 'table',
    short: 'o',
    description: 'for people, or for programs',
  },
  kubeconfig: {
    type: 'string',
    placeholder: 'FILE',
    description: 'how to reach the API server; default: $KUBECONFIG, then ~/.kube/config',
  },
  namespace: { type: 'string', default: 'holdfast-system', short: 'n', description: 'where the Leases are' },
} as const satisfies OptionSpecs;

/** The API server as the person who runs the command sees it. */
export function contextOf(
  connection: KubeConnection,
  namespace: string,
  out: (text: string) => void,
  paint: Paint,
): Context {
  return {
    volumes: resource(connection, kinds.replicatedVolumes),
    replicas: resource(connection, kinds.volumeReplicas),
    connections: resource(connection, kinds.volumeConnections),
    storageNodes: resource(connection, kinds.storageNodes),
    snapshots: resource(connection, kinds.replicatedSnapshots),
    copies: resource(connection, kinds.snapshotReplicas),
    leases: resource(connection, kinds.leases, namespace),
    nowMs: () => Date.now(),
    out,
    paint,
  };
}

/** Opens the connection of a command. @throws HoldfastError HF005 */
export function open(kubeconfigPath: string | undefined): KubeConnection {
  return connect({ kubeconfigPath, userAgent: 'holdfast' });
}

/** The volume of that name. @throws HoldfastError HF600 that lists those that there are */
export async function volumeOf({ volumes }: Context, name: string): Promise<ReplicatedVolume> {
  const volume = await volumes.get(name);
  if (volume !== undefined) return volume;
  const names = (await volumes.list()).items.map(({ metadata }) => metadata.name);
  const known = names.length === 0 ? 'there are none' : `there are ${names.slice(0, 20).join(', ')}`;
  throw new HoldfastError('HF600', `there is no volume "${name}"; ${known}`, { field: 'VOLUME' });
}

export async function replicasOf({ replicas }: Context, volume: string): Promise<readonly VolumeReplica[]> {
  return (await replicas.list({ fieldSelector: `spec.volume=${volume}` })).items;
}
