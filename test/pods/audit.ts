/** One line of the API server's audit log (audit.k8s.io/v1, Event), as far as it is looked at. */
export interface AuditEntry {
  readonly userAgent?: string;
  readonly verb: string;
  readonly requestReceivedTimestamp: string;
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
}

export interface Requests {
  /** Of our programs. */
  readonly ours: number;
  /** Of sidecars and Kubernetes' controllers. */
  readonly others: number;
  /** Who asked for what, and how often; the most frequent first. */
  readonly detail: readonly (readonly [string, number])[];
}

const OURS = /^(holdfast-|storage-agent)/;
const OTHERS = /^(csi-provisioner|csi-attacher|kube-controller-manager)/;

/**
 * Counts requests that volumes cause: not heartbeats, not watches, and not what a program reads once when it starts or watches anew.
 */
export function summarize(entries: readonly AuditEntry[], sinceMs: number): Requests {
  const counts = new Map<string, number>();
  let ours = 0;
  let others = 0;
  for (const { userAgent = '', verb, requestReceivedTimestamp, objectRef } of entries) {
    if (Date.parse(requestReceivedTimestamp) < sinceMs) continue;
    if (objectRef?.resource === 'leases' || verb === 'watch' || verb === 'list') continue;
    if (OURS.test(userAgent)) ours += 1;
    else if (OTHERS.test(userAgent)) others += 1;
    else continue;
    const what = [objectRef?.resource, objectRef?.subresource].filter((part) => part !== undefined).join('/');
    const key = `${userAgent.split('/')[0]} ${verb} ${what}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return { ours, others, detail: [...counts].sort((a, b) => b[1] - a[1]) };
}
