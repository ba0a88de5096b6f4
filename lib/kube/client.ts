import type { DeepPartial, KubeObject } from '../api/meta.ts';
import type { KubeConnection, Method } from './connection.ts';
import { KubeError } from './error.ts';
import { apiVersionOf, collectionPath, type ResourceKind } from './kinds.ts';
import { listAll, type ObjectList } from './list.ts';
import { exchange, query, slim, type Query } from './wire.ts';

export { connect, type ConnectOptions, type KubeConnection } from './connection.ts';
export { KubeError } from './error.ts';
export { kinds, type KubeEvent, type KubeNode, type Lease, type ResourceKind } from './kinds.ts';
export type { ObjectList } from './list.ts';
export type { KubeObject } from '../api/meta.ts';

export interface RequestOptions {
  /** Deadline of the request; default the connection's (10 s). */
  readonly timeoutMs?: number;
}

export interface WriteOptions extends RequestOptions {
  readonly subresource?: 'status';
}

export interface ApplyOptions extends WriteOptions {
  readonly fieldManager: string;
  /** Take fields over from other managers instead of a conflict. */
  readonly force?: boolean;
}

export interface ListOptions extends RequestOptions {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/**
 * One kind of object in the API. Every method throws KubeError, when the API server refuses and when it does not answer
 * within the deadline; nothing is retried.
 */
export interface Resource<T extends KubeObject> {
  /** Undefined when there is none of that name. */
  get(name: string, options?: RequestOptions): Promise<T | undefined>;
  /** All of them, as of one moment, which `resourceVersion` names. */
  list(options?: ListOptions): Promise<ObjectList<T>>;
  create(object: T, options?: RequestOptions): Promise<T>;
  /** Server-side apply: the object's fields are what `fieldManager` wants; fields it no longer names are removed. */
  apply(object: DeepPartial<T>, options: ApplyOptions): Promise<T>;
  /** JSON merge patch (RFC 7386): null removes, lists are replaced. With metadata.resourceVersion in it, an optimistic lock. */
  patch(name: string, mergePatch: object, options?: WriteOptions): Promise<T>;
  /** Replaces the whole object; its resourceVersion, when given, is a precondition. */
  replace(object: T, options?: WriteOptions): Promise<T>;
  /** Success when it is gone already. With preconditions that don't hold: KubeError with isConflict. */
  delete(name: string, preconditions?: { uid?: string; resourceVersion?: string }): Promise<void>;
}

/** The objects of a kind; for a namespaced kind, those in `namespace`. */
export function resource<T extends KubeObject>(
  connection: KubeConnection,
  kind: ResourceKind<T>,
  namespace?: string,
): Resource<T> {
  if (kind.namespaced && namespace === undefined) throw new TypeError(`${kind.kind} is namespaced: name the namespace`);
  const collection = collectionPath(kind, namespace);
  const apiVersion = apiVersionOf(kind);
  const path = (name: string, subresource?: string): string => {
    if (name === '') throw new TypeError(`${kind.kind}: the name is empty`);
    return `${collection}/${encodeURIComponent(name)}${subresource === undefined ? '' : `/${subresource}`}`;
  };
  const write = { fieldManager: connection.fieldManager, fieldValidation: connection.fieldValidation };

  async function send<R>(method: Method, url: string, options: SendOptions = {}): Promise<R> {
    return await exchange<R>(connection, {
      method,
      path: url + query(options.query ?? {}),
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      contentType: options.contentType ?? 'application/json',
      timeoutMs: options.timeoutMs,
    });
  }

  return {
    get: async (name, options = {}) => {
      try {
        return slim(await send<T>('GET', path(name), options));
      } catch (error) {
        if (error instanceof KubeError && error.isNotFound) return undefined;
        throw error;
      }
    },
    list: async (options = {}) => await listAll(connection, kind, { ...options, namespace }),
    create: async (object, options = {}) =>
      slim(
        await send<T>('POST', collection, {
          ...options,
          query: write,
          body: { apiVersion, kind: kind.kind, ...object },
        }),
      ),
    apply: async (object, options) => {
      const name = nameOf(object);
      return slim(
        await send<T>('PATCH', path(name, options.subresource), {
          query: { ...write, fieldManager: options.fieldManager, force: options.force },
          body: { apiVersion, kind: kind.kind, ...object },
          contentType: 'application/apply-patch+yaml',
          timeoutMs: options.timeoutMs,
        }),
      );
    },
    patch: async (name, mergePatch, options = {}) =>
      slim(
        await send<T>('PATCH', path(name, options.subresource), {
          query: write,
          body: mergePatch,
          contentType: 'application/merge-patch+json',
          timeoutMs: options.timeoutMs,
        }),
      ),
    replace: async (object, options = {}) =>
      slim(
        await send<T>('PUT', path(object.metadata.name, options.subresource), {
          query: write,
          body: { apiVersion, kind: kind.kind, ...object },
          timeoutMs: options.timeoutMs,
        }),
      ),
    delete: async (name, preconditions) => {
      try {
        await send('DELETE', path(name), {
          body: {
            apiVersion: 'v1',
            kind: 'DeleteOptions',
            propagationPolicy: 'Background',
            ...(preconditions && { preconditions }),
          },
        });
      } catch (error) {
        if (!(error instanceof KubeError && error.isNotFound)) throw error;
      }
    },
  };
}

interface SendOptions {
  readonly query?: Query;
  readonly body?: object;
  readonly contentType?: string;
  readonly timeoutMs?: number | undefined;
}

function nameOf(object: { readonly metadata?: { readonly name?: string } | undefined }): string {
  const name = object.metadata?.name;
  if (name === undefined) throw new TypeError('server-side apply needs metadata.name');
  return name;
}
