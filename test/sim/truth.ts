/**
 * What users were told, and what of it each replica holds: the whole world knows it, and no program does. Where the documentation
 * (docs/explanation/data-safety.md, "What is not promised") lets something be lost, this is where it is taken off the books.
 */
import type { Operation } from '../history/history.ts';
import type { ApiServer } from './api.ts';
import type { StorageKernel } from './kernel/types.ts';

export interface TruthOptions {
  readonly api: ApiServer;
  readonly storage: ReadonlyMap<string, StorageKernel>;
  readonly nowMs: () => number;
  readonly history: Operation[];
}

export interface Truth {
  /** By block, the last value that was acknowledged. */
  readonly acknowledged: Map<number, number>;
  /** By block, the last value that was acknowledged as durable: by itself, or by a flush. */
  readonly flushed: Map<number, number>;
  /**
   * Replicas of the in-sync set whose machine has lost its power: they may lack writes that were not flushed, also some that are
   * acknowledged only now, as the replica had answered before. A client that goes on finds another boot's leg and has it
   * filled anew; a start may take them for the truth.
   */
  readonly damaged: Set<string>;
  /** Replicas of the in-sync set that lack writes since a client went on without a record, as the volume's policy lets it. */
  readonly unrecorded: Set<string>;
  /** What a replica holds of a block; -1 for one that isn't there. */
  readonly heldBy: (replica: string, block: number) => number;
  /** The same after a loss of power. */
  readonly durableOn: (replica: string, block: number) => number;
  /** Blocks on which the replica lacks what was acknowledged. */
  readonly lacking: (replica: string) => string[];
  /** Blocks that the replica would not hold after a loss of power, although they were flushed. */
  readonly unflushed: (replica: string, among: ReadonlyMap<number, number>) => string[];
  /** Those alone are in sync from now on: what others lack matters no more. */
  onlyThese(inSync: readonly string[]): void;
  /** The volume is started from these: what one of them has may be the truth now. */
  startFrom(inSync: readonly string[]): void;
  /** A person goes on from this replica, and gives up what it lacks; clients up to this epoch are of a history that is over. */
  goOnFrom(replica: string, epoch: number): void;
  isAbandoned(epoch: number): boolean;
  /** The API server forgets what it knew. A forced start of which nobody has made use is undone: both histories are as good. */
  forget(): void;
  /** Whether one can't say what has to be there. */
  isOpen(): boolean;
  /** A user is told that its write is done. */
  acknowledge(block: number, value: number, isDurable: boolean): void;
  /** The history without what clients of a lineage that is over did after its end. */
  history(): Operation[];
}

export function createTruth({ api, storage, nowMs, history }: TruthOptions): Truth {
  const acknowledged = new Map<number, number>();
  const flushed = new Map<number, number>();
  const damaged = new Set<string>();
  const unrecorded = new Set<string>();
  let forced: { readonly epoch: number; readonly atMs: number; readonly writers: ReadonlySet<string> } | undefined;
  let lastAckMs = 0;
  let isOpen = false;

  const uidAndKernel = (name: string): readonly [string, StorageKernel | undefined] => {
    const object = api.replicas.rows.get(name);
    return [object?.metadata.uid ?? '', storage.get(object?.spec.storageNode ?? '')];
  };
  const heldBy = (name: string, block: number): number => {
    const [uid, kernel] = uidAndKernel(name);
    return kernel?.readBlock(uid, block) ?? -1;
  };
  const durableOn = (name: string, block: number): number => {
    const [uid, kernel] = uidAndKernel(name);
    return kernel?.readDurableBlock(uid, block) ?? -1;
  };

  /** What was acknowledged of a block counts no longer: it holds now what one of these replicas has. */
  const forgive = (block: number, replicas: readonly string[]): void => {
    const candidates = new Set(replicas.map((name) => heldBy(name, block)));
    const lower = (known: Map<number, number>, to: Iterable<number>): void => {
      known.set(block, Math.min(known.get(block) ?? 0, Math.max(0, Math.min(...to))));
    };
    lower(acknowledged, candidates);
    lower(
      flushed,
      replicas.map((name) => durableOn(name, block)),
    );
    const goneMs = nowMs();
    const kept = history.flatMap((operation): Operation[] => {
      if (operation.block !== block || operation.completedMs === undefined) return [operation];
      if (operation.kind === 'read' || !candidates.has(operation.value)) return [];
      return [{ ...operation, completedMs: undefined, goneMs }];
    });
    history.splice(0, history.length, ...kept);
  };

  const counted = (operation: Operation): Operation[] => {
    if (forced === undefined || !forced.writers.has(operation.client)) return [operation];
    const { atMs } = forced;
    if (operation.invokedMs > atMs) return [];
    if (operation.completedMs !== undefined && operation.completedMs <= atMs) return [operation];
    if (operation.kind === 'read') return [];
    return [{ ...operation, completedMs: undefined, goneMs: Math.min(atMs, operation.goneMs ?? atMs) }];
  };

  return {
    acknowledged,
    flushed,
    damaged,
    unrecorded,
    heldBy,
    durableOn,
    lacking: (name) =>
      [...acknowledged].flatMap(([block, value]) => {
        const held = heldBy(name, block);
        return held >= value ? [] : [`block ${block} holds ${held}, acknowledged was ${value}`];
      }),
    unflushed: (name, among) =>
      [...among].flatMap(([block, value]) => {
        const held = durableOn(name, block);
        return held >= value ? [] : [`block ${block} holds ${held} on the medium, flushed was ${value}`];
      }),
    onlyThese: (inSync) => {
      for (const lacks of [damaged, unrecorded]) {
        for (const name of lacks) if (!inSync.includes(name)) lacks.delete(name);
      }
    },
    startFrom: (inSync) => {
      const lacks = inSync.filter((name) => damaged.has(name) || unrecorded.has(name));
      for (const [block, value] of acknowledged) {
        if (lacks.some((name) => heldBy(name, block) < value)) forgive(block, inSync);
      }
      damaged.clear();
      unrecorded.clear();
    },
    goOnFrom: (replica, epoch) => {
      for (const block of acknowledged.keys()) forgive(block, [replica]);
      forced = { epoch, atMs: nowMs(), writers: new Set(history.map(({ client }) => client)) };
      damaged.clear();
      unrecorded.clear();
    },
    isAbandoned: (epoch) => forced !== undefined && epoch <= forced.epoch,
    forget: () => {
      isOpen ||= forced !== undefined && lastAckMs <= forced.atMs;
    },
    isOpen: () => isOpen,
    acknowledge: (block, value, isDurable) => {
      lastAckMs = nowMs();
      acknowledged.set(block, Math.max(value, acknowledged.get(block) ?? 0));
      if (isDurable) flushed.set(block, Math.max(value, flushed.get(block) ?? 0));
    },
    history: () => history.flatMap(counted),
  };
}
