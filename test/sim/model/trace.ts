/**
 * What each event of a run has touched: whether two of them could have come in the other order, and where a fault makes a
 * difference, can be told from that.
 */
import { API } from '../network.ts';
import { agentOf, CONTROLLER, OPERATOR } from '../schedule.ts';
import type { PendingEvent } from '../scheduler.ts';
import type { World } from '../world.ts';

export interface Traced {
  /** Its index in the run. */
  readonly at: number;
  readonly atMs: number;
  readonly label: string;
  /** The program or kernel that it belongs to: the one that runs in it, or that sent the request which arrives in it. */
  readonly program: string | undefined;
  /** It runs in the program, and dies with it. */
  readonly isOwn: boolean;
  /** The event that made it; -1 for the beginning. */
  readonly cause: number;
  /** Machines, programs and objects, a bit each. */
  readonly reads: number;
  readonly writes: number;
  /** Links that something was sent over. */
  readonly links: readonly string[];
}

type Mutable<T> = { -readonly [key in keyof T]: T[key] };

/** The machine that a program, kernel or pod runs on, by its name. */
export const machineOf = (name: string): string | undefined => /(?:^|[ @])([cs]\d+)$/.exec(name)?.[1];

/** They are many, and nothing is decided in one. */
export const isHeartbeat = (label: string): boolean => /Lease|keep-alive/.test(label);

const REQUEST = /^(.*) (get|list|create|patch|apply|replace|delete) (\w+) (\S*)$/;

/** The program of the product that an event belongs to. */
export function programOf({ program }: Traced): string | undefined {
  if (program === undefined) return undefined;
  if (program.startsWith(OPERATOR) || program === CONTROLLER) return program;
  return program === agentOf(machineOf(program) ?? '') ? program : undefined;
}

/**
 * What the laws look at in an event counts as read by it: an acknowledgement and the effect of a storage agent are judged by
 * the record, a change of the record by what the storage machines hold and let in.
 */
const JUDGED_BY = {
  acknowledgement: /^ReplicatedVolume /,
  storageEffect: /^(?:ReplicatedVolume|VolumeReplica) /,
  record: /^s\d+$/,
} as const;

/** Writes down the events of a world from `fromMs` on. */
export class Recorder {
  readonly events: Traced[] = [];
  private readonly bits = new Map<string, number>();
  private readonly fromMs: number;
  private touched = 0;
  private links: string[] = [];
  private current: Mutable<Traced> | undefined;

  constructor(world: World, fromMs: number) {
    this.fromMs = fromMs;
    const { network, api } = world;
    const reachable = network.reachable.bind(network);
    network.reachable = (from, to) => {
      const link = from < to ? `${from}-${to}` : `${to}-${from}`;
      if (!this.links.includes(link)) this.links.push(link);
      if (to !== API && from !== API) this.touched |= this.bit(from) | this.bit(to);
      return reachable(from, to);
    };
    const { onCommit } = api;
    api.onCommit = (change) => {
      onCommit(change);
      this.touched |= this.bit(`${change.kind} ${change.name}`);
      if (this.current !== undefined && /^(?:ReplicatedVolume|VolumeReplica)$/.test(change.kind)) {
        this.current.reads |= this.bitsLike(JUDGED_BY.record);
      }
    };
  }

  /** An event is about to run; one of the same index before it has not. */
  before(event: PendingEvent, at: number): void {
    if (this.current !== undefined && this.current.at !== at) this.end();
    this.touched = 0;
    this.links = [];
    const { label, program, cause, atMs } = event;
    const [, sender, verb, kind = '', name = ''] = (program === undefined ? REQUEST.exec(label) : undefined) ?? [];
    const who = program?.name ?? sender;
    const isOwn = program !== undefined;
    let reads = 0;
    if (verb === 'get') reads = this.bit(`${kind} ${name}`);
    const watched = verb === 'list' ? kind : / watches (\w+)$/.exec(label)?.[1];
    if (watched !== undefined) reads = this.bitsLike(new RegExp(`^${watched} `));
    if (isOwn && label === 'answer') reads |= this.bitsLike(JUDGED_BY.acknowledgement);
    if (/^agent s\d+$/.test(program?.name ?? '')) reads |= this.bitsLike(JUDGED_BY.storageEffect);
    // A program shares its machine with the kernel and all others there; one without a machine has only itself.
    const writes = isOwn && who !== undefined ? this.bit(machineOf(who) ?? who) : 0;
    this.current = { at, atMs, label, program: who, isOwn, cause, reads, writes, links: [] };
  }

  private end(): void {
    const { current } = this;
    if (current === undefined || current.atMs < this.fromMs) return;
    current.writes |= this.touched;
    current.links = this.links;
    this.events.push(current);
  }

  private bitsLike(names: RegExp): number {
    let found = 0;
    for (const [name, value] of this.bits) if (names.test(name)) found |= value;
    return found;
  }

  /** More than 31 share bits; then things count as one that are two, which only costs time. */
  private bit(name: string): number {
    let found = this.bits.get(name);
    if (found === undefined) this.bits.set(name, (found = 1 << (this.bits.size % 31)));
    return found;
  }
}
