/**
 * Objects of one kind as the API server keeps them: resource versions, generations, UIDs, finalizers, preconditions and the
 * CRDs' rules. Nothing is ever changed in place, so what is handed out may be kept.
 */
import type { KubeObject } from '../../../lib/api/index.ts';
import { KubeError } from '../../../lib/kube/error.ts';
import { mergePatch, sameJson } from '../merge-patch.ts';
import type { ReplicatedVolume, VolumeConnection, VolumeReplica } from '../model.ts';

export interface Table<T extends KubeObject> {
  readonly rows: Map<string, T>;
  /** @param fieldSelector `path=value`, or empty for all */
  list(fieldSelector?: string): T[];
  create(object: T): T;
  patch(name: string, patch: object, subresource?: 'status'): T;
  /** Server-side apply of the only manager that the object's status has: the status is what it says. */
  applyStatus(name: string, status: object): T;
  replace(object: T): T;
  delete(name: string, preconditions?: { uid?: string; resourceVersion?: string }): void;
}

export interface Commit<T> {
  readonly name: string;
  readonly before: T | undefined;
  /** Undefined when the object is gone. */
  readonly after: T | undefined;
}

export interface TableOptions<T extends KubeObject> {
  readonly kind: string;
  /** The CRD's rules. @throws KubeError with status 422 */
  readonly check?: (before: T | undefined, after: T) => void;
  readonly nowMs: () => number;
  /** The next resource version, and the next UID: both are the whole server's. */
  readonly nextVersion: () => string;
  readonly nextUid: () => string;
  /** Called after each accepted write that changed something. */
  readonly onCommit: (commit: Commit<T>) => void;
}

type Loose = KubeObject & { readonly spec?: unknown; readonly status?: unknown };

export function createTable<T extends KubeObject>(options: TableOptions<T>): Table<T> {
  const { kind, check, nowMs, nextVersion, nextUid, onCommit } = options;
  const rows = new Map<string, T>();

  const commit = (name: string, before: T | undefined, after: T): T => {
    if (before !== undefined && sameJson(before, after)) return before;
    const { deletionTimestamp, finalizers = [], generation = 0 } = after.metadata;
    const isNews =
      !sameJson((before as Loose | undefined)?.spec, (after as Loose).spec) ||
      before?.metadata.deletionTimestamp !== deletionTimestamp;
    const stamped: T = {
      ...after,
      metadata: {
        ...after.metadata,
        resourceVersion: nextVersion(),
        generation: isNews ? generation + 1 : generation,
      },
    };
    const isGone = deletionTimestamp !== undefined && finalizers.length === 0;
    if (isGone) rows.delete(name);
    else rows.set(name, stamped);
    onCommit({ name, before, after: isGone ? undefined : stamped });
    return stamped;
  };

  const existing = (name: string): T => {
    const row = rows.get(name);
    if (row === undefined) throw new KubeError(404, 'NotFound', `${kind} ${name} not found`);
    return row;
  };

  const insistOn = (row: T, wanted: { uid?: string | undefined; resourceVersion?: string | undefined }): void => {
    const stale = wanted.resourceVersion !== undefined && wanted.resourceVersion !== row.metadata.resourceVersion;
    if (stale || (wanted.uid !== undefined && wanted.uid !== row.metadata.uid)) {
      throw new KubeError(409, 'Conflict', `${kind} ${row.metadata.name}: the object has been modified`);
    }
  };

  const change = (before: T, after: T): T => {
    check?.(before, after);
    return commit(before.metadata.name, before, after);
  };

  return {
    rows,
    list: (fieldSelector = '') => {
      const matches = selector(fieldSelector);
      return [...rows.values()].filter(matches);
    },
    create: (object) => {
      const { name } = object.metadata;
      if (rows.has(name)) throw new KubeError(409, 'AlreadyExists', `${kind} ${name} already exists`);
      const creationTimestamp = new Date(nowMs()).toISOString();
      const after: T = { ...object, metadata: { ...object.metadata, uid: nextUid(), creationTimestamp } };
      check?.(undefined, after);
      return commit(name, undefined, after);
    },
    patch: (name, patch, subresource) => {
      const before = existing(name);
      const { metadata, ...rest } = patch as {
        metadata?: Partial<KubeObject['metadata']>;
        spec?: object;
        status?: object;
      };
      insistOn(before, metadata ?? {});
      const { finalizers, annotations } = metadata ?? {};
      const wanted =
        subresource === 'status' ? { status: rest.status } : { metadata: { finalizers, annotations }, spec: rest.spec };
      return change(before, mergePatch(before, wanted) as T);
    },
    applyStatus: (name, status) => {
      const before = existing(name);
      return change(before, { ...before, status });
    },
    replace: (object) => {
      const before = existing(object.metadata.name);
      insistOn(before, object.metadata);
      return change(before, object);
    },
    delete: (name, preconditions = {}) => {
      const before = rows.get(name);
      if (before === undefined) return;
      insistOn(before, preconditions);
      if (before.metadata.deletionTimestamp !== undefined) return;
      const deletionTimestamp = new Date(nowMs()).toISOString();
      commit(name, before, { ...before, metadata: { ...before.metadata, deletionTimestamp } });
    },
  };
}

/** Whether an object is selected by a field selector of one term. */
export function selector(fieldSelector: string): (row: object) => boolean {
  const [path = '', value] = fieldSelector.split('=');
  if (path === '') return () => true;
  const keys = path.split('.');
  return (row) => keys.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], row) === value;
}

function insist(holds: boolean, message: string): void {
  if (!holds) throw new KubeError(422, 'Invalid', message);
}

// The CEL rules of crds/*.yaml that data safety rests on.

export function checkVolume(before: ReplicatedVolume | undefined, after: ReplicatedVolume): void {
  const old = before?.status;
  const now = after.status;
  insist(old?.attachment === undefined || now?.attachment !== undefined, 'the attachment record is never removed');
  insist((now?.attachment?.epoch ?? 0) >= (old?.attachment?.epoch ?? 0), 'the attachment epoch never falls');
  insist(
    (old?.inSync ?? []).length === 0 || (now?.inSync ?? []).length > 0,
    'the last in-sync replica is never removed',
  );
}

export function checkReplica(before: VolumeReplica | undefined, after: VolumeReplica): void {
  if (before === undefined) return;
  const [old, now] = [before.spec, after.spec];
  insist(
    now.epoch > old.epoch || (now.epoch === old.epoch && now.hostNqn === old.hostNqn),
    'the epoch never falls, and another host needs a higher epoch',
  );
  insist(old.state !== 'Orphan' || now.state === 'Orphan', 'an orphan never becomes active again');
}

export function checkConnection(before: VolumeConnection | undefined, after: VolumeConnection): void {
  insist(before === undefined || after.spec.epoch >= before.spec.epoch, 'the epoch never falls');
}
