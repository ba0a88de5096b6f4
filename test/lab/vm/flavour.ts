/** What makes a VM more than a plain guest: one more disk, and what runs before its state is saved. */
export interface Flavour {
  /** What decides the content of the disk and of the saved state, beside the script: part of the cache key. */
  readonly key: string;
  /** An image of a filesystem. Each VM has a copy of its own, which it forgets when its power goes. */
  readonly diskFile: string;
  /** Where the guest mounts it. */
  readonly mountPoint: string;
  /** A shell script that makes the guest ready. */
  readonly prepare: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  /** Room for translated code. With too little of it large programs are translated again and again. */
  readonly translationMiB: number;
}
