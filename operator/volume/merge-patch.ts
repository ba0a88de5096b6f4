/** JSON merge patch (RFC 7386) over plain JSON values. */

type Json = unknown;

/** `target` with `patch` applied; neither is changed. null removes a key, arrays are replaced as a whole. */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isObject(patch)) {
    return patch;
  }
  const result: Record<string, Json> = { ...(isObject(target) ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) {
      delete result[key];
    } else if (value !== undefined) {
      result[key] = mergePatch(result[key], value);
    }
  }
  return result;
}

/** Whether two JSON values are the same; the order of keys doesn't matter. A key whose value is undefined is absent. */
export function sameJson(a: Json, b: Json): boolean {
  if (a === b) return true;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((x, i) => sameJson(x, b[i]));
  }
  if (isObject(a) && isObject(b)) {
    return (
      Object.keys(a).every((key) => sameJson(a[key], b[key])) &&
      Object.keys(b).every((key) => key in a || b[key] === undefined)
    );
  }
  return false;
}

function isObject(value: Json): value is Readonly<Record<string, Json>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
