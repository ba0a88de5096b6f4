import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, watch } from 'node:fs';
import { writeFile } from 'node:fs/promises';

// Reading is synchronous: these attributes are answered from memory without a lock that I/O could hold, and a trip
// through the thread pool for each would cost more than all the rest of a look at the kernel. Writing may wait, and does so
// beside the main thread.

/** An attribute of the kernel that could not be read or written. `code` is the errno name, e.g. `EBUSY`. */
export class SysfsError extends Error {
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.name = 'SysfsError';
    this.code = code;
  }
}

/** Error codes with which the kernel says that an object went away between looking and reading. */
const GONE = new Set(['ENOENT', 'ENODEV', 'ENXIO', 'ENOTDIR']);

function errnoOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'UNKNOWN';
}

/**
 * The trimmed text of a sysfs or configfs attribute, or `undefined` when the object is gone.
 * @throws SysfsError on any other failure.
 */
export function readAttribute(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    const code = errnoOf(error);
    if (GONE.has(code)) return undefined;
    throw new SysfsError(`reading ${path}: ${code}`, code);
  }
}

/**
 * An attribute that is read again and again: it stays open, so that a reading is one system call (a fourth of
 * readAttribute's cost). The handle is of the object that had the name when it was opened: one of the same name that
 * comes later is not seen, its predecessor reads as gone.
 */
export class OpenAttribute {
  private fd: number | undefined;
  private readonly buffer = Buffer.alloc(512);

  constructor(path: string) {
    try {
      this.fd = openSync(path, 'r');
    } catch (error) {
      if (!GONE.has(errnoOf(error))) throw new SysfsError(`opening ${path}: ${errnoOf(error)}`, errnoOf(error));
    }
  }

  /** The trimmed text (its first 512 bytes), or `undefined` when the object is gone. */
  read(): string | undefined {
    if (this.fd === undefined) return undefined;
    try {
      return this.buffer.toString('latin1', 0, readSync(this.fd, this.buffer, 0, this.buffer.length, 0)).trim();
    } catch (error) {
      if (GONE.has(errnoOf(error))) return undefined;
      throw new SysfsError(`reading an attribute: ${errnoOf(error)}`, errnoOf(error));
    }
  }

  close(): void {
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = undefined;
  }
}

/**
 * Writes one attribute in a single write(2), as sysfs wants it.
 * @throws SysfsError with the errno that the kernel answered.
 */
export async function writeAttribute(path: string, value: string): Promise<void> {
  try {
    await writeFile(path, value);
  } catch (error) {
    const code = errnoOf(error);
    throw new SysfsError(`writing "${value}" to ${path}: ${code}`, code);
  }
}

/** The names in a sysfs folder; empty when it is gone. */
export function listDirectory(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (GONE.has(errnoOf(error))) return [];
    throw error;
  }
}

/** Where a sysfs link points, or `undefined` when it is gone. */
export function readLink(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (GONE.has(errnoOf(error)) || errnoOf(error) === 'EINVAL') return undefined;
    throw error;
  }
}

/** A file of the kernel's that is held open and read again and again. */
export type HeldAttribute = Pick<OpenAttribute, 'read' | 'close'>;

/** The port to sysfs; the functions above tell what each does. */
export interface Sysfs {
  readAttribute(path: string): string | undefined;
  writeAttribute(path: string, value: string): Promise<void>;
  listDirectory(path: string): string[];
  /** Holds an attribute open. */
  open(path: string): HeldAttribute;
  /**
   * Calls back when the kernel says that an attribute changed (kernfs_notify tells inotify too). Not every attribute
   * does so, and nothing may depend on it: it only makes a look come sooner.
   * @returns what ends it
   */
  watch(path: string, changed: () => void): () => void;
}

/** This machine's. */
export const hostSysfs: Sysfs = {
  readAttribute,
  writeAttribute,
  listDirectory,
  open: (path) => new OpenAttribute(path),
  watch(path, changed) {
    try {
      const watcher = watch(path, { persistent: false }, changed);
      watcher.on('error', () => watcher.close());
      return () => watcher.close();
    } catch (error) {
      // Gone already, or the host is out of inotify instances: the looks by the clock go on.
      if (GONE.has(errnoOf(error)) || ['EMFILE', 'ENOSPC'].includes(errnoOf(error))) return () => undefined;
      throw error;
    }
  },
};

/** Counters of a block device since it appeared (kernel: Documentation/block/stat.rst). */
export interface BlockStat {
  readonly completed: number;
  readonly ioTimeMs: number;
  readonly writtenBytes: number;
  readonly inFlight: number;
}

/** Parses `/sys/block/<dev>/stat`. */
export function parseBlockStat(text: string): BlockStat {
  const field = text.trim().split(/\s+/).map(Number);
  const at = (index: number): number => field[index] ?? 0;
  return {
    // Reads, writes, discards and flushes; discards and flushes are missing on old kernels.
    completed: at(0) + at(4) + at(11) + at(15),
    ioTimeMs: at(3) + at(7) + at(14) + at(16),
    writtenBytes: at(6) * 512,
    inFlight: at(8),
  };
}

export const blockStatPath = (device: string): string => `/sys/block/${device}/stat`;

/** The counters of a block device by its kernel name, or `undefined` when it is gone. */
export function readBlockStat(sysfs: Sysfs, device: string): BlockStat | undefined {
  const text = sysfs.readAttribute(blockStatPath(device));
  return text === undefined ? undefined : parseBlockStat(text);
}
