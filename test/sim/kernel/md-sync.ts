import { BLOCK_BYTES } from './io.ts';
import type { MdArray } from './md.ts';
import type { Member } from './member.ts';

/** Copying between members, a chunk at a time (md_do_sync, raid1_sync_request). While a chunk is copied, writes wait. */
export class Sync {
  /** `resync`: members that count as in sync may differ. `repair`: the same, and they are compared first. `recover`: a member is to become in sync. */
  kind: 'resync' | 'recover' | 'repair' | undefined;
  private chunk = 0;
  private interrupted = false;
  private copying = false;
  private onStopped: (() => void)[] = [];
  private readonly array: MdArray;

  constructor(array: MdArray) {
    this.array = array;
  }

  /** As `sync_completed` has it, in sectors. */
  progress(): string {
    const { sizeBytes, chunkBytes } = this.array;
    return this.kind === undefined ? 'none' : `${(this.chunk * chunkBytes) / 512} / ${sizeBytes / 512}`;
  }

  start(kind: 'resync' | 'recover' | 'repair'): void {
    const { compareFromBytes, chunkBytes } = this.array;
    this.kind = kind;
    this.chunk = kind === 'repair' ? Math.floor(compareFromBytes / chunkBytes) : 0;
    this.interrupted = false;
    const begin = (): void => this.soon(() => this.next());
    // Of a write that began without the new member no bit says so before it ends (md_do_sync, md_sync_position).
    if (kind === 'recover') void this.array.quiesce().then(begin);
    else begin();
  }

  interrupt(): void {
    if (this.kind !== undefined) this.interrupted = true;
  }

  /** Ends a copy that runs; resolves when none does. What it was about to copy stays to be copied. */
  stopped(): Promise<void> {
    if (this.kind === undefined) return Promise.resolve();
    this.interrupted = true;
    return new Promise((resolve) => {
      this.onStopped.push(resolve);
    });
  }

  private soon(run: () => void): void {
    this.array.world.after(this.array.boot, 0.05 + 0.3 * this.array.world.fraction(), 'sync', run);
  }

  private next(): void {
    const { array } = this;
    const { bitmap } = array;
    if (!bitmap || this.interrupted) return this.end(false);
    const isDue = (): boolean => array.fullSync || this.kind === 'repair' || bitmap.isNeeded(this.chunk);
    while (this.chunk < bitmap.chunks.length && !isDue()) this.chunk += 1;
    if (this.chunk >= bitmap.chunks.length) return this.end(true);
    array.barrier = true;
    if (array.writing === 0) this.proceed();
  }

  /** Called when the last write under way has ended. */
  proceed(): void {
    const { array, chunk } = this;
    const { bitmap } = array;
    if (!array.barrier || this.copying || !bitmap) return;
    if (this.interrupted) return this.copied(true);
    this.copying = true;
    bitmap.startCopy(chunk, array.lacksMember);
    const request = {
      op: 'read',
      block: chunk * bitmap.chunkBlocks,
      count: Math.min(bitmap.chunkBlocks, array.sizeBytes / BLOCK_BYTES - chunk * bitmap.chunkBlocks),
    } as const;
    const sources = array.members.filter((member) => member.works && member.inSync).sort((a, b) => a.slot - b.slot);
    const intended = array.members.filter((member) => member.works && (this.kind !== 'recover' || !member.inSync));
    const tryNext = (): void => {
      const source = sources.shift();
      // Nobody can read it: the copy is given up.
      if (!source) {
        this.interrupted = true;
        return this.copied(true);
      }
      array.ask(source, request, (status, values) => {
        const targets = intended.filter((member) => member !== source);
        if (status === 'ok' && values) this.writeTo(targets, { ...request, op: 'write', values });
        else tryNext();
      });
    };
    tryNext();
  }

  private writeTo(targets: readonly Member[], request: Parameters<MdArray['ask']>[1]): void {
    const { array } = this;
    const able = targets.filter((member) => member.works);
    let left = able.length;
    // For one that has failed since the chunk was begun, it stays to be copied (sync_request_write, abort_sync_write).
    let failed = able.length < targets.length;
    if (left === 0) this.copied(failed);
    for (const member of able) {
      array.ask(member, request, (status) => {
        if (status !== 'ok') {
          failed = true;
          // A copy goes on behind an error that is noted; the chunk stays to be copied (abort_sync_write).
          if (member.notesErrors && !member.faulty) array.noteBad(member, request);
          else array.fail(member);
        }
        if ((left -= 1) === 0) this.copied(failed);
      });
    }
  }

  private copied(failed: boolean): void {
    const { array } = this;
    this.copying = false;
    array.bitmap?.endCopy(this.chunk, failed);
    array.barrier = false;
    array.wake();
    this.chunk += 1;
    this.soon(() => this.next());
  }

  /** md writes `write-pending` after each copy, done or not; then the members that were filled count. */
  private end(complete: boolean): void {
    const { array } = this;
    if (complete) {
      if (this.kind !== 'recover') array.resynced = true;
      array.fullSync = false;
    }
    array.compares = false;
    array.pending = true;
    this.soon(() => {
      if (complete && !this.interrupted && this.kind === 'recover') {
        for (const member of array.members) if (member.works) member.inSync = true;
      }
      this.kind = undefined;
      array.needed = true;
      array.runDaemon();
      array.wakeThread();
      for (const go of this.onStopped.splice(0)) go();
    });
  }
}
