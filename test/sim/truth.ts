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
  /** A replica leaves the in-sync set: what it holds of that time must still be there when a person goes on from it. */
  left(replica: string): void;
  /** The power of a replica's machine was lost. */
  lostPower(replica: string): void;
  /**
   * A person goes on from this replica, and gives up what it lacks; clients up to this epoch are of a history that is over.
   * @returns what it lacks of what it had when it left
   */
  goOnFrom(replica: string, epoch: number): string[];
  /** A client has the volume, under this epoch. What was under way to the replica from which a person goes on has come, or never does. */
  granted(epoch: number, inSync: readonly string[]): void;
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

/** The end of a history, by a person's decision. */
interface Forced {
  readonly epoch: number;
  readonly writers: ReadonlySet<string>;
  readonly decidedMs: number;
  /** By block, what the replica held that was decided for. The first of its writes that was not acknowledged may be among it. */
  held: ReadonlyMap<number, number>;
  /** Since when nobody can write to it any more but clients of the new history; undefined: not yet. */
  closedMs: number | undefined;
}

interface Left {
  readonly acknowledged: Map<number, number>;
  readonly flushed: Map<number, number>;
}

export function createTruth({ api, storage, nowMs, history }: TruthOptions): Truth {
  const acknowledged = new Map<number, number>();
  const flushed = new Map<number, number>();
  const damaged = new Set<string>();
  const unrecorded = new Set<string>();
  let forced: Forced | undefined;
  /** By replica that has left the in-sync set, and block, what it had to hold then. */
  const leftWith = new Map<string, Left>();
  /** Writes that were forgiven: a replica that was given up may still hold them, and a person may choose that one after all. */
  const forgiven: Operation[] = [];
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
    for (const known of leftWith.values()) {
      known.acknowledged.delete(block);
      known.flushed.delete(block);
    }
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
      if (operation.kind === 'read') return [];
      const open = { ...operation, completedMs: undefined, goneMs };
      if (candidates.has(operation.value)) return [open];
      forgiven.push(open);
      return [];
    });
    history.splice(0, history.length, ...kept);
  };

  /** Of a history that is over counts only what the replica held from which it went on, whoever was told of it: also what was under way. */
  const counted = (operation: Operation): Operation[] => {
    if (forced === undefined || !forced.writers.has(operation.client)) return [operation];
    const { held, decidedMs, closedMs = decidedMs } = forced;
    if (operation.kind === 'read' || held.get(operation.block) !== operation.value) return [];
    return [{ ...operation, completedMs: undefined, goneMs: Math.max(operation.invokedMs, closedMs) }];
  };

  const heldNow = (name: string): Map<number, number> => {
    const blocks = new Set([...acknowledged.keys(), ...history.map(({ block }) => block)]);
    return new Map([...blocks].map((block) => [block, heldBy(name, block)]));
  };

  const lackOf = (name: string): string[] => {
    const { acknowledged: had = new Map<number, number>(), flushed: safe = new Map<number, number>() } =
      leftWith.get(name) ?? {};
    const told = (known: ReadonlyMap<number, number>, now: (block: number) => number, what: string): string[] =>
      [...known].flatMap(([block, value]) =>
        now(block) >= value ? [] : [`block ${block} holds ${now(block)}, ${what} when it left was ${value}`],
      );
    return [
      ...told(had, (block) => heldBy(name, block), 'acknowledged'),
      ...told(safe, (block) => durableOn(name, block), 'flushed'),
    ];
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
    left: (replica) => {
      if (unrecorded.has(replica)) return;
      leftWith.set(replica, {
        acknowledged: new Map(damaged.has(replica) ? [] : acknowledged),
        flushed: new Map(flushed),
      });
    },
    lostPower: (replica) => leftWith.get(replica)?.acknowledged.clear(),
    goOnFrom: (replica, epoch) => {
      const lacks = lackOf(replica);
      history.push(...forgiven.splice(0));
      const held = heldNow(replica);
      const lower = (known: Map<number, number>, to: (block: number) => number): void => {
        for (const [block, value] of known) known.set(block, Math.max(0, Math.min(value, to(block))));
      };
      lower(acknowledged, (block) => held.get(block) ?? 0);
      lower(flushed, (block) => durableOn(replica, block));
      const writers = new Set(history.map(({ client }) => client));
      forced = { epoch, writers, decidedMs: nowMs(), held, closedMs: undefined };
      isOpen = false;
      leftWith.clear();
      damaged.clear();
      unrecorded.clear();
      return lacks;
    },
    granted: (epoch, inSync) => {
      if (forced === undefined || forced.closedMs !== undefined || epoch <= forced.epoch) return;
      forced.closedMs = nowMs();
      // What came after the decision is there, too; nothing of what was there may be gone.
      const now = heldNow(inSync[0] ?? '');
      forced.held = new Map([...now].map(([block, value]) => [block, Math.max(value, forced?.held.get(block) ?? 0)]));
    },
    isAbandoned: (epoch) => forced !== undefined && epoch <= forced.epoch,
    forget: () => {
      leftWith.clear();
      isOpen ||= forced !== undefined && lastAckMs <= forced.decidedMs;
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
