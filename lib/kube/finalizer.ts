import type { KubeObject } from '../api/meta.ts';
import type { Resource } from './client.ts';
import { KubeError } from './error.ts';

/**
 * Adds a finalizer, unless the object has it. The object's resourceVersion is a precondition, because a merge patch
 * replaces the whole list.
 * @returns the object as it is now.
 * @throws KubeError with isConflict when the object has changed meanwhile: read it again.
 */
export async function addFinalizer<T extends KubeObject>(
  resource: Resource<T>,
  object: T,
  finalizer: string,
): Promise<T> {
  const present = object.metadata.finalizers ?? [];
  if (present.includes(finalizer)) return object;
  return await patchFinalizers(resource, object, [...present, finalizer]);
}

/**
 * Takes a finalizer away, which lets a deletion go on: only after what it stands for is proved to be done. An object that
 * is gone is as wanted.
 * @returns the object as it is now (as given when it is gone).
 * @throws KubeError with isConflict when the object has changed meanwhile: read it again.
 */
export async function removeFinalizer<T extends KubeObject>(
  resource: Resource<T>,
  object: T,
  finalizer: string,
): Promise<T> {
  const present = object.metadata.finalizers ?? [];
  if (!present.includes(finalizer)) return object;
  try {
    return await patchFinalizers(
      resource,
      object,
      present.filter((each) => each !== finalizer),
    );
  } catch (error) {
    if (error instanceof KubeError && error.isNotFound) return object;
    throw error;
  }
}

async function patchFinalizers<T extends KubeObject>(
  resource: Resource<T>,
  { metadata: { name, uid, resourceVersion } }: T,
  finalizers: readonly string[],
): Promise<T> {
  // The uid keeps us off another object that has taken the name.
  return await resource.patch(name, { metadata: { uid, resourceVersion, finalizers } });
}
