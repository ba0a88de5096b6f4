import type { KubeObject } from '../api/meta.ts';
import { resource, type KubeConnection, type Resource, type ResourceKind } from './client.ts';
import { createInformer, type Informer, type InformerOptions } from './informer.ts';

/** The API server as a program sees it: objects, and local copies of them that are kept current. A simulation has its own. */
export interface Kube {
  /** The objects of a kind; for a namespaced kind, those in `namespace`. */
  resource<T extends KubeObject>(kind: ResourceKind<T>, namespace?: string): Resource<T>;
  informer<T extends KubeObject>(kind: ResourceKind<T>, options: InformerOptions<T>): Informer<T>;
}

/** The API server at the other end of a connection. */
export function kubeOver(connection: KubeConnection): Kube {
  return {
    resource: (kind, namespace) => resource(connection, kind, namespace),
    informer: (kind, options) => createInformer(connection, kind, options),
  };
}
