import type { KubeObject, ObjectMeta } from '../api/meta.ts';
import type { HttpRequest, KubeConnection } from './connection.ts';
import { errorOfResponse, KubeError } from './error.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** `?a=b&c=d` of what is set, or nothing. */
export function query(parameters: Query): string {
  const set = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== '');
  return set.length === 0
    ? ''
    : `?${new URLSearchParams(set.map(([key, value]): [string, string] => [key, String(value)])).toString()}`;
}

/** One exchange whose answer is JSON. Throws KubeError for a refusal and for no answer. */
export async function exchange<R>(connection: KubeConnection, request: HttpRequest): Promise<R> {
  const response = await connection.request(request);
  if (response.status >= 300) {
    const what = `${request.method} ${request.path.split('?')[0]}`;
    throw errorOfResponse(what, response.status, response.body, response.retryAfter);
  }
  try {
    return JSON.parse(response.body) as R;
  } catch (error) {
    const what = `${request.method} ${request.path.split('?')[0]}`;
    throw new KubeError(0, 'BadAnswer', `${what}: the answer is no JSON`, { cause: error });
  }
}

/**
 * Drops `managedFields`, which is often larger than the object and which nobody here reads. An update without it leaves
 * it alone.
 */
export function slim<T extends KubeObject>(object: T): T {
  // A copy, because deleting a property makes an object slow and large in V8.
  const { managedFields: _, ...metadata }: ObjectMeta & { managedFields?: unknown } = object.metadata;
  object.metadata = metadata;
  return object;
}
