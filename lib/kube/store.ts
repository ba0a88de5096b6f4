/** Objects by key, and by the values of some indexes. */
export interface Store<T> {
  keyOf(object: T): string;
  get(key: string): T | undefined;
  list(): readonly T[];
  byIndex(index: string, value: string): readonly T[];
  set(object: T): void;
  delete(key: string): void;
}

export interface StoreOptions<T> {
  readonly keyOf: (object: T) => string;
  readonly indexes: Readonly<Record<string, (object: T) => string[]>>;
}

export function createStore<T>({ keyOf, indexes }: StoreOptions<T>): Store<T> {
  const objects = new Map<string, T>();
  const found = new Map(Object.keys(indexes).map((name) => [name, new Map<string, Set<string>>()]));

  function unindex(key: string, object: T): void {
    for (const [name, values] of Object.entries(indexes)) {
      const entries = found.get(name);
      for (const value of values(object)) {
        const keys = entries?.get(value);
        keys?.delete(key);
        if (keys?.size === 0) entries?.delete(value);
      }
    }
  }

  function index(key: string, object: T): void {
    for (const [name, values] of Object.entries(indexes)) {
      const entries = found.get(name);
      for (const value of values(object)) {
        const keys = entries?.get(value);
        if (keys) keys.add(key);
        else entries?.set(value, new Set([key]));
      }
    }
  }

  function remove(key: string): void {
    const before = objects.get(key);
    if (before === undefined) return;
    unindex(key, before);
    objects.delete(key);
  }

  return {
    keyOf,
    get: (key) => objects.get(key),
    list: () => [...objects.values()],
    byIndex: (name, value) => {
      const entries = found.get(name);
      if (!entries) throw new TypeError(`there is no index "${name}"; there are: ${[...found.keys()].join(', ')}`);
      return [...(entries.get(value) ?? [])].flatMap((key) => objects.get(key) ?? []);
    },
    set: (object) => {
      const key = keyOf(object);
      const before = objects.get(key);
      if (before !== undefined) unindex(key, before);
      objects.set(key, object);
      index(key, object);
    },
    delete: remove,
  };
}
