import type { KubeObject } from '../../lib/api/index.ts';
import { OPERATOR_LEASE, storageLeaseName } from '../../lib/api/names.ts';
import { systemClock } from '../../lib/clock.ts';
import { kinds, type KubeConnection, type Lease } from '../../lib/kube/client.ts';
import { createInformer, type Informer } from '../../lib/kube/informer.ts';
import { LeaseTracker } from '../../lib/kube/lease.ts';
import type { Logger } from '../../lib/log.ts';
import type { CandidateNode } from '../../operator/placement/request.ts';
import { candidatesOf } from '../../operator/volume/candidates.ts';

/**
 * The storage nodes as the operator's placement sees them, from local copies. While no operator leads, what was known last
 * stands: nobody's silence counts, as nobody is there who would judge it.
 */
export function watchCandidates(
  connection: KubeConnection,
  options: { readonly namespace: string; readonly leaseDurationMs: number; readonly log: Logger },
): { readonly candidates: () => readonly CandidateNode[]; readonly informers: readonly Informer<KubeObject>[] } {
  const { namespace, leaseDurationMs, log } = options;
  const tracker = new LeaseTracker({ witness: OPERATOR_LEASE, defaultDurationMs: leaseDurationMs });
  const nodes = createInformer(connection, kinds.storageNodes, { log });
  const replicas = createInformer(connection, kinds.volumeReplicas, {
    log,
    indexes: { storageNode: ({ spec }) => [spec.storageNode] },
  });
  const leases = createInformer<Lease>(connection, kinds.leases, {
    namespace,
    log,
    onChange: (lease, _previous, deleted) => {
      if (deleted) tracker.forget(lease.metadata.name);
      else tracker.observe(lease, systemClock.monotonicMs());
    },
  });
  return {
    candidates: () =>
      candidatesOf(
        nodes.list(),
        (node) => replicas.byIndex('storageNode', node),
        (node) => tracker.isFresh(storageLeaseName(node), systemClock.monotonicMs()),
      ),
    informers: [nodes, replicas, leases],
  };
}
