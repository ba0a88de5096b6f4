import { CsiError } from './errors.ts';
import type { CallContext } from './handlers.ts';

/** Which volume has which operation under way in this process. */
export type VolumeLocks = Map<string, string>;

type AnyHandlers<T> = { readonly [Method in keyof T]: T[Method] };

/**
 * Wraps every handler of a service: while one call works on a volume, another one for it is answered with ABORTED, as
 * the CSI specification wants it; the caller tries again. Calls without a volume, and those in `unlocked`, just run.
 *
 * @param volumeOf the volume that a request is about, or '' for none
 */
export function withVolumeLocks<T extends object>(
  handlers: AnyHandlers<T>,
  options: {
    readonly locks: VolumeLocks;
    readonly volumeOf: (request: object) => string;
    readonly unlocked?: readonly (keyof T & string)[];
  },
): T {
  const { locks, volumeOf, unlocked = [] } = options;
  const wrapped = Object.entries(handlers).map(([method, handler]) => {
    if ((unlocked as readonly string[]).includes(method)) return [method, handler];
    const call = handler as (request: object, context: CallContext) => Promise<unknown>;
    const locked = async (request: object, context: CallContext): Promise<unknown> => {
      const volume = volumeOf(request);
      if (volume === '') return await call(request, context);
      const pending = locks.get(volume);
      if (pending !== undefined) {
        throw new CsiError('ABORTED', 'HF409', `${pending} is still under way for volume ${volume}; try again later`);
      }
      locks.set(volume, method);
      try {
        return await call(request, context);
      } finally {
        locks.delete(volume);
      }
    };
    return [method, locked];
  });
  return Object.fromEntries(wrapped) as T;
}
