import type { ReplicatedSnapshot, ReplicatedVolume, VolumeConnection } from '../../lib/api/index.ts';
import type { KubeNode, Lease, Resource } from '../../lib/kube/client.ts';
import type { CandidateNode } from '../../operator/placement/request.ts';
import type { Changes } from '../changes.ts';
import { CsiError } from '../grpc/errors.ts';
import type { Claims } from './overrides.ts';

/** What the controller service works with: the API, and nothing of this machine. */
export interface ControllerDeps {
  readonly volumes: Pick<Resource<ReplicatedVolume>, 'get' | 'create' | 'patch' | 'delete'>;
  readonly snapshots: Pick<Resource<ReplicatedSnapshot>, 'get' | 'create' | 'delete'>;
  /** All snapshots as they were a moment ago, in any order. */
  readonly cachedSnapshots: () => readonly ReplicatedSnapshot[];
  readonly connections: Pick<Resource<VolumeConnection>, 'get'>;
  /** The Leases of the namespace where the client agents have theirs. */
  readonly leases: Pick<Resource<Lease>, 'get'>;
  /** The cluster's nodes, whose labels goals `near(client)` compare. */
  readonly nodes: Pick<Resource<KubeNode>, 'get'>;
  readonly claims: Claims;
  /** All volumes as they were a moment ago, in any order. */
  readonly cachedVolumes: () => readonly ReplicatedVolume[];
  /** One of them; undefined when it isn't known (yet, or any more). Whoever waits for `changes` is woken after it has changed. */
  readonly cachedVolume: (name: string) => ReplicatedVolume | undefined;
  /** The storage nodes as placement sees them, as they were a moment ago. */
  readonly candidates: () => readonly CandidateNode[];
  readonly changes: Changes;
}

/** What attaching works with. */
export type PublishDeps = Omit<ControllerDeps, 'claims' | 'snapshots' | 'cachedSnapshots'>;

/** What lists work with. */
export type ListDeps = Pick<ControllerDeps, 'volumes' | 'cachedVolumes'>;

/** The deadline passed while the operator works on it; the caller is to ask again. */
export function notReady(what: string, ...why: readonly (string | undefined)[]): CsiError {
  const reasons = why.filter((reason) => reason !== undefined && reason !== '');
  return new CsiError('DEADLINE_EXCEEDED', 'HF406', [what, ...reasons].join(': '));
}

/** NOT_FOUND for a volume id that no volume has. */
export function noVolume(id: string): CsiError {
  return new CsiError('NOT_FOUND', 'HF405', `there is no volume "${id}"`, 'volume_id');
}
