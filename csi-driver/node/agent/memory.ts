import type { DecodedLeg } from '../../../lib/host/leg-header.ts';
import type { VolumeConnection } from '../../../lib/api/index.ts';
import { LegTracker } from './tracker.ts';

export interface LegIdentity {
  readonly replica: string;
  readonly uid: string;
  readonly nqn: string;
  readonly address: string;
  readonly port: number;
}

/** The sync of a leg that is under way, as far as this process has seen it begin. */
export interface RunningSync {
  readonly kind: 'Bitmap' | 'Full';
  readonly startedAtMs: number;
  readonly dirtyBytes: number;
  readonly legWrittenBytes: number;
  readonly arrayWrittenBytes: number;
}

/** Something that is done beside the loop, one at a time. */
export interface Background {
  busy: boolean;
  /** Why it failed the last time, for people. */
  failure: string | undefined;
}

const JOIN_BACKOFF_MIN_MS = 1000;
const JOIN_BACKOFF_MAX_MS = 60_000;
/** Who has worked for this long since it was used again begins with the short wait. */
const BACKOFF_FORGOTTEN_MS = 600_000;

/** What the agent remembers of one leg. Losing it (a restart) costs figures and backoff, never safety. */
export class LegMemory implements LegIdentity, Background {
  readonly replica: string;
  readonly uid: string;
  readonly nqn: string;
  address: string;
  port: number;
  readonly tracker: LegTracker;
  busy = false;
  suspectPath = true;
  /** The valve gave its path up although the controller lived: the target itself answered with an error. */
  pathErred = false;
  reinstateNotBeforeMs = 0;
  rescanNotBeforeMs = 0;
  joinNotBeforeMs = 0;
  /** It has left the array, and what it was sent is to be drained before it may join again: asked for since then. */
  drainAsked = false;
  /** md has been seen to count it as in sync since it joined last. */
  wasInSync = false;
  /** It was dropped: what waits in its valve is to end. */
  letGo = false;
  sync: RunningSync | undefined;
  /** What the header in front of the leg's data holds, as far as this process knows. */
  header: DecodedLeg | undefined;
  failure: string | undefined;
  private joinBackoffMs = 0;
  private pathFailedSinceMs: number | undefined;

  constructor(leg: LegIdentity, nowMs: number) {
    this.replica = leg.replica;
    this.uid = leg.uid;
    this.nqn = leg.nqn;
    this.address = leg.address;
    this.port = leg.port;
    this.tracker = new LegTracker(nowMs);
  }

  pathFailedForMs(nowMs: number): number {
    this.pathFailedSinceMs ??= nowMs;
    return nowMs - this.pathFailedSinceMs;
  }

  pathRestored(): void {
    this.pathFailedSinceMs = undefined;
  }

  /** A leg that failed by an error of its own may fail again at once: each time it waits longer before it is used. */
  holdOff(nowMs: number): void {
    if (nowMs - this.joinNotBeforeMs > BACKOFF_FORGOTTEN_MS) this.joinBackoffMs = 0;
    this.joinBackoffMs = Math.min(JOIN_BACKOFF_MAX_MS, Math.max(JOIN_BACKOFF_MIN_MS, this.joinBackoffMs * 2));
    this.joinNotBeforeMs = nowMs + this.joinBackoffMs;
  }

  /** It is in sync again: the next failure starts with the short wait. */
  settled(): void {
    this.joinBackoffMs = 0;
    this.joinNotBeforeMs = 0;
  }
}

/** A standstill of the volume's writes, for a snapshot. */
export interface Standstill {
  readonly request: string;
  readonly state: 'Preparing' | 'Ready' | 'Suspending' | 'Suspended' | 'Released' | 'Broken';
  /** Names this one standstill; '' before it. */
  readonly token: string;
  /** The replicas that were equal in it. */
  readonly replicas: readonly string[];
  readonly heldMs?: number;
  readonly message?: string;
}

export interface LastDrop {
  readonly replica: string;
  readonly detectedAt: string;
  readonly recordedAt: string;
  readonly releasedAt: string;
}

export interface LastSync {
  readonly replica: string;
  readonly kind: 'Bitmap' | 'Full';
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly dirtyBytes: number;
  readonly copiedBytes: number;
}

type ConnectionLeg = VolumeConnection['spec']['legs'][number];

/** What the agent remembers of one volume while it is connected. */
export class VolumeMemory {
  startingSinceMs: number | undefined;
  /** The epoch under which this process started the array. */
  startedEpoch: number | undefined;
  lastDrop: LastDrop | undefined;
  /** The legs that were told to be slow. */
  slow: readonly string[] = [];
  /** Since when the API server could not be reached to record something. */
  unrecordableSinceMs: number | undefined;
  /** The API server has been found to have an older record than it had accepted. */
  forgotten = false;
  /** The highest number of a record that this process has put on a leg. */
  recordGeneration = 0;
  lastSync: LastSync | undefined;
  /** The array has been seen to run, by this process or (by its report) by one before it. */
  hasRun: boolean | undefined;
  /** What failed at the last look. */
  failures: readonly string[] = [];
  /** What is done with the array as a whole: it is stopped. */
  readonly array: Background = { busy: false, failure: undefined };
  /** The standstill that was asked for last. */
  standstill: Standstill | undefined;
  /** What is done to begin or end it. */
  readonly suspension: Background = { busy: false, failure: undefined };
  /** Ends the standstill that lasts; undefined while none does. */
  endStandstill: ((released: boolean) => Promise<void>) | undefined;
  /** What is done with the array while it runs: it is made larger, or gets another number of places. */
  readonly shape: Background = { busy: false, failure: undefined };
  /** NVMe name of the leg that md is being asked to add or to remove, or what else it is asked for that waits for I/O. */
  reshaping: string | undefined;
  /** The array is being made larger, or has been and the legs have not been told. */
  growing: { readonly fromBytes: number; readonly toBytes: number } | undefined;
  private readonly byNqn = new Map<string, LegMemory>();
  /** By replica, the drain that was asked for last. */
  private readonly drains = new Map<string, number>();
  /** The replicas for which this process has asked. */
  private readonly drainsOfOurs = new Set<string>();

  legs(): readonly LegMemory[] {
    return [...this.byNqn.values()];
  }

  leg(nqn: string): LegMemory {
    const found = this.byNqn.get(nqn);
    if (!found) throw new Error(`no leg ${nqn}`);
    return found;
  }

  learn(leg: LegIdentity, nowMs: number): void {
    const known = this.byNqn.get(leg.nqn);
    if (!known) {
      this.byNqn.set(leg.nqn, new LegMemory(leg, nowMs));
      return;
    }
    known.address = leg.address;
    known.port = leg.port;
  }

  /** The drain that the replica's leg waits for; undefined: none was ever asked for. */
  drain(replica: string): number | undefined {
    return this.drains.get(replica);
  }

  /**
   * What a process before this one has asked for still stands. Where its request is news, it may be older than ours, and
   * was perhaps answered before what ours is about: then ours is made anew, above it.
   */
  recallDrains(legs: readonly { readonly replica: string; readonly drain?: number }[]): void {
    for (const { replica, drain = 0 } of legs) {
      if (drain <= (this.drains.get(replica) ?? 0)) continue;
      this.drains.set(replica, this.drainsOfOurs.has(replica) ? drain + 1 : drain);
    }
  }

  /** From now on the leg waits until its storage node proves that everything it was sent before has ended. */
  askDrain({ replica, drained = 0 }: Pick<ConnectionLeg, 'replica' | 'drained'>): void {
    this.drains.set(replica, Math.max(this.drains.get(replica) ?? 0, drained) + 1);
    this.drainsOfOurs.add(replica);
  }

  forget(nqn: string): void {
    this.byNqn.delete(nqn);
  }
}
