/**
 * A history: what clients did to the blocks of one volume, each block a register. All times are in milliseconds on one
 * clock (the simulation's, or the host's), fractions allowed; of two operations, the first came before the second if it was
 * completed at an earlier time than the second was invoked.
 */
export type Operation = Write | Read;

/** A write, known from before it was issued. */
export interface Write {
  readonly kind: 'write';
  readonly client: string;
  readonly block: number;
  /** No two writes of a block have the same one. 0 is what a block holds before the first. */
  readonly value: number;
  readonly invokedMs: number;
  /** When it was acknowledged as durable; undefined: never. Then it may have happened, or not, or happen later. */
  readonly completedMs?: number | undefined;
  /**
   * For a write that was never acknowledged: the client is known to be gone (its epoch is fenced at every leg) since then,
   * so the write can't take effect any later. Undefined: it may be under way for ever.
   */
  readonly goneMs?: number | undefined;
}

/** A read that was completed. One that never was tells nothing and isn't part of a history. */
export interface Read {
  readonly kind: 'read';
  readonly client: string;
  readonly block: number;
  /** Of the write that it saw; TORN if it saw pieces of several, or of another place. */
  readonly value: number;
  readonly invokedMs: number;
  readonly completedMs: number;
}

/** What a read gives for a block that is no write as a whole. */
export const TORN = -1;

/** What a block holds that was never written. */
export const INITIAL = 0;
