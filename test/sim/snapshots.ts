/** What is so of snapshots: all copies have one content, and it is that of one instant. */
import type { KubeObject, ReplicatedSnapshot } from '../../lib/api/index.ts';
import { kinds } from '../../lib/kube/client.ts';
import { cutOf } from '../history/cut.ts';
import type { Operation } from '../history/history.ts';
import type { ApiServer, Change } from './api.ts';
import type { StorageKernel } from './kernel/types.ts';

export interface SnapshotLawOptions {
  readonly api: ApiServer;
  readonly storage: ReadonlyMap<string, StorageKernel>;
  /** Blocks that are written. */
  readonly blocks: readonly number[];
  readonly history: readonly Operation[];
  /** Whether the history says all about what must be there: nothing was given up by a person, a policy or a disk. */
  readonly isPlain: () => boolean;
}

/** What is wrong with a snapshot that has just become ready; undefined when nothing is, or none has. */
export function judgeSnapshot(change: Change, options: SnapshotLawOptions): string | undefined {
  if (change.kind !== kinds.replicatedSnapshots.kind) return undefined;
  const { before, after } = change as unknown as {
    readonly before: ReplicatedSnapshot | undefined;
    readonly after: ReplicatedSnapshot | undefined;
  };
  if (after?.status?.phase !== 'Ready' || before?.status?.phase === 'Ready') return undefined;
  const { name } = after.metadata;
  const { storage, blocks, history, isPlain } = options;
  const contents = (after.status.copies ?? []).map(({ uid, replica, storageNode }) => ({
    replica,
    values: blocks.map((block) => storage.get(storageNode)?.readCopyBlock(uid, block)),
  }));
  const [first] = contents;
  if (first === undefined) return `${name} is ready and has no copy`;
  for (const { replica, values } of contents) {
    const differing = blocks.filter((_, at) => values[at] !== first.values[at] || values[at] === undefined);
    if (differing.length > 0)
      return `${name}: the copies of ${first.replica} and ${replica} differ in blocks ${differing.join()}`;
  }
  return isPlain() ? notOneInstant(name, blocks, first.values, history) : undefined;
}

function notOneInstant(
  name: string,
  blocks: readonly number[],
  held: readonly (number | undefined)[],
  history: readonly Operation[],
): string | undefined {
  const values: number[] = Array.from({ length: Math.max(...blocks) + 1 }, () => 0);
  for (const [at, block] of blocks.entries()) values[block] = held[at] ?? 0;
  const own = history.filter(({ block }) => blocks.includes(block));
  const { fromMs, untilMs, fromBlock, untilBlock } = cutOf(own, values);
  if (fromMs <= untilMs) return undefined;
  return `${name} is of no one instant: block ${fromBlock} holds a write begun at ${fromMs}, block ${untilBlock} lacks one acknowledged at ${untilMs}`;
}

/** What is left of snapshots that is no longer needed, or is still to be done; undefined: nothing. */
export function snapshotsAtRest({ api, storage }: Pick<SnapshotLawOptions, 'api' | 'storage'>): string | undefined {
  const snapshots = [...api.table(kinds.replicatedSnapshots).rows.values()];
  const waiting = snapshots.find(({ status }) => status?.phase !== 'Ready' && status?.phase !== 'Failed');
  if (waiting !== undefined)
    return `snapshot ${waiting.metadata.name} is ${waiting.status?.phase}: ${waiting.status?.message}`;
  const wanted = new Set(snapshots.flatMap(({ status }) => (status?.copies ?? []).map(({ uid }) => uid)));
  for (const [machine, kernel] of storage) {
    const left = kernel.copies().filter((uid) => !wanted.has(uid));
    if (left.length > 0) return `${machine} still has the copies ${left.join()}`;
  }
  return undefined;
}

/** Somebody deletes all snapshots. */
export function deleteSnapshots(api: ApiServer): void {
  const snapshots = api.table(kinds.replicatedSnapshots);
  for (const { metadata } of snapshots.list()) snapshots.delete(metadata.name);
}

/** What is left of deleted snapshots; undefined: nothing. */
export function snapshotsLeft({ api, storage }: Pick<SnapshotLawOptions, 'api' | 'storage'>): string | undefined {
  const objects = [kinds.replicatedSnapshots, kinds.snapshotReplicas].flatMap((kind) => [
    ...api.table<KubeObject>(kind).rows.keys(),
  ]);
  const volumes = [...storage].flatMap(([machine, kernel]) => kernel.copies().map((uid) => `${uid} on ${machine}`));
  return objects.length + volumes.length === 0 ? undefined : `left of snapshots: ${[...objects, ...volumes].join()}`;
}
