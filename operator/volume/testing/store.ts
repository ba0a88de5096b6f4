/** An API server for tests: objects in memory, with resource versions, UIDs, finalizers and the CRDs' rules. */
import type { KubeObject } from '../../../lib/api/index.ts';
import { mergePatch, sameJson } from '../merge-patch.ts';
import type { ReplicatedVolume, StorageNode, VolumeConnection, VolumeReplica } from '../model.ts';
import type { Store } from '../ports.ts';

export class FakeApiError extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

export type Write =
  | {
      readonly kind: 'volume';
      readonly before?: ReplicatedVolume | undefined;
      readonly after?: ReplicatedVolume | undefined;
    }
  | {
      readonly kind: 'replica';
      readonly before?: VolumeReplica | undefined;
      readonly after?: VolumeReplica | undefined;
    }
  | {
      readonly kind: 'connection';
      readonly before?: VolumeConnection | undefined;
      readonly after?: VolumeConnection | undefined;
    };

/** Objects of one kind. */
export interface Table<T extends KubeObject> {
  readonly rows: Map<string, T>;
  readonly store: Store<T>;
}

export interface FakeApi {
  readonly volumes: Table<ReplicatedVolume>;
  readonly replicas: Table<VolumeReplica>;
  readonly connections: Table<VolumeConnection>;
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

  function table<T extends KubeObject>(
    kind: Write['kind'],
    check: (before: T | undefined, after: T) => void,
  ): Table<T> {
    const rows = new Map<string, T>();

    const commit = (name: string, before: T | undefined, after: T | undefined): T => {
      if (before !== undefined && after !== undefined && sameJson(before, after)) {
        return after;
      }
      const stamped =
        after === undefined
          ? undefined
          : { ...after, metadata: { ...after.metadata, resourceVersion: String((version += 1)) } };
      const gone =
        stamped?.metadata.deletionTimestamp !== undefined && (stamped.metadata.finalizers ?? []).length === 0;
      if (stamped === undefined || gone) rows.delete(name);
      else rows.set(name, stamped);
      writes += 1;
      onWrite({ kind, before, after: gone ? undefined : stamped } as Write, api);
      return structuredClone(stamped ?? after ?? before) as T;
    };

    const existing = (name: string): T => {
      const row = rows.get(name);
      if (row === undefined) throw new FakeApiError(404, 'NotFound', `${kind} ${name} not found`);
      return row;
    };

    const store: Store<T> = {
      get: async (name) => structuredClone(rows.get(name)),
      list: async ({ fieldSelector = '' } = {}) => {
        const [path = '', value] = fieldSelector.split('=');
        const items = [...rows.values()].filter((row) => path === '' || at(row, path) === value);
        return { items: structuredClone(items) };
      },
      create: async (object) => {
        const { name } = object.metadata;
        if (rows.has(name)) throw new FakeApiError(409, 'AlreadyExists', `${kind} ${name} already exists`);
        const after = structuredClone(object);
        after.metadata = {
          ...after.metadata,
          uid: `uid-${(uids += 1)}`,
          creationTimestamp: new Date(now()).toISOString(),
        };
        check(undefined, after);
        return commit(name, undefined, after);
      },
      patch: async (name, patch, options) => {
        const before = existing(name);
        const { metadata = {}, spec, status } = patch as { metadata?: object; spec?: object; status?: object };
        const { resourceVersion, uid, finalizers } = metadata as NonNullable<Partial<T['metadata']>>;
        const stale = resourceVersion !== undefined && resourceVersion !== before.metadata.resourceVersion;
        if (stale || (uid !== undefined && uid !== before.metadata.uid)) {
          throw new FakeApiError(409, 'Conflict', `${kind} ${name}: the object has been modified`);
        }
        const change =
          options?.subresource === 'status'
            ? { status }
            : {
                ...(finalizers === undefined ? {} : { metadata: { finalizers } }),
                ...(spec === undefined ? {} : { spec }),
              };
        const after = mergePatch(before, structuredClone(change)) as T;
        check(before, after);
        return commit(name, before, after);
      },
      delete: async (name, preconditions) => {
        const before = rows.get(name);
        if (before === undefined) return;
        if (preconditions?.uid !== undefined && preconditions.uid !== before.metadata.uid) {
          throw new FakeApiError(409, 'Conflict', `${kind} ${name}: another object by now`);
        }
        if (before.metadata.deletionTimestamp !== undefined) return;
        const deletionTimestamp = new Date(now()).toISOString();
        commit(name, before, { ...before, metadata: { ...before.metadata, deletionTimestamp } });
      },
    };
    return { rows, store };
  }

  const api: FakeApi = {
    volumes: table<ReplicatedVolume>('volume', checkVolume),
    replicas: table<VolumeReplica>('replica', checkReplica),
    connections: table<VolumeConnection>('connection', (before, after) => {
      insist(before === undefined || after.spec.epoch >= before.spec.epoch, 'the epoch never falls');
    }),
    nodes: new Map(),
    writes: () => writes,
  };
  return api;
}

function at(row: object, path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], row);
}

function insist(holds: boolean, message: string): void {
  if (!holds) throw new FakeApiError(422, 'Invalid', message);
}

// The CEL rules of crds/*.yaml.

function checkVolume(before: ReplicatedVolume | undefined, after: ReplicatedVolume): void {
  const old = before?.status;
  const now = after.status;
  insist(old?.attachment === undefined || now?.attachment !== undefined, 'the attachment record is never removed');
  insist((now?.attachment?.epoch ?? 0) >= (old?.attachment?.epoch ?? 0), 'the attachment epoch never falls');
  insist(
    (old?.inSync ?? []).length === 0 || (now?.inSync ?? []).length > 0,
    'the last in-sync replica is never removed',
  );
}

function checkReplica(before: VolumeReplica | undefined, after: VolumeReplica): void {
  if (before === undefined) return;
  const [old, now] = [before.spec, after.spec];
  insist(
    now.epoch > old.epoch || (now.epoch === old.epoch && now.hostNqn === old.hostNqn),
    'the epoch never falls, and another host needs a higher epoch',
  );
  insist(old.state !== 'Orphan' || now.state === 'Orphan', 'an orphan never becomes active again');
}
