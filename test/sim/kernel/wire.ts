import type { ProgramHandle } from '../scheduler.ts';
import type { KernelWorld } from './types.ts';

/** The first wait for an acknowledgement of TCP's, doubled each time (RFC 6298; Linux: TCP_RTO_MIN, TCP_RTO_MAX). */
const RETRY_MIN_MS = 200;
const RETRY_MAX_MS = 120_000;

interface Packet {
  readonly label: string;
  readonly arrive: () => void;
}

/** One direction of a TCP connection: in order, and what is cut off is sent again until the connection is closed. */
export class Wire {
  private readonly world: KernelWorld;
  private readonly from: string;
  private readonly to: string;
  private readonly boot: () => ProgramHandle;
  private readonly waiting: Packet[] = [];
  private closed = false;
  private lastArrivalMs = 0;
  private retryMs = RETRY_MIN_MS;

  /** @param boot of the receiver, at the time of arrival */
  constructor(world: KernelWorld, from: string, to: string, boot: () => ProgramHandle) {
    this.world = world;
    this.from = from;
    this.to = to;
    this.boot = boot;
  }

  send(label: string, arrive: () => void): void {
    if (this.closed) return;
    this.waiting.push({ label, arrive });
    if (this.waiting.length === 1) this.push();
  }

  close(): void {
    this.closed = true;
    this.waiting.length = 0;
  }

  private push(): void {
    const { world, from, to } = this;
    if (!world.network.reachable(from, to)) {
      world.after(undefined, this.retryMs, 'tcp retry', () => {
        if (this.waiting.length > 0) this.push();
      });
      this.retryMs = Math.min(RETRY_MAX_MS, this.retryMs * 2);
      return;
    }
    this.retryMs = RETRY_MIN_MS;
    for (const { label, arrive } of this.waiting.splice(0)) {
      const atMs = Math.max(this.lastArrivalMs, world.now() + world.network.delayMs(from, to));
      this.lastArrivalMs = atMs;
      world.after(this.boot(), atMs - world.now(), label, () => {
        if (!this.closed) arrive();
      });
    }
  }
}
