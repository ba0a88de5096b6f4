import type { ReplicatedVolume } from '../../../lib/api/index.ts';
import { KubeError, type RequestOptions, type Resource } from '../../../lib/kube/client.ts';

type Status = NonNullable<ReplicatedVolume['status']>;

/** The epoch was taken from us, or the volume is gone: nothing may be recorded any more. */
export class EpochLostError extends Error {
  constructor(volume: string, epoch: number, found: Status['attachment']) {
    const now = found ? `epoch ${found.epoch} of "${found.node}"` : 'no attachment';
    super(`${volume}: epoch ${epoch} is no longer ours; the record says ${now}`);
    this.name = 'EpochLostError';
  }
}

/** What the client agent may change in a volume's record. */
export interface RecordChange {
  readonly inSync: readonly string[];
  /** Entries to set, and `null` for those to forget. */
  readonly outOfSync: Readonly<Record<string, OutOfSync | null>>;
  readonly clean?: boolean;
  /** It is a new record, although it says the same. */
  readonly anew?: boolean;
}

export interface OutOfSync {
  readonly epoch: number;
  readonly at: string;
  /** What the bitmap's knowledge of the leg hangs on; null ends it (merge patch). */
  readonly bootId?: string | null;
  readonly nqn?: string | null;
  readonly reason?: string;
  /** Since when data is copied to it: until that has ended it is no state of the volume. */
  readonly mixedSince?: string;
}

const ATTEMPTS = 8;

export interface RecordOptions extends RequestOptions {
  /** The legs know records up to this one: a new record's number is higher, also if the API server has forgotten them. */
  readonly knownGeneration?: number;
  /**
   * Whether the API server still means the replica that we know under a name. Asked when it has forgotten records: it may
   * have given the name to another one since.
   */
  readonly isSame?: () => Promise<(replica: string) => boolean>;
}

/**
 * Changes a volume's record while its attachment epoch is ours. The resourceVersion is a precondition, so that the
 * change was planned on what is really there; after a conflict it is planned again on a fresh read.
 * @returns the volume as the API server accepted it, which is when the record is durable.
 * @throws EpochLostError when another attachment has begun; KubeError when the API server refuses or can't be reached.
 */
export async function changeRecord(
  volumes: Resource<ReplicatedVolume>,
  cached: ReplicatedVolume,
  owner: { readonly node: string; readonly epoch: number },
  change: (status: Status) => RecordChange | undefined,
  { knownGeneration = 0, isSame, ...options }: RecordOptions = {},
): Promise<ReplicatedVolume> {
  const name = cached.metadata.name;
  let volume: ReplicatedVolume | undefined = cached;
  for (let attempt = 1; ; attempt++) {
    const attachment = volume?.status?.attachment;
    if (!volume?.status || attachment?.epoch !== owner.epoch || attachment.node !== owner.node) {
      // A cache may lag behind our own grant: only a fresh read may say that the epoch is lost.
      if (volume === cached && attempt === 1) {
        volume = await volumes.get(name, options);
        continue;
      }
      throw new EpochLostError(name, owner.epoch, attachment);
    }
    const forgotten = isForgotten(cached.status, volume.status);
    const status = forgotten ? { ...volume.status, ...recordOf(cached.status) } : volume.status;
    const wanted = change(status) ?? (forgotten ? { inSync: status.inSync ?? [], outOfSync: {} } : undefined);
    if (!wanted) return volume;
    const kept = forgotten && isSame ? wanted.inSync.filter(await isSame()) : wanted.inSync;
    if (kept.length === 0) throw new Error(`${name}: refusing to record an empty in-sync set`);
    const inSync = [...kept].sort();
    const before = status.inSync ?? [];
    // A start is a new record as well: from then on the legs may differ, which the one before does not say.
    const isNew =
      forgotten || wanted.anew === true || wanted.clean === false || inSync.join() !== [...before].sort().join();
    // Nor does a backup know that the array was started since.
    const clean = wanted.clean ?? (forgotten ? cached.status?.attachment?.clean : undefined);
    const recordGeneration = Math.max(status.recordGeneration ?? 0, knownGeneration) + 1;
    const patch = {
      metadata: { resourceVersion: volume.metadata.resourceVersion },
      status: {
        inSync,
        ...(isNew ? { recordGeneration } : {}),
        outOfSync: forgotten ? instead(volume.status.outOfSync, status.outOfSync, wanted.outOfSync) : wanted.outOfSync,
        ...(clean === undefined ? {} : { attachment: { clean } }),
      },
    };
    try {
      return await volumes.patch(name, patch, { subresource: 'status', ...options });
    } catch (error) {
      if (!(error instanceof KubeError) || !error.isConflict || attempt >= ATTEMPTS) throw error;
      volume = await volumes.get(name, options);
    }
  }
}

/**
 * Whether the API server has forgotten what it had accepted, as after it was restored from a backup: the numbers of records
 * only grow. Who has the volume's epoch is the only one who changes its record, and goes on from the one that it knows.
 */
export function isForgotten(known: Status | undefined, found: Status | undefined): boolean {
  return (
    known?.attachment?.epoch === found?.attachment?.epoch &&
    (known?.lineage ?? 1) === (found?.lineage ?? 1) &&
    (known?.recordGeneration ?? 0) > (found?.recordGeneration ?? 0)
  );
}

const recordOf = ({ inSync = [], outOfSync = {}, recordGeneration = 0 }: Status = {}) => ({
  inSync,
  outOfSync,
  recordGeneration,
});

/** A merge patch that puts entries in the place of those that are there. */
function instead(
  present: object = {},
  known: Readonly<Record<string, OutOfSync>> = {},
  changed: Readonly<Record<string, OutOfSync | null>>,
): Readonly<Record<string, OutOfSync | null>> {
  return { ...Object.fromEntries(Object.keys(present).map((name) => [name, null])), ...known, ...changed };
}
