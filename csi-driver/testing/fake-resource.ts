import type { KubeObject } from '../../lib/api/meta.ts';
import { KubeError, type Resource } from '../../lib/kube/client.ts';

/** An API server's store for one kind, in memory: resourceVersions, preconditions, finalizers and merge patches work. */
export interface FakeResource<T extends KubeObject> extends Pick<Resource<T>, 'get' | 'create' | 'patch' | 'delete'> {
  /** The stored object itself; undefined when there is none. */
  peek(name: string): T | undefined;
  /** All stored objects. */
  all(): readonly T[];
  /** Stores an object as another writer would, and tells the watchers. */
  put(object: T): T;
  /** Removes it whatever its finalizers. */
  remove(name: string): void;
  /** Called once before the next write is looked at: the place for another writer to come in between. */
  beforeWrite(action: () => void): void;
  /** Every write that was accepted. */
  readonly writes: readonly {
    readonly verb: 'create' | 'patch' | 'delete';
    readonly name: string;
    readonly body: unknown;
  }[];
}

export function fakeResource<T extends KubeObject>(
  onChange: (object: T) => void = () => undefined,
  defaults: (object: T) => T = (object) => object,
): FakeResource<T> {
  const objects = new Map<string, T>();
  const writes: { verb: 'create' | 'patch' | 'delete'; name: string; body: unknown }[] = [];
  let version = 0;
  let intruder: (() => void) | undefined;

  const store = (object: T): T => {
    version += 1;
    const { name } = object.metadata;
    const before = objects.get(name)?.metadata;
    const metadata = {
      ...object.metadata,
      uid: object.metadata.uid ?? before?.uid ?? `uid-${name}-${version}`,
      resourceVersion: String(version),
    };
    const stored = structuredClone({ ...object, metadata });
    objects.set(name, stored);
    onChange(stored);
    return structuredClone(stored);
  };
  const intrude = (): void => {
    const action = intruder;
    intruder = undefined;
    action?.();
  };
  const check = (found: T, wanted: { uid?: string; resourceVersion?: string } = {}): void => {
    const { uid, resourceVersion } = found.metadata;
    const stale =
      (wanted.resourceVersion !== undefined && wanted.resourceVersion !== resourceVersion) ||
      (wanted.uid !== undefined && wanted.uid !== uid);
    if (stale) throw new KubeError(409, 'Conflict', `${found.metadata.name}: the object has been modified`);
  };

  return {
    writes,
    peek: (name) => objects.get(name),
    all: () => [...objects.values()],
    put: store,
    remove(name) {
      const found = objects.get(name);
      objects.delete(name);
      if (found !== undefined) onChange(found);
    },
    beforeWrite(action) {
      intruder = action;
    },
    get: async (name) => structuredClone(objects.get(name)),
    async create(object) {
      intrude();
      const { name } = object.metadata;
      if (objects.has(name)) throw new KubeError(409, 'AlreadyExists', `${name} already exists`);
      writes.push({ verb: 'create', name, body: structuredClone(object) });
      return store(defaults(object));
    },
    async patch(name, mergePatch) {
      intrude();
      const found = objects.get(name);
      if (found === undefined) throw new KubeError(404, 'NotFound', `${name} not found`);
      check(found, (mergePatch as Partial<KubeObject>).metadata);
      writes.push({ verb: 'patch', name, body: structuredClone(mergePatch) });
      return store(merge(found, mergePatch) as T);
    },
    async delete(name, preconditions) {
      intrude();
      const found = objects.get(name);
      if (found === undefined) return;
      check(found, preconditions);
      writes.push({ verb: 'delete', name, body: preconditions });
      if ((found.metadata.finalizers ?? []).length === 0) {
        objects.delete(name);
        onChange(found);
      } else {
        store({ ...found, metadata: { ...found.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } });
      }
    },
  };
}

/** RFC 7396. */
function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const base = typeof target === 'object' && target !== null && !Array.isArray(target) ? target : {};
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merge(result[key], value);
  }
  return result;
}
