/** The simulated API server: tables of objects that commit in one order, and the watchers who are told of each commit. */
import { schemas } from '../../lib/api/generated/schemas.ts';
import type { Schema } from '../../lib/api/crd.ts';
import type { KubeObject } from '../../lib/api/index.ts';
import type { Lease, ResourceKind } from '../../lib/kube/kinds.ts';
import { kinds } from '../../lib/kube/kinds.ts';
import type { ReplicatedVolume, StorageNode, VolumeConnection, VolumeReplica } from '../../operator/volume/model.ts';
import type { Commit, Table } from '../../operator/volume/testing/table.ts';
import { createTable } from '../../operator/volume/testing/table.ts';
import { rulesOf } from './rules.ts';
import { WORLD_BEGAN_MS } from './scheduler.ts';

/** One accepted write. */
export interface Change<T extends KubeObject = KubeObject> extends Commit<T> {
  readonly kind: string;
  /** Virtual time. */
  readonly atMs: number;
}

export interface ApiServer {
  readonly volumes: Table<ReplicatedVolume>;
  readonly replicas: Table<VolumeReplica>;
  readonly connections: Table<VolumeConnection>;
  readonly nodes: Table<StorageNode>;
  readonly leases: Table<Lease>;
  table<T extends KubeObject>(kind: ResourceKind<T>): Table<T>;
  /** All changes of a kind since the world began, in order. */
  changes(kind: ResourceKind<KubeObject>): readonly Change[];
  /** Calls `wake` after each change of the kind, until the returned function is called. */
  watch(kind: ResourceKind<KubeObject>, wake: (change: Change) => void): () => void;
  /** Called with each accepted write before anybody learns of it. */
  onCommit: (change: Change) => void;
  /**
   * etcd is restored from a backup: all objects are as they were at that time. No rule is asked, and nobody's `onCommit`; those who
   * watch are told, as they would list again.
   * @param bumped resource versions go on from where they were, instead of being given out once more
   */
  restore(toMs: number, bumped: boolean): void;
}

export function createApiServer(nowMs: () => number): ApiServer {
  let version = 0;
  let uids = 0;
  const logs = new Map<string, Change[]>();
  const watchers = new Map<string, Set<(change: Change) => void>>();
  const tables = new Map<string, Table<never>>();
  const make = <T extends KubeObject>(kind: ResourceKind<T>): Table<T> => {
    const check = rulesOf(kind.kind);
    const log: Change[] = [];
    const wakes = new Set<(change: Change) => void>();
    logs.set(kind.kind, log);
    watchers.set(kind.kind, wakes);
    const table = createTable<T>({
      kind: kind.kind,
      ...(check === undefined ? {} : { check }),
      nowMs: () => WORLD_BEGAN_MS + nowMs(),
      nextVersion: () => String((version += 1)),
      nextUid: () => `${String((uids += 1)).padStart(8, '0')}-0000-4000-8000-000000000000`,
      onCommit: (commit) => {
        const change: Change = { ...commit, kind: kind.kind, atMs: nowMs() };
        log.push(change);
        api.onCommit(change);
        for (const wake of wakes) wake(change);
      },
    });
    const schema = (schemas as Readonly<Record<string, Schema>>)[kind.kind];
    const withDefaults: Table<T> = {
      ...table,
      create: (object) => table.create(schema === undefined ? object : (filled(schema, object) as T)),
    };
    tables.set(kind.kind, withDefaults as unknown as Table<never>);
    return withDefaults;
  };
  const found = <V>(map: ReadonlyMap<string, V>, kind: ResourceKind<KubeObject>): V => {
    const value = map.get(kind.kind);
    if (value === undefined) throw new Error(`the simulated API server has no ${kind.kind}`);
    return value;
  };
  for (const kind of Object.values(kinds)) make<KubeObject>(kind);
  const api: ApiServer = {
    volumes: make(kinds.replicatedVolumes),
    replicas: make(kinds.volumeReplicas),
    connections: make(kinds.volumeConnections),
    nodes: make(kinds.storageNodes),
    leases: make(kinds.leases),
    table: <T extends KubeObject>(kind: ResourceKind<T>) => found(tables, kind),
    changes: (kind) => found(logs, kind),
    watch: (kind, wake) => {
      const wakes = found(watchers, kind);
      wakes.add(wake);
      return () => wakes.delete(wake);
    },
    onCommit: () => undefined,
    restore: (toMs, bumped) => {
      let least = 0;
      for (const [kind, log] of logs) {
        const rows = tables.get(kind)?.rows as Map<string, KubeObject> | undefined;
        const then = new Map<string, KubeObject>();
        for (const { atMs, name, after } of log) {
          if (atMs > toMs) break;
          if (after === undefined) then.delete(name);
          else then.set(name, after);
        }
        for (const name of new Set([...then.keys(), ...(rows?.keys() ?? [])])) {
          const [before, after] = [rows?.get(name), then.get(name)];
          least = Math.max(least, Number(after?.metadata.resourceVersion ?? 0));
          if (before === after) continue;
          if (after === undefined) rows?.delete(name);
          else rows?.set(name, after);
          const change: Change = { kind, name, before, after, atMs: nowMs() };
          log.push(change);
          for (const wake of watchers.get(kind) ?? []) wake(change);
        }
      }
      if (!bumped) version = least;
    },
  };
  return api;
}

/** An object with the defaults of its CRD filled in, as the API server does it. */
function filled(schema: Schema, value: unknown): unknown {
  if (Array.isArray(value)) {
    const { items } = schema;
    return items === undefined ? value : value.map((item) => filled(items, item));
  }
  if (typeof value !== 'object' || value === null || schema.properties === undefined) return value;
  const result: Record<string, unknown> = { ...value };
  for (const [key, inner] of Object.entries(schema.properties)) {
    const given = result[key] ?? inner.default;
    if (given !== undefined) result[key] = filled(inner, given);
  }
  return result;
}
