import type { ProgramHandle } from '../scheduler.ts';
import { Bitmap } from './bitmap.ts';
import { BLOCK_BYTES, Counters, errno, type Answer, type BlockDevice, type IoStatus, type Request } from './io.ts';
import { Sync } from './md-sync.ts';
import { Member } from './member.ts';
import type { KernelWorld } from './types.ts';

const SAFE_MODE_MS = 200;

/** A write on its way (struct r1bio). */
interface Write {
  readonly request: Request;
  readonly answer: Answer;
  readonly chunks: readonly number[];
  readonly targets: readonly Member[];
  /** Members that answered with an error before md had failed them. */
  readonly failed: Member[];
  /** Some member lacks it (R1BIO_Degraded). */
  degraded: boolean;
  /** A working member has it (R1BIO_Uptodate). */
  uptodate: boolean;
  remaining: number;
}

/**
 * A RAID1 array with external metadata and a write-intent bitmap, as Linux 6.12 has it (drivers/md: md.c, raid1.c,
 * md-bitmap.c). What is asked of it in sysfs is in md-sysfs.ts, copying between members in md-sync.ts.
 */
export class MdArray implements BlockDevice {
  readonly name: string;
  readonly devNo: string;
  readonly world: KernelWorld;
  readonly boot: ProgramHandle;
  readonly counters = new Counters();
  raidDisks = 0;
  sizeBytes = 0;
  chunkBytes = 0;
  bitmapBlock = 0;
  daemonMs = 5000;
  /** Whether all is the same on all members that count; else it is up to `unsyncedFromBytes` (recovery_cp). */
  resynced = false;
  unsyncedFromBytes = 0;
  /** Where the next comparison begins (resync_min). */
  compareFromBytes = 0;
  /** A comparison was asked for (MD_RECOVERY_REQUESTED). */
  compares = false;
  /** What has to wait for the lock of the array (reconfig_mutex). */
  private locked: Promise<void> | undefined;
  /** New writes wait, and all under way have ended or are held for user space (freeze_array). */
  private quiesces = 0;
  private onFrozen: (() => void)[] = [];
  members: Member[] = [];
  running = false;
  readOnly = true;
  /** Nobody has written since the start: the first write asks for `active` (in_sync). */
  clean = true;
  /** Writes wait until user space has written `active` (MD_SB_CHANGE_PENDING). */
  pending = false;
  /** The last working member has failed: no write is taken any more (MD_BROKEN). */
  broken = false;
  /** When the last write ended, and whether none has begun since (safemode; md_run sets the delay whatever was written before). */
  private quietSinceMs: number | undefined;
  frozen = false;
  /** md's thread is to see to members and copies (MD_RECOVERY_NEEDED). */
  needed = false;
  /** A member joined that has no part of the data: a copy copies everything (conf->fullsync). */
  fullSync = false;
  openers = 0;
  /** Copying has the array to itself: writes wait. */
  barrier = false;
  /** Writes under way. */
  writing = 0;
  bitmap: Bitmap | undefined;
  readonly sync: Sync;
  /** Writes that failed on a member: not acknowledged before user space says so (bio_end_io_list). */
  private held: Write[] = [];
  private waiting: (() => void)[] = [];
  /** I/Os that have come in and not ended (active_io), and those that wait while the array is suspended. */
  private active = 0;
  private suspensions = 0;
  private suspendedIo: (() => void)[] = [];
  private onDrained: (() => void)[] = [];
  /** Up to suspend_hi no write comes in; here that is everything or nothing. */
  holdsWrites = false;
  private pageWaiters: (() => void)[] = [];
  private pageInFlight = false;
  private threadWoken = false;
  private daemonRuns = false;
  private onQuiet: (() => void)[] = [];

  constructor(name: string, devNo: string, world: KernelWorld, boot: ProgramHandle) {
    this.name = name;
    this.devNo = devNo;
    this.world = world;
    this.boot = boot;
    this.sync = new Sync(this);
  }

  /** Members missing or failed. */
  get degraded(): number {
    return this.raidDisks - this.members.filter((member) => member.slot >= 0 && member.inSync && !member.faulty).length;
  }

  /** `active-idle`: user space could call it clean. */
  get isIdle(): boolean {
    return this.quietSinceMs !== undefined && this.world.now() - this.quietSinceMs > SAFE_MODE_MS;
  }

  /** Some place has no working member. */
  get lacksMember(): boolean {
    return this.members.filter((member) => member.works).length < this.raidDisks;
  }

  submit(request: Request, answer: Answer): void {
    if (this.suspensions > 0 || (this.holdsWrites && request.op !== 'read')) {
      this.suspendedIo.push(() => this.submit(request, answer));
      return;
    }
    const end = this.counters.begin(request, this.world.now());
    this.active += 1;
    const done: Answer = (status, values) => {
      end(this.world.now());
      this.active -= 1;
      if (this.active === 0) for (const go of this.onDrained.splice(0)) go();
      answer(status, values);
    };
    if (!this.running) return done('path');
    if (request.op === 'flush') this.flush(request, done);
    else if (request.op === 'read') this.read(request, done, new Set());
    else this.write(request, done);
  }

  /** mddev_suspend (Linux 6.7 and later): new I/O waits; resolves when all that has come in has ended, also what waits for user space. */
  suspend(): Promise<void> {
    this.suspensions += 1;
    if (this.active === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.onDrained.push(resolve);
    });
  }

  resume(): void {
    this.suspensions -= 1;
    if (this.suspensions === 0) for (const again of this.suspendedIo.splice(0)) again();
  }

  /** md_flush_request: an error of a member's flush is not looked at. */
  private flush(request: Request, answer: Answer): void {
    const targets = this.members.filter((member) => member.works);
    let left = targets.length;
    if (left === 0) return answer('path');
    for (const member of targets) {
      member.pending += 1;
      member.dev.submit(request, () => {
        member.pending -= 1;
        if ((left -= 1) === 0) answer('ok');
      });
    }
  }

  /** raid1_read_request: while something is still to be copied, all read from the first member. */
  private read(request: Request, answer: Answer, tried: Set<Member>): void {
    const able = this.members.filter(
      (each) => each.works && each.inSync && !tried.has(each) && !each.bad.has(request.block),
    );
    const first = able.sort((a, b) => a.slot - b.slot)[0];
    if (!first) return answer('path');
    const least = Math.min(...able.map((each) => each.pending));
    const idle = able.filter((each) => each.pending === least);
    const isSame = this.resynced || (request.block + request.count) * BLOCK_BYTES <= this.unsyncedFromBytes;
    const member = isSame ? (idle[Math.floor(this.world.fraction() * idle.length)] ?? first) : first;
    this.ask(member, request, (status, values) => {
      if (status === 'ok') {
        // A member that could not read it gets it written anew (fix_read_error); if that fails, it is failed.
        for (const bad of tried)
          if (bad.works && values) this.ask(bad, { ...request, op: 'write', values }, this.failIfNotOk(bad));
        return answer('ok', values);
      }
      tried.add(member);
      return this.read(request, answer, tried);
    });
  }

  private failIfNotOk(member: Member): (status: IoStatus) => void {
    return (status) => {
      if (status !== 'ok') this.fail(member);
    };
  }

  /** One request to one member's data. */
  ask(member: Member, request: Request, answer: Answer): void {
    member.pending += 1;
    member.dev.submit({ ...request, block: member.offsetBlocks + request.block }, (status, values) => {
      member.pending -= 1;
      answer(status, values);
    });
  }

  private write(request: Request, answer: Answer): void {
    if (this.broken || this.readOnly) return answer('path');
    // md_write_start
    if (this.isIdle) this.quietSinceMs = undefined;
    if (this.clean) {
      this.clean = false;
      this.pending = true;
    }
    this.unless(
      () => this.pending,
      () =>
        this.unless(
          () =>
            this.barrier ||
            this.quiesces > 0 ||
            this.members.some((each) => each.slot >= 0 && (each.blocked || this.isBad(each, request))),
          () => this.begin(request, answer),
        ),
    );
  }

  /** A write there waits until user space has dealt with the member. */
  private isBad(member: Member, { block, count }: Request): boolean {
    if (member.bad.size === 0 || member.faulty) return false;
    return Array.from({ length: count }, (_, index) => block + index).some((at) => member.bad.has(at));
  }

  /** Runs `then` as soon as `isHeld` says no more. */
  private unless(isHeld: () => boolean, then: () => void): void {
    if (isHeld()) this.waiting.push(() => this.unless(isHeld, then));
    else then();
  }

  /** Lets those who wait look again. */
  wake(): void {
    for (const again of this.waiting.splice(0)) again();
    this.wakeThread();
  }

  private begin(request: Request, answer: Answer): void {
    const { bitmap } = this;
    if (!bitmap) return answer('path');
    const first = bitmap.chunkOf(request.block);
    const last = bitmap.chunkOf(request.block + request.count - 1);
    const chunks = Array.from({ length: last - first + 1 }, (_, index) => first + index);
    const targets = this.members.filter((member) => member.works);
    const write: Write = {
      request,
      answer,
      chunks,
      targets,
      failed: [],
      degraded: this.lacksMember,
      uptodate: false,
      remaining: targets.length,
    };
    this.writing += 1;
    for (const member of targets) member.pending += 1;
    for (const chunk of chunks) bitmap.startWrite(chunk);
    this.afterPage(() => this.issue(write));
  }

  /**
   * The bits of a write are on every member before its data is (md_bitmap_unplug). md would let a second write of the
   * same chunk pass while the first one's bit is still on its way; this one waits.
   */
  private afterPage(then: () => void): void {
    this.pageWaiters.push(then);
    this.pumpPage();
  }

  private pumpPage(): void {
    const { bitmap } = this;
    if (this.pageInFlight || !bitmap) return;
    const ready = this.pageWaiters.splice(0);
    if (!bitmap.dirty && !bitmap.stale) {
      for (const then of ready) then();
      this.quiet();
      return;
    }
    bitmap.dirty = false;
    bitmap.stale = false;
    this.pageInFlight = true;
    this.writePage(bitmap.page, () => {
      this.pageInFlight = false;
      for (const then of ready) then();
      this.pumpPage();
    });
  }

  private writePage(page: number, done: () => void): void {
    const targets = this.members.filter((member) => member.works);
    let left = targets.length;
    if (left === 0) done();
    for (const member of targets) {
      member.pending += 1;
      const request = { op: 'write', block: this.bitmapBlock, count: 1, values: [page], fua: true } as const;
      // REQ_PREFLUSH: what was acknowledged is durable before its bit goes.
      member.dev.submit({ op: 'flush', block: 0, count: 0 }, () => {
        member.dev.submit(request, (status) => {
          member.pending -= 1;
          if (status !== 'ok') this.fail(member);
          if ((left -= 1) === 0) done();
        });
      });
    }
  }

  private issue(write: Write): void {
    if (write.targets.length === 0) this.finish(write);
    for (const member of write.targets) {
      // Failed meanwhile, maybe by the write of the bitmap's page (raid1_submit_write).
      if (member.faulty) {
        this.answered(write, member, 'path');
        continue;
      }
      const request = { ...write.request, block: member.offsetBlocks + write.request.block };
      member.dev.submit(request, (status) => this.answered(write, member, status));
    }
  }

  /** raid1_end_write_request: for a member that is already faulty md does not hold the write. */
  private answered(write: Write, member: Member, status: IoStatus): void {
    if (status === 'ok') {
      if (member.inSync && !member.faulty) write.uptodate = true;
      member.pending -= 1;
    } else {
      member.writeError = true;
      if (!member.wantReplacement) this.needed = true;
      member.wantReplacement = true;
      if (member.faulty) {
        write.degraded = true;
        member.pending -= 1;
      } else write.failed.push(member);
    }
    write.remaining -= 1;
    if (write.remaining > 0) return;
    if (write.failed.length === 0) this.finish(write);
    else this.world.after(this.boot, 0.2 * this.world.fraction(), 'raid1d', () => this.failedWrite(write));
  }

  /** handle_write_finished */
  private failedWrite(write: Write): void {
    let left = write.failed.length;
    for (const member of write.failed) {
      this.narrow(write, member, () => {
        member.pending -= 1;
        left -= 1;
        if (left > 0) return;
        this.held.push(write);
        this.wakeThread();
        this.calmDown();
      });
    }
  }

  /** narrow_write_error: once more, block by block; what still can't be written is noted, or costs the member. */
  private narrow(write: Write, member: Member, done: () => void): void {
    if (!member.notesErrors || member.faulty) {
      this.fail(member);
      write.degraded = true;
      return done();
    }
    const request = { ...write.request, block: member.offsetBlocks + write.request.block };
    member.dev.submit(request, (status) => {
      if (status !== 'ok') this.noteBad(member, write.request);
      done();
    });
  }

  /** rdev_set_badblocks: writes wait until user space has seen it. */
  noteBad(member: Member, { block, count }: Request): void {
    for (let at = block; at < block + count; at += 1) member.bad.add(at);
    this.pending = true;
    this.wakeThread();
  }

  private finish(write: Write): void {
    for (const chunk of write.chunks) this.bitmap?.endWrite(chunk, !write.degraded);
    this.writing -= 1;
    this.quietSinceMs = this.world.now();
    this.runDaemon();
    write.answer(write.uptodate ? 'ok' : 'path');
    if (this.writing === 0) {
      this.sync.proceed();
      this.quiet();
    }
  }

  /** md_error, raid1_error */
  fail(member: Member): void {
    if (member.faulty) return;
    if (member.inSync && this.raidDisks - this.degraded === 1) {
      this.broken = true;
      return;
    }
    member.blocked = true;
    member.inSync = false;
    member.faulty = true;
    this.pending = true;
    this.needed = true;
    this.sync.interrupt();
    this.wakeThread();
  }

  wakeThread(): void {
    if (this.threadWoken || !this.running) return;
    this.threadWoken = true;
    this.world.after(this.boot, 0.05 + 0.5 * this.world.fraction(), 'md thread', () => {
      this.threadWoken = false;
      this.thread();
    });
  }

  /** raid1d and md_check_recovery */
  private thread(): void {
    if (!this.pending) {
      for (const write of this.held.splice(0)) {
        if (this.degraded > 0) write.degraded = true;
        this.finish(write);
      }
    }
    if (!this.needed || this.frozen || this.readOnly || !this.running || this.sync.kind !== undefined) return;
    this.needed = false;
    if (this.resynced) {
      this.removeFailed();
      this.addSpares();
    }
    if (!this.resynced) this.sync.start(this.compares ? 'repair' : 'resync');
    else if (this.members.some((member) => member.works && !member.inSync)) this.sync.start('recover');
    // Taken in with `insync` set: it is never copied to, although the array stays degraded.
  }

  /** The part of remove_and_add_spares that removes. */
  removeFailed(only?: Member): void {
    if (only && this.sync.kind !== undefined) return;
    for (const member of only ? [only] : this.members) {
      if (member.slot < 0 || !member.faulty || member.blocked || member.pending > 0) continue;
      member.slot = -1;
      member.wantReplacement = false;
    }
  }

  /** The part that adds: whoever is bound and has no place gets the first free one, described or not. */
  private addSpares(): void {
    for (const member of this.members) {
      if (member.slot >= 0 || member.faulty) continue;
      const slot = this.freeSlot();
      if (slot === undefined) return;
      member.slot = slot;
      this.fullSync = true;
    }
  }

  private freeSlot(): number | undefined {
    const taken = new Set(this.members.map(({ slot }) => slot));
    return Array.from({ length: this.raidDisks }, (_, slot) => slot).find((slot) => !taken.has(slot));
  }

  /** do_md_run: the bitmap is read from one member: the last that was bound (new ones go to the head of md's list), if it answers. */
  async run(): Promise<void> {
    const first = this.members.filter((member) => member.works);
    if (this.raidDisks === 0 || first.length === 0 || this.chunkBytes === 0) throw errno('EINVAL', 'run');
    // raid1_run: with one member there is nothing to copy.
    this.unsyncedFromBytes = 0;
    if (first.length === 1) this.resynced = true;
    const bitmap = new Bitmap(this.sizeBytes / BLOCK_BYTES, this.chunkBytes / BLOCK_BYTES);
    bitmap.load(await this.readPage(first), !this.resynced);
    this.bitmap = bitmap;
    this.running = true;
    this.clean = true;
    this.readOnly = true;
    this.runDaemon();
  }

  private async readPage(members: readonly Member[]): Promise<number> {
    for (const member of members.toReversed()) {
      const found = await new Promise<number | undefined>((resolve) => {
        member.dev.submit({ op: 'read', block: this.bitmapBlock, count: 1 }, (_, values) => resolve(values?.[0]));
      });
      if (found !== undefined) return found;
    }
    throw errno('EIO', 'the bitmap');
  }

  /** md_bitmap_daemon_work, as long as there are bits that may go. */
  runDaemon(): void {
    if (this.daemonRuns || !this.running) return;
    this.daemonRuns = true;
    this.world.after(this.boot, this.daemonMs, 'bitmap daemon', () => {
      this.daemonRuns = false;
      if (!this.running || !this.bitmap) return;
      const left = this.bitmap.age();
      this.pumpPage();
      if (left) this.runDaemon();
    });
  }

  /** Stops: copying ends, the bits of what is everywhere go, and all I/O of ours comes back first. */
  async stop(): Promise<void> {
    if (this.running) {
      await this.sync.stopped();
      for (let look = 0; look < 3; look += 1) this.bitmap?.age();
      await new Promise<void>((resolve) => {
        this.onQuiet.push(resolve);
        this.pumpPage();
      });
    }
    this.running = false;
    for (const { dev } of this.members) dev.claimed = false;
    this.members = [];
  }

  private quiet(): void {
    this.calmDown();
    if (this.writing > 0 || this.pageInFlight) return;
    for (const go of this.onQuiet.splice(0)) go();
  }

  private calmDown(): void {
    if (this.writing > this.held.length || this.pageInFlight) return;
    for (const go of this.onFrozen.splice(0)) go();
  }

  /** For what needs the array's lock. */
  async unlocked(): Promise<void> {
    while (this.locked !== undefined) await this.locked;
  }

  /** Changes the array under its lock, after I/O under way has ended or is held because it failed (freeze_array). */
  private async frozenIo(change: () => Promise<void> | void): Promise<void> {
    await this.unlocked();
    let unlock = (): void => undefined;
    this.locked = new Promise((resolve) => {
      unlock = resolve;
    });
    await this.quiesce(change);
    this.locked = undefined;
    unlock();
    this.wake();
  }

  /** Does something when I/O under way has ended or is held because it failed, and before more begins (raid1_quiesce). */
  async quiesce(change: () => Promise<void> | void = () => undefined): Promise<void> {
    this.quiesces += 1;
    const frozen = new Promise<void>((resolve) => {
      this.onFrozen.push(resolve);
    });
    this.calmDown();
    await frozen;
    await change();
    this.quiesces -= 1;
    this.wake();
  }

  /** raid1_resize */
  async grow(sizeBytes: number): Promise<void> {
    const bitmap = this.bitmap;
    if (this.sync.kind !== undefined) throw errno('EBUSY', 'component_size');
    if (this.readOnly || !bitmap) throw errno('EROFS', 'component_size');
    if (this.members.some((member) => member.sizeBytes < sizeBytes)) throw errno('ENOSPC', 'component_size');
    await this.frozenIo(async () => {
      this.bitmap = bitmap.resized(sizeBytes / BLOCK_BYTES);
      await new Promise<void>((resolve) => {
        this.afterPage(resolve);
      });
      if (this.resynced && sizeBytes > this.sizeBytes) {
        this.resynced = false;
        this.unsyncedFromBytes = this.sizeBytes;
        this.needed = true;
      }
      this.sizeBytes = sizeBytes;
    });
  }

  /** raid1_reshape: another number of places; members move up into those that are left. */
  async reshape(raidDisks: number): Promise<void> {
    if (this.sync.kind !== undefined) throw errno('EBUSY', 'raid_disks');
    if (this.readOnly) throw errno('EROFS', 'raid_disks');
    const placed = (): Member[] =>
      this.members.filter(({ slot }) => slot >= 0).sort((one, other) => one.slot - other.slot);
    if (placed().length > raidDisks) throw errno('EBUSY', 'raid_disks');
    await this.frozenIo(() => {
      for (const [slot, member] of placed().entries()) member.slot = slot;
      this.raidDisks = raidDisks;
      this.needed = true;
    });
  }
}
