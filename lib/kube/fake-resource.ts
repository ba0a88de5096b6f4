import type { KubeObject } from '../api/meta.ts';
import type { Resource } from './client.ts';
import { KubeError } from './error.ts';

/** Objects in memory that behave as the API server does about names, versions, uids, finalizers and patches; for tests. */
export interface FakeResource<T extends KubeObject> extends Resource<T> {
  /** Called before each request: throw to let it fail, or wait to let it hang. */
  before: (method: string, name: string) => void | Promise<void>;
  readonly objects: ReadonlyMap<string, T>;
  /** `method name` of every request. */
  readonly requests: readonly string[];
}

export function createFakeResource<T extends KubeObject>(): FakeResource<T> {
  const objects = new Map<string, T>();
  const requests: string[] = [];
  let version = 0;
  let uids = 0;

  async function begin(method: string, name: string): Promise<void> {
    requests.push(`${method} ${name}`);
    await fake.before(method, name);
  }

  function existing(name: string): T {
    const object = objects.get(name);
    if (!object) throw new KubeError(404, 'NotFound', `"${name}" not found`);
    return object;
  }

  function store(object: T): T {
    version += 1;
    const stored = structuredClone({ ...object, metadata: { ...object.metadata, resourceVersion: String(version) } });
    const { deletionTimestamp, finalizers = [] } = stored.metadata;
    if (deletionTimestamp !== undefined && finalizers.length === 0) objects.delete(stored.metadata.name);
    else objects.set(stored.metadata.name, stored);
    return structuredClone(stored);
  }

  function checkVersion(found: T, wanted: { resourceVersion?: string; uid?: string } | undefined): void {
    const { resourceVersion, uid } = wanted ?? {};
    if (resourceVersion !== undefined && resourceVersion !== found.metadata.resourceVersion) {
      throw new KubeError(409, 'Conflict', `"${found.metadata.name}" has been modified`);
    }
    if (uid !== undefined && uid !== found.metadata.uid) {
      throw new KubeError(409, 'Conflict', `"${found.metadata.name}" has another uid`);
    }
  }

  async function mergeInto(method: string, name: string, patch: object, subresource: string | undefined): Promise<T> {
    await begin(method, name);
    const found = existing(name);
    checkVersion(found, (patch as Partial<KubeObject>).metadata);
    const merged = merge(found, patch) as T & { spec?: unknown; status?: unknown };
    const original = found as T & { spec?: unknown; status?: unknown };
    const kept = subresource === 'status' ? { spec: original.spec } : { status: original.status };
    return store(withoutUndefined({ ...merged, ...kept }));
  }

  const fake: FakeResource<T> = {
    before: () => undefined,
    objects,
    requests,
    get: async (name) => {
      await begin('get', name);
      return structuredClone(objects.get(name));
    },
    list: async () => {
      await begin('list', '');
      return { items: structuredClone([...objects.values()]), resourceVersion: String(version) };
    },
    create: async (object) => {
      const { name } = object.metadata;
      await begin('create', name);
      if (objects.has(name)) throw new KubeError(409, 'AlreadyExists', `"${name}" already exists`);
      uids += 1;
      return store({ ...object, metadata: { ...object.metadata, uid: `uid-${uids}` } });
    },
    apply: async (object, options) => {
      const name = object.metadata?.name ?? '';
      if (objects.has(name)) return await mergeInto('apply', name, object, options.subresource);
      return await fake.create(object as T);
    },
    patch: async (name, patch, options) => await mergeInto('patch', name, patch, options?.subresource),
    replace: async (object) => {
      await begin('replace', object.metadata.name);
      checkVersion(existing(object.metadata.name), object.metadata);
      return store(object);
    },
    delete: async (name, preconditions) => {
      await begin('delete', name);
      const found = objects.get(name);
      if (!found) return;
      checkVersion(found, preconditions);
      store({ ...found, metadata: { ...found.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } });
    },
  };
  return fake;
}

/** JSON merge patch (RFC 7386). */
function merge(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const isObject = typeof target === 'object' && target !== null && !Array.isArray(target);
  const result: Record<string, unknown> = isObject ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(result, key);
    else if (value !== undefined) result[key] = merge(result[key], value);
  }
  return result;
}

function withoutUndefined<O extends object>(object: O): O {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as O;
}
