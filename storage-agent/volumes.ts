import type { Lvm, LvmVolume } from '../lib/host/lvm.ts';

/** A short memory for `lvs`, which every replica asks for: one run serves all that look within the same moment. */
export interface VolumeCache {
  get(): Promise<readonly LvmVolume[]>;
  /** Asks LVM now. */
  fresh(): Promise<readonly LvmVolume[]>;
}

const MAX_AGE_MS = 3_000;

/**
 * Wraps the port to LVM so that each of our changes empties the memory: what follows a change never plans on what was
 * before it.
 */
export function cacheVolumes(lvm: Lvm, now: () => number): { readonly lvm: Lvm; readonly volumes: VolumeCache } {
  let held: { readonly atMs: number; readonly volumes: Promise<readonly LvmVolume[]> } | undefined;
  const fresh = async (): Promise<readonly LvmVolume[]> => {
    const mine = { atMs: now(), volumes: lvm.volumes() };
    held = mine;
    try {
      return await mine.volumes;
    } catch (error) {
      if (held === mine) held = undefined;
      throw error;
    }
  };
  const changing =
    <Args extends readonly unknown[]>(effect: (...args: Args) => Promise<void>) =>
    async (...args: Args): Promise<void> => {
      try {
        await effect(...args);
      } finally {
        held = undefined;
      }
    };
  return {
    volumes: {
      fresh,
      get: async () => (held !== undefined && now() - held.atMs < MAX_AGE_MS ? await held.volumes : await fresh()),
    },
    lvm: {
      groups: () => lvm.groups(),
      volumes: () => lvm.volumes(),
      physicals: () => lvm.physicals(),
      createGroup: changing((...args) => lvm.createGroup(...args)),
      createThinPool: changing((...args) => lvm.createThinPool(...args)),
      createThinVolume: changing((...args) => lvm.createThinVolume(...args)),
      createThinSnapshot: changing((...args) => lvm.createThinSnapshot(...args)),
      activate: changing((...args) => lvm.activate(...args)),
      extend: changing((...args) => lvm.extend(...args)),
      addTag: changing((...args) => lvm.addTag(...args)),
      changeTags: changing((...args) => lvm.changeTags(...args)),
      rename: changing((...args) => lvm.rename(...args)),
      remove: changing((...args) => lvm.remove(...args)),
    },
  };
}
