/** A volume's record as far as an older one can be told from a newer one. */
export interface RecordStamp {
  /** The history that the data belongs to; a forced start begins the next one. */
  readonly lineage: number;
  /** The attachment epoch under which it was written. */
  readonly epoch: number;
  /** `status.recordGeneration`: grows with each change of the in-sync set. */
  readonly generation: number;
  /** Of a record that was written without the API server: the number of the one that it had accepted last. */
  readonly base?: number | undefined;
  /** Names of the replicas that hold every acknowledged write. */
  readonly inSync: readonly string[];
}

/**
 * How what a disk knows stands to what the API server says. `behind` and `same` are as it should be: the record is
 * written to the API server first. `ahead` and `diverged` can only be when the API server has forgotten something.
 */
export type Standing = 'same' | 'behind' | 'ahead' | 'diverged';

/** Compares the record that a disk carries with the one that the API server has, read no earlier than the disk's. */
export function standingOf(disk: RecordStamp, api: RecordStamp): Standing {
  if (disk.lineage !== api.lineage) return disk.lineage > api.lineage ? 'ahead' : 'behind';
  if (areRivals(disk, api)) return 'diverged';
  if (disk.generation !== api.generation) return disk.generation > api.generation ? 'ahead' : 'behind';
  if (disk.epoch > api.epoch) return 'ahead';
  return sameNames(disk.inSync, api.inSync) ? 'same' : 'diverged';
}

/**
 * A record that was written without the API server, with a higher number than one that the API server accepted after the
 * record on which it rests: each names replicas that lack what the other one's have.
 */
function areRivals(disk: RecordStamp, api: RecordStamp): boolean {
  return (
    disk.base !== undefined && api.base === undefined && api.generation > disk.base && disk.generation > api.generation
  );
}

/** The stamp of a volume's record. A volume of before this was recorded has lineage 1 and generation 0. */
export function stampOf(status: {
  readonly lineage?: number;
  readonly recordGeneration?: number;
  readonly attachment?: { readonly epoch: number };
  readonly inSync?: readonly string[];
}): RecordStamp {
  return {
    lineage: status.lineage ?? 1,
    epoch: status.attachment?.epoch ?? 0,
    generation: status.recordGeneration ?? 0,
    inSync: status.inSync ?? [],
  };
}

/** "lineage 1, epoch 7, record 12 (in sync: pg-r0, pg-r1)". */
export function describeStamp({ lineage, epoch, generation, inSync }: RecordStamp): string {
  const names = inSync.length === 0 ? 'nobody' : [...inSync].sort().join(', ');
  return `lineage ${lineage}, epoch ${epoch}, record ${generation} (in sync: ${names})`;
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name) => b.includes(name));
}
