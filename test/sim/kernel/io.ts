/** Block I/O between the layers of the simulated kernels: a request goes down, its answer comes back up once. */

/** `path`: an error that says nothing about the data (dm-multipath's blk_path_error); `medium`: the disk's own, e.g. a bad sector or no space. */
export type IoStatus = 'ok' | 'path' | 'medium';

export interface Request {
  readonly op: 'read' | 'write' | 'flush';
  /** The first block on the device, of 4 KiB. */
  readonly block: number;
  /** Blocks to read, or those that `values` has. */
  readonly count: number;
  readonly values?: readonly number[];
  /** Durable before it is answered (REQ_FUA). */
  readonly fua?: boolean;
}

export type Answer = (status: IoStatus, values?: readonly number[]) => void;

/** Something that takes I/O. It answers each request once, maybe at once, maybe never. */
export interface BlockDevice {
  readonly sizeBytes: number;
  submit(request: Request, answer: Answer): void;
}

export const BLOCK_BYTES = 4096;
const SECTORS = BLOCK_BYTES / 512;

/** The counters of a block device (Documentation/block/stat.rst). */
export class Counters {
  private completed = 0;
  private writtenSectors = 0;
  private ioTimeMs = 0;
  inFlight = 0;

  /** A request begins. @returns to be called when it ends. */
  begin(request: Request, nowMs: number): (endMs: number) => void {
    this.inFlight += 1;
    return (endMs) => {
      this.inFlight -= 1;
      this.completed += 1;
      this.ioTimeMs += endMs - nowMs;
      if (request.op === 'write') this.writtenSectors += request.count * SECTORS;
    };
  }

  /** As in sysfs; all in the place of writes. */
  text(): string {
    const timeMs = Math.round(this.ioTimeMs);
    return `0 0 0 0 ${this.completed} 0 ${this.writtenSectors} ${timeMs} ${this.inFlight} ${timeMs} ${timeMs} 0 0 0 0 0 0`;
  }
}

/** An error as the kernel gives it to a program. */
export function errno(code: string, what: string): Error {
  return Object.assign(new Error(`${what}: ${code}`), { code });
}
