/**
 * The simulated kernels as the world sees them: of a client machine (NVMe/TCP host, valves, md, writers) and of a storage
 * machine (nvmet, logical volumes on disks with a volatile cache). Blocks are 4 KiB and hold a number: 0 is what a block
 * holds that was never written.
 */
import type { Clock } from '../../../lib/clock.ts';
import type { AgentPorts } from '../../../csi-driver/node/agent/ports.ts';
import type { Paths } from '../../../csi-driver/node/paths.ts';
import type { Filesystems } from '../../../lib/host/mkfs.ts';
import type { Mounts } from '../../../lib/host/mount.ts';
import type { Host as StorageHost } from '../../../storage-agent/agent.ts';
import type { Operation } from '../../history/history.ts';
import type { ProgramHandle, Turns } from '../scheduler.ts';

/** What kernels take from the world. The scheduler has the first two; all three together are in the order of its events. */
export interface KernelWorld extends Turns {
  /** Runs `run` after `ms`, unless the program (a boot of a kernel is one) is dead by then or the returned function was called. */
  after(program: ProgramHandle | undefined, ms: number, label: string, run: () => void): () => void;
  /** A program's clock, whose wall time is that of its machine. */
  clockOf(program: ProgramHandle): Clock;
  /** From 0 to just below 1: latencies, and what of an unflushed cache survives. */
  fraction(): number;
  readonly network: Network;
  /** Told when an array is about to take its first write, before any copy between its members. */
  readonly onArrayStart?: () => void;
  /** Told when a filesystem is about to be made. */
  readonly onFormat?: () => void;
}

/** Packets between machines, by their names. Asked at the moment a packet is sent; what is cut is sent again later (TCP). */
export interface Network {
  reachable(from: string, to: string): boolean;
  /** One way. */
  delayMs(from: string, to: string): number;
  /** The storage machine that has this address, on or off. */
  storageAt(ip: string): StorageKernel | undefined;
}

/**
 * How the disks of a storage machine answer: at once; after a while each; with an error (a path error to the client, which its valve holds); with
 * an error that is the medium's (bad sectors, or writes that find no room: it goes through the valve to md); or not at all
 * until they are well; or all but one write of data, which gets stuck and is carried out when they are well.
 */
export type DiskHealth = 'well' | 'slow' | 'errors' | 'bad sectors' | 'full' | 'full bitmap' | 'hangs' | 'sticks';

export interface StorageKernelOptions {
  readonly machine: string;
  readonly world: KernelWorld;
  readonly pool: { readonly name: string; readonly devices: readonly string[]; readonly sizeBytes: number };
  /** A write acknowledged by a disk may be lost with the power until it is flushed. Default true. */
  readonly volatileCache?: boolean;
  /** The pool of a former run is on the disks. Default true. */
  readonly withPool?: boolean;
}

/** A storage machine. Made switched on. */
export interface StorageKernel {
  readonly machine: string;
  readonly on: boolean;
  readonly bootId: string;
  /** What the storage-agent has of its machine. Each effect is a turn of the program; looking is not. */
  host(program: ProgramHandle): StorageHost;
  /** Kernel state goes; of what was not flushed, a chosen part survives. Programs of the machine are the caller's to kill. */
  powerOff(): void;
  powerOn(): void;
  /** All disks, or the one below a replica. */
  setHealth(health: DiskHealth, replicaUid?: string): void;
  /** UIDs of the replicas that have a logical volume here. */
  replicas(): readonly string[];
  /** A block of the volume's data on this replica as a reader would get it now; undefined: no such replica. */
  readBlock(replicaUid: string, block: number): number | undefined;
  /** The same after a loss of power that keeps nothing unflushed. */
  readDurableBlock(replicaUid: string, block: number): number | undefined;
  /** UIDs of the copies of snapshots that the machine has, and what a block of one holds; undefined for one that isn't there. */
  copies(): readonly string[];
  readCopyBlock(copyUid: string, block: number): number | undefined;
  /** Names of nvmet's subsystems, with the host NQNs of their controllers: for leaks, and for the law of one writer. */
  exports(): readonly Export[];
}

export interface Export {
  readonly nqn: string;
  readonly allowedHosts: readonly string[];
  readonly controllers: readonly string[];
  /** Commands of hosts that the disk has not answered. */
  readonly inFlight: number;
}

export interface ClientKernelOptions {
  readonly machine: string;
  readonly world: KernelWorld;
}

/** What the CSI node service has of its machine, next to the API. */
export interface CsiHost {
  readonly mounts: Mounts;
  readonly filesystems: Filesystems;
  readonly paths: Paths;
}

/** A client machine. Made switched on. */
export interface ClientKernel {
  readonly machine: string;
  readonly on: boolean;
  readonly bootId: string;
  /** What the client agent has of its machine. Each effect is a turn of the program (each sysfs write one of its own). */
  ports(program: ProgramHandle): AgentPorts;
  csi(program: ProgramHandle): CsiHost;
  /** A user process with a file open. Undefined when the path leads to no running device. */
  startWriter(options: WriterOptions): Writer | undefined;
  /** Kernel state and user processes go. Programs of the machine are the caller's to kill. */
  powerOff(): void;
  powerOn(): void;
  /** What the kernel has of ours: for leaks. */
  leftovers(): Leftovers;
}

export interface Leftovers {
  readonly arrays: readonly string[];
  readonly valves: readonly string[];
  readonly controllers: readonly string[];
  readonly mounts: readonly string[];
  readonly links: readonly string[];
}

export interface WriterOptions {
  /** Its name in the history. */
  readonly name: string;
  /** A device such as `/dev/holdfast/v`, or a mount point. */
  readonly path: string;
  /** Blocks of the volume that it writes and reads, chosen at random. Block 0 of a mounted volume is the filesystem's. */
  readonly blocks: readonly number[];
  /** One block after the other instead, as far as they are free. */
  readonly inTurn?: boolean;
  /** Writes under way at once. Default 1. */
  readonly depth?: number;
  /** Pause between an answer and the next operation. Default 20. */
  readonly thinkMs?: number;
  /** One in so many operations is a read; 0 for none. Default 0. */
  readonly readOneIn?: number;
  /** One in so many operations is a flush, and writes are durable only by that; 0: each write is durable by itself. Default 0. */
  readonly flushOneIn?: number;
  /** The next value to write; never the same twice in a world. */
  readonly nextValue: () => number;
  /** The history. An operation is entered when it is invoked and completed in place. */
  readonly history: Operation[];
  /** Called before the user sees an acknowledgement: the moment to check what must hold. */
  readonly onAcknowledge?: (write: Acknowledged) => void;
  /** Called when a flush is asked for. @returns to be called before the user sees that it is done */
  readonly onFlush?: (writer: string) => () => void;
}

export interface Acknowledged {
  readonly writer: string;
  readonly block: number;
  readonly value: number;
  /** Not before a flush may it be relied on after a loss of power. */
  readonly isDurable: boolean;
}

/** A user process. It ends by a signal, an I/O error, or its machine's end. */
export interface Writer {
  readonly pid: number;
  readonly alive: boolean;
  /** Errors it got instead of an answer. */
  readonly errors: number;
  /** Begins no new operation; ends when the last has been answered. */
  stop(): void;
  kill(): void;
}
