import { execInGuest } from './exec.ts';
import type { Qga } from './qga.ts';

export interface ClockReading {
  /** Guest minus host. */
  readonly offsetMs: number;
  readonly uncertaintyMs: number;
}

/** How far a guest's clock is from the host's: the best of a few questions, the one with the quickest answer. */
export async function measureClock(qga: Qga): Promise<ClockReading> {
  let best: ClockReading = { offsetMs: 0, uncertaintyMs: Number.POSITIVE_INFINITY };
  for (let attempt = 0; attempt < 4; attempt += 1) {
    const before = Date.now();
    const guestMs = Number(await qga.command('guest-get-time')) / 1e6;
    const after = Date.now();
    const uncertaintyMs = Math.max(1, (after - before) / 2);
    if (uncertaintyMs < best.uncertaintyMs) best = { offsetMs: guestMs - (before + after) / 2, uncertaintyMs };
  }
  return best;
}

/**
 * Sets a guest's clock to the host's. It is moved by a difference, not set to a time: so it does not matter how long the
 * command takes on a busy machine.
 */
export async function setClock(qga: Qga, vmName: string): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const { offsetMs, uncertaintyMs } = await measureClock(qga);
    if (Math.abs(offsetMs) <= uncertaintyMs + 2) return;
    await execInGuest(qga, vmName, shiftClockCommand(-offsetMs));
  }
}

/**
 * clock_adjtime(2) with ADJ_SETOFFSET | ADJ_NANO on CLOCK_REALTIME, by system call 305 of x86-64, from Perl, which every
 * Debian has. struct timex: modes, offset, freq, maxerror, esterror, status, constant, precision, tolerance, time, …
 */
export function shiftClockCommand(byMs: number): string {
  const seconds = Math.floor(byMs / 1000);
  const nanoseconds = Math.round((byMs - seconds * 1000) * 1e6);
  const timex = `pack("Lx4 q4 lx4 q3 q2 x120", 0x2100, 0,0,0,0, 0, 0,0,0, ${seconds}, ${nanoseconds})`;
  return `perl -e 'my $t = ${timex}; syscall(305, 0, $t) >= 0 or die "clock_adjtime: $!\\n"'`;
}
