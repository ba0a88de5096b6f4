/** One line of the API server's audit log (audit.k8s.io/v1, Event), as far as it is looked at. */
export interface AuditEntry {
  readonly userAgent?: string;
  readonly verb: string;
  readonly requestURI: string;
  readonly requestReceivedTimestamp: string;
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
}

/** How often a program asked for something. */
export interface RequestCount {
  readonly program: string;
  readonly verb: string;
  /** The kind's plural, and what of it: `volumereplicas/status`. */
  readonly what: string;
  readonly count: number;
}

export interface Requests {
  /** Of our programs. */
  readonly ours: number;
  /** Of sidecars and Kubernetes' controllers. */
  readonly others: number;
  /** By program, the one that asks most first; of each the most frequent first. */
  readonly detail: readonly RequestCount[];
}

const OURS = /^(holdfast-|storage-agent)/;
const OTHERS = /^(csi-provisioner|csi-attacher|kube-controller-manager)/;

/**
 * Counts requests that volumes cause: not heartbeats, not watches, and not what a program lists when it starts or watches anew. The
 * list of one volume's objects counts.
 */
export function summarize(entries: readonly AuditEntry[], sinceMs: number): Requests {
  const counts = new Map<string, RequestCount>();
  const perProgram = new Map<string, number>();
  let ours = 0;
  let others = 0;
  for (const { userAgent = '', verb, requestURI, requestReceivedTimestamp, objectRef } of entries) {
    if (Date.parse(requestReceivedTimestamp) < sinceMs) continue;
    if (objectRef?.resource === 'leases' || verb === 'watch') continue;
    if (verb === 'list' && !isOfOneVolume(requestURI)) continue;
    if (OURS.test(userAgent)) ours += 1;
    else if (OTHERS.test(userAgent)) others += 1;
    else continue;
    const program = userAgent.split('/')[0] ?? '';
    const what = [objectRef?.resource, objectRef?.subresource].filter((part) => part !== undefined).join('/');
    const key = `${program} ${verb} ${what}`;
    const count = (counts.get(key)?.count ?? 0) + 1;
    counts.set(key, { program, verb, what, count });
    perProgram.set(program, (perProgram.get(program) ?? 0) + 1);
  }
  const total = ({ program }: RequestCount): number => perProgram.get(program) ?? 0;
  const detail = [...counts.values()].sort(
    (a, b) => total(b) - total(a) || a.program.localeCompare(b.program) || b.count - a.count,
  );
  return { ours, others, detail };
}

function isOfOneVolume(requestURI: string): boolean {
  const selector = new URL(requestURI, 'http://localhost').searchParams.get('fieldSelector') ?? '';
  return selector.startsWith('spec.volume=') || (selector.startsWith('metadata.name=') && /volumes\?/.test(requestURI));
}

/** The counts per volume as a Markdown table, those of our programs first. */
export function requestTable({ detail }: Requests, volumes: number): string {
  const ours = detail.filter(({ program }) => OURS.test(program));
  const rows = [...ours, ...detail.filter((each) => !ours.includes(each))].map(
    ({ program, verb, what, count }) => `| ${program} | ${verb} | ${what} | ${(count / volumes).toFixed(2)} |`,
  );
  return ['| program | verb | kind | per volume |', '| --- | --- | --- | --- |', ...rows].join('\n');
}
