import type { KubeObject } from '../api/meta.ts';
import { API_GROUP } from '../api/names.ts';
import type { KubeConnection } from './connection.ts';
import { KubeError } from './error.ts';
import { apiVersionOf, collectionPath, type ResourceKind } from './kinds.ts';
import { exchange, query, slim } from './wire.ts';

const PAGE_SIZE = 500;

export interface ObjectList<T> {
  readonly items: T[];
  /** The moment of the list: a watch goes on from here. */
  readonly resourceVersion: string;
}

export interface ListQuery {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  /** Deadline of each page. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * All objects of a kind as of one moment, fetched in pages. When a page comes so late that the server has forgotten the
 * moment, everything is fetched again in one piece.
 */
export async function listAll<T extends KubeObject>(
  connection: KubeConnection,
  kind: ResourceKind<T>,
  options: ListQuery,
): Promise<ObjectList<T>> {
  try {
    return await listPages(connection, kind, options, PAGE_SIZE);
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    if (error.isExpired) return await listPages(connection, kind, options, undefined);
    if (error.isNotFound) throw unknownKind(kind, error);
    throw error;
  }
}

/** The server only says that it has no such page: say what that means. */
function unknownKind(kind: ResourceKind<KubeObject>, cause: KubeError): KubeError {
  const name = kind.group === '' ? kind.plural : `${kind.plural}.${kind.group}`;
  const remedy = kind.group === API_GROUP ? '; install the CustomResourceDefinitions (kubectl apply -f crds/)' : '';
  const message = `HF006: the API server does not know ${name} in version ${kind.version}${remedy}`;
  return new KubeError(404, 'NotFound', message, { cause });
}

interface Page<T> {
  readonly items: T[];
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
}

async function listPages<T extends KubeObject>(
  connection: KubeConnection,
  kind: ResourceKind<T>,
  { namespace, labelSelector, fieldSelector, timeoutMs, signal }: ListQuery,
  limit: number | undefined,
): Promise<ObjectList<T>> {
  const items: T[] = [];
  let next: string | undefined;
  for (;;) {
    const page: Page<T> = await exchange(connection, {
      method: 'GET',
      path: collectionPath(kind, namespace) + query({ labelSelector, fieldSelector, limit, continue: next }),
      timeoutMs,
      signal,
    });
    for (const item of page.items) {
      // The API server leaves the kind out of a list's items.
      item.apiVersion ??= apiVersionOf(kind);
      item.kind ??= kind.kind;
      items.push(slim(item));
    }
    next = page.metadata.continue;
    if (next === undefined || next === '') return { items, resourceVersion: page.metadata.resourceVersion ?? '' };
  }
}
