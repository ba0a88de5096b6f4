/** An API server for the operator's tests: the kinds that it reads and writes, with a call at each write. */
import type { KubeObject } from '../../../lib/api/index.ts';
import type { ReplicatedVolume, StorageNode, VolumeConnection, VolumeReplica } from '../model.ts';
import type { Store } from '../ports.ts';
import type { Commit, Table } from './table.ts';
import { checkConnection, checkReplica, checkVolume, createTable } from './table.ts';

export type Write =
  | ({ readonly kind: 'volume' } & Omit<Commit<ReplicatedVolume>, 'name'>)
  | ({ readonly kind: 'replica' } & Omit<Commit<VolumeReplica>, 'name'>)
  | ({ readonly kind: 'connection' } & Omit<Commit<VolumeConnection>, 'name'>);

/** Objects of one kind, and the way to them that a program has. */
export interface StoredTable<T extends KubeObject> {
  readonly rows: Map<string, T>;
  readonly store: Store<T>;
}

export interface FakeApi {
  readonly volumes: StoredTable<ReplicatedVolume>;
  readonly replicas: StoredTable<VolumeReplica>;
  readonly connections: StoredTable<VolumeConnection>;
  readonly nodes: Map<string, StorageNode>;
  /** How many writes have been accepted. */
  readonly writes: () => number;
}

/**
 * @param now the time for creation and deletion stamps
 * @param onWrite called after each accepted write; what it throws reaches the writer, whose write has been done
 */
export function createFakeApi(now: () => number, onWrite: (write: Write, api: FakeApi) => void): FakeApi {
  let version = 0;
  let uids = 0;
  let writes = 0;
  const table = <T extends KubeObject>(
    kind: Write['kind'],
    check: (before: T | undefined, after: T) => void,
  ): StoredTable<T> => {
    const made = createTable<T>({
      kind,
      check,
      nowMs: now,
      nextVersion: () => String((version += 1)),
      nextUid: () => `uid-${(uids += 1)}`,
      onCommit: ({ before, after }) => {
        writes += 1;
        onWrite({ kind, before, after } as unknown as Write, api);
      },
    });
    return { rows: made.rows, store: storeOver(made) };
  };
  const api: FakeApi = {
    volumes: table<ReplicatedVolume>('volume', checkVolume),
    replicas: table<VolumeReplica>('replica', checkReplica),
    connections: table<VolumeConnection>('connection', checkConnection),
    nodes: new Map(),
    writes: () => writes,
  };
  return api;
}

/** Answers at once, with copies: a test may do with them what it likes. */
function storeOver<T extends KubeObject>(table: Table<T>): Store<T> {
  return {
    get: async (name) => structuredClone(table.rows.get(name)),
    list: async ({ fieldSelector } = {}) => ({ items: structuredClone(table.list(fieldSelector)) }),
    create: async (object) => structuredClone(table.create(structuredClone(object))),
    patch: async (name, patch, options) =>
      structuredClone(table.patch(name, structuredClone(patch), options?.subresource)),
    delete: async (name, preconditions) => table.delete(name, preconditions),
  };
}
