import type { Clock } from '../../../lib/clock.ts';
import type { Md } from '../../../lib/host/md.ts';
import type { NvmeHost } from '../../../lib/host/nvme.ts';
import type { Sysfs } from '../../../lib/host/sysfs.ts';
import type { Valves } from '../../../lib/host/valve.ts';

/** Everything that the client agent takes from its machine. `host.ts` has the real one; a simulation has its own. */
export interface AgentPorts {
  /** The kernel's boot id. */
  readonly bootId: string;
  readonly clock: AgentClock;
  readonly sysfs: Sysfs;
  readonly md: Md;
  readonly nvme: NvmeHost;
  readonly valves: Valves;
  readonly users: DeviceUsers;
  readonly links: DeviceLinks;
  /**
   * Bytes of a block device past every cache, one character each.
   * @throws Error when they can't be read, or not within `timeoutMs`
   */
  readDevice(device: string, offsetBytes: number, lengthBytes: number, timeoutMs: number): Promise<string>;
  /**
   * Writes whole blocks of 4 KiB, past every cache; they are durable when it returns.
   * @throws Error when they can't be written, or not within `timeoutMs`: then they may still be written later
   */
  writeDevice(device: string, offsetBytes: number, bytes: Buffer, timeoutMs: number): Promise<void>;
  /**
   * Makes everything durable that the device has acknowledged: what its disks hold in a volatile cache goes to the medium.
   * @throws Error when it can't be done, or not within `timeoutMs`
   */
  flushDevice(device: string, timeoutMs: number): Promise<void>;
  /**
   * Writes out what a filesystem has in memory (syncfs).
   * @throws Error when that fails, or is not done within `timeoutMs`
   */
  syncFilesystem(mountPoint: string, timeoutMs: number): Promise<void>;
  /**
   * Starts a process of its own that lets the writes of an array go on after `ms`, whatever has become of this one by then. It
   * watches when this returns.
   * @returns what ends it
   */
  guardSuspension(array: string, ms: number): Promise<() => void>;
  /** A name that was never used before. */
  newToken(): string;
  /** Loads the kernel modules. @throws ExecError when one is missing */
  prepare(): Promise<void>;
}

export interface AgentClock extends Clock {
  /** Milliseconds of a clock that nobody sets. */
  monotonicMs(): number;
}

/** Who uses a block device, and what ends that. */
export interface DeviceUsers {
  /** Where the device is mounted, seen from this process, innermost first. */
  mountPoints(devNo: string): Promise<string[]>;
  /** Process ids of those who have it open or mounted. */
  list(devNo: string): Promise<number[]>;
  /** Ends a process; one that has ended by itself is fine. */
  kill(pid: number): void;
  /** Takes a mount out of sight now; the filesystem goes when its last user does. One that is gone is fine. */
  unmountLazily(mountPoint: string): Promise<void>;
}

/** The stable paths in /dev/holdfast. */
export interface DeviceLinks {
  /** The paths of all links. */
  list(): string[];
  /** Where the link points, or undefined when there is none. */
  read(path: string): string | undefined;
  /** Points it elsewhere in one step, so that nobody ever finds it missing. */
  point(path: string, target: string): Promise<void>;
  /** Removes it; one that is gone is fine. */
  remove(path: string): Promise<void>;
}
