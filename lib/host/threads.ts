/** So many writes to the kernel may wait at a time; some for as long as a leg is away (lib/host/md.ts). */
const WRITERS = 256;

/**
 * Gives the process enough threads for writes to sysfs that wait. Node's own four would soon all wait for legs, and the writes
 * that let these go would wait behind them. To be called before anything is read or written: the pool is made at its first
 * use, of the size that the environment says then (libuv, threadpool.c). What the environment says already stands.
 */
export function reserveThreads(env: Record<string, string | undefined>): void {
  env['UV_THREADPOOL_SIZE'] ??= String(WRITERS);
}
