import { connectionName } from '../../lib/api/names.ts';
import type { Action, RecordChange } from './actions.ts';
import type { ReplicatedVolume } from './model.ts';

/**
 * The objects beside the volume that a guard asks for: nothing else has to be read. By name where the volume is handed from one
 * client to another: a list is answered from the API server's cache, and waits until that has caught up with etcd, up to 100 ms
 * after anything at all was written (KEP-2340; cacher/progress_requester.go, progressRequestPeriod).
 */
export interface Needed {
  readonly replicas: Names | undefined;
  readonly connections: Names | undefined;
}

/** All that name the volume, or these. */
export type Names = 'all' | readonly string[];

/** What `objectToRecord` asks for. */
export function neededForRecord({ kind }: RecordChange, volume: ReplicatedVolume): Needed {
  switch (kind) {
    case 'place':
      return { replicas: undefined, connections: undefined };
    case 'grant':
    case 'fenced':
    case 'forceStart':
      return { replicas: recordedNames(volume), connections: undefined };
    case 'released':
      return { replicas: recordedNames(volume), connections: clientConnection(volume) };
    case 'initialise':
    case 'replace':
    case 'forget':
      return { replicas: 'all', connections: undefined };
  }
}

/** What `objectToAction` asks for, and whoever looks whether it is done already. */
export function neededForAction(action: Action, volume: ReplicatedVolume): Needed {
  switch (action.kind) {
    case 'addFinalizer':
    case 'createReplica':
      return { replicas: undefined, connections: undefined };
    case 'removeFinalizer':
      return { replicas: undefined, connections: wasAttached(volume) ? 'all' : undefined };
    case 'setAccess':
    case 'setSize':
    case 'setLineage':
      return { replicas: [action.name], connections: undefined };
    case 'setDrain':
      return { replicas: [action.name], connections: clientConnection(volume) };
    case 'orphanReplica':
    case 'deleteReplica':
      return { replicas: 'all', connections: undefined };
    case 'releaseConnection':
      return { replicas: undefined, connections: [action.name] };
    case 'createConnection':
    case 'updateConnection':
    case 'deleteConnection':
      return { replicas: recordedNames(volume), connections: [action.name] };
  }
}

const recordedNames = ({ status }: ReplicatedVolume): readonly string[] =>
  (status?.replicas ?? []).map(({ name }) => name);

/** The connection of the client that has the volume. */
function clientConnection({ metadata, status }: ReplicatedVolume): readonly string[] {
  const client = status?.attachment?.node ?? '';
  return client === '' ? [] : [connectionName(metadata.name, client)];
}

/** Before that no connection can have been made. */
export function wasAttached({ status }: ReplicatedVolume): boolean {
  return (status?.attachment?.epoch ?? 0) > 0;
}
