import type { ValveDevice } from './valve.ts';

/** A member of an array (struct md_rdev). */
export class Member {
  readonly dev: ValveDevice;
  offsetBlocks = 0;
  /** How much of it an array may use (rdev->sectors). */
  sizeBytes = 0;
  /** Its place, or -1. */
  slot = -1;
  inSync = false;
  faulty = false;
  blocked = false;
  writeError = false;
  wantReplacement = false;
  /** Write errors are noted for user space, and held, instead of failing the member at once (`external_bbl`). */
  notesErrors = false;
  /** Blocks that could not be written and that user space has not acknowledged (badblocks, unacked). */
  readonly bad = new Set<number>();
  /** Requests of md's under way, and those that failed and are not yet dealt with. */
  pending = 0;

  constructor(dev: ValveDevice) {
    this.dev = dev;
  }

  get name(): string {
    return this.dev.device;
  }

  /** In the array, and working for all that md knows. */
  get works(): boolean {
    return this.slot >= 0 && !this.faulty;
  }

  /** As `state` in sysfs has it (drivers/md/md.c, state_show). */
  text(): string {
    const words = [
      this.faulty && 'faulty',
      this.inSync && 'in_sync',
      (this.blocked || (this.bad.size > 0 && !this.faulty)) && 'blocked',
      !this.faulty && !this.inSync && 'spare',
      this.writeError && 'write_error',
      this.wantReplacement && 'want_replacement',
    ];
    return words.filter((word) => word !== false).join(',');
  }
}
