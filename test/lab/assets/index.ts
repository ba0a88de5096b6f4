import { controlPlaneBinaries } from '../../controlplane/binaries.ts';
import { cacheDir } from '../cache.ts';
import type { Progress } from '../progress.ts';
import { guestAssets } from './guest.ts';
import { qemuAssets } from './qemu.ts';
import { requireTools, runTools } from './tools.ts';

/**
 * Sees to it that everything a lab needs from the network is in the cache: QEMU, the guest, etcd and kube-apiserver. Called
 * outside of the lab's network, which leads nowhere. Returns at once when it is all there.
 */
export async function prepareAssets(progress: Progress): Promise<void> {
  await requireTools(runTools, progress);
  const cache = cacheDir();
  const guest = async (): Promise<void> => {
    await qemuAssets(cache, progress);
    await guestAssets(cache, progress);
  };
  const results = await Promise.allSettled([controlPlaneBinaries(progress), guest()]);
  for (const result of results) {
    if (result.status === 'rejected') throw result.reason;
  }
}
