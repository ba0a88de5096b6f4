/** The part of a Kubernetes object's metadata that Holdfast uses. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** What every object of the Kubernetes API has. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

/** One observation about an object, as `kubectl describe` shows it. */
export interface Condition {
  type: string;
  status: ConditionStatus;
  observedGeneration?: number;
  /** When `status` changed last, RFC 3339. */
  lastTransitionTime: string;
  /** One CamelCase word, for programs. */
  reason: string;
  /** For people. */
  message: string;
}

export type ConditionStatus = 'True' | 'False' | 'Unknown';

/** What a server-side apply may send: any part of an object. Lists are atomic in TypeScript's eyes. */
export type DeepPartial<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { [K in keyof T]?: DeepPartial<T[K]> }
    : T;
