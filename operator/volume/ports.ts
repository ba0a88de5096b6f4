/** What the volume controller needs of the Kubernetes API: small, so that a test can play it. */
import type { PlannedEvent } from './actions.ts';
import type { ReplicatedVolume, VolumeConnection, VolumeReplica } from './model.ts';

/** One kind of object. `lib/kube`'s `Resource` is one. */
export interface Store<T> {
  /** Undefined when there is none. */
  readonly get: (name: string) => Promise<T | undefined>;
  readonly list: (options?: { labelSelector?: string; fieldSelector?: string }) => Promise<{ items: T[] }>;
  readonly create: (object: T) => Promise<T>;
  /** A JSON merge patch; a `metadata.resourceVersion` or `metadata.uid` in it must be the object's, or it is refused. */
  readonly patch: (name: string, mergePatch: object, options?: { subresource?: 'status' }) => Promise<T>;
  readonly delete: (name: string, preconditions?: { uid?: string }) => Promise<void>;
}

export interface Stores {
  readonly volumes: Store<ReplicatedVolume>;
  readonly replicas: Store<VolumeReplica>;
  readonly connections: Store<VolumeConnection>;
}

export interface Logger {
  readonly debug: (message: string, fields?: object) => void;
  readonly info: (message: string, fields?: object) => void;
  readonly warn: (message: string, fields?: object) => void;
}

export interface Ports extends Stores {
  readonly tell: (volume: ReplicatedVolume, event: PlannedEvent) => void;
  readonly log: Logger;
}

/** The API server says that the object has changed since it was read. */
export function isConflict(error: unknown): boolean {
  return hasStatus(error, 409) && !isAlreadyExists(error);
}

export function isAlreadyExists(error: unknown): boolean {
  return hasStatus(error, 409) && (error as { reason?: unknown }).reason === 'AlreadyExists';
}

export function isNotFound(error: unknown): boolean {
  return hasStatus(error, 404);
}

function hasStatus(error: unknown, status: number): boolean {
  return error instanceof Error && (error as Error & { status?: unknown }).status === status;
}
