import type { Lvm, LvmVolume, TagChange } from '../lib/host/lvm.ts';

/** A short memory for `lvs`, which every replica asks for: one run serves all that look within the same moment. */
export interface VolumeCache {
  get(): Promise<readonly LvmVolume[]>;
  /** Asks LVM now. */
  fresh(): Promise<readonly LvmVolume[]>;
}

const MAX_AGE_MS = 3_000;

/**
 * Wraps the port to LVM so that each of our changes empties the memory: what follows a change never plans on what was
 * before it. Tags that LVM has accepted are remembered instead: it would only say them again, and hosts wait meanwhile.
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
  const changeTags: Lvm['changeTags'] = async (group, volume, change) => {
    const before = held;
    const known = await before?.volumes.catch(() => undefined);
    held = undefined;
    await lvm.changeTags(group, volume, change);
    // Another report may have begun meanwhile, and tell of what was before or after.
    const isOurs = held === undefined && before !== undefined && known !== undefined;
    held = isOurs ? { ...before, volumes: Promise.resolve(retagged(known, group, volume, change)) } : undefined;
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
      changeTags,
      rename: changing((...args) => lvm.rename(...args)),
      remove: changing((...args) => lvm.remove(...args)),
    },
  };
}

function retagged(
  volumes: readonly LvmVolume[],
  group: string,
  name: string,
  { add, remove }: TagChange,
): readonly LvmVolume[] {
  return volumes.map((each) => {
    if (each.group !== group || each.name !== name) return each;
    const kept = each.tags.filter((tag) => !remove.includes(tag) && !add.includes(tag));
    return { ...each, tags: [...kept, ...add] };
  });
}
