import type { VolumeConnection } from '../../../lib/api/index.ts';
import { devicePath } from '../../../lib/api/names.ts';
import { isRunning } from '../../../lib/host/md.ts';
import type { ConnectionFacts, LegFacts, Plan } from './facts.ts';
import type { VolumeMemory } from './memory.ts';
import { STALLED_MS } from './join.ts';
import type { AgentPorts } from './ports.ts';

type Status = NonNullable<VolumeConnection['status']>;
type LegStatus = NonNullable<Status['legs']>[number];

/** What this client sees of the volume: the status of its VolumeConnection. `since` is kept while a leg's state is. */
export function connectionStatus(
  connection: VolumeConnection,
  facts: ConnectionFacts,
  plan: Plan,
  memory: VolumeMemory,
  { bootId, clock }: Pick<AgentPorts, 'bootId' | 'clock'>,
): Status {
  const now = new Date(clock.now());
  const previous = connection.status;
  const { array } = facts;
  const legs = facts.legs.filter((leg) => leg.desired).map((leg) => legStatus(leg, facts, memory, previous, now));
  const inSync = legs.filter((leg) => leg.state === 'InSync').length;
  // Only an array of this epoch: whoever reads the status takes it for the word of one who started it.
  const running = facts.grant === 'Ours' && facts.linked && isRunning(array);
  const syncing = legs.filter((leg) => leg.sync);
  const message = [
    plan.message,
    ...memory.failures,
    ...[memory.array.failure, memory.shape.failure].filter((failure) => failure !== undefined),
  ].join('; ');
  return {
    phase: plan.phase,
    message: message.slice(0, 1024),
    bootId,
    legs,
    legSummary: `${inSync}/${connection.spec.raidDisks} in sync`,
    syncSummary: syncing.map((leg) => syncText(leg)).join(', '),
    ...(running
      ? { epoch: connection.spec.epoch, devicePath: devicePath(connection.spec.volume), sizeBytes: array.sizeBytes }
      : {}),
    ...(array ? { arrayState: array.state } : {}),
    ...suspensionStatus(memory, previous),
    ...(memory.lastDrop ? { lastDrop: memory.lastDrop } : previous?.lastDrop ? { lastDrop: previous.lastDrop } : {}),
    ...(memory.lastSync ? { lastSync: memory.lastSync } : previous?.lastSync ? { lastSync: previous.lastSync } : {}),
  };
}

/** The answer to what was asked for; while it is worked on, the one before it. */
function suspensionStatus({ standstill }: VolumeMemory, previous: Status | undefined): Pick<Status, 'suspension'> {
  if (standstill === undefined || standstill.state === 'Preparing' || standstill.state === 'Suspending') {
    return previous?.suspension ? { suspension: previous.suspension } : {};
  }
  const { request, token, state, replicas, heldMs, message } = standstill;
  return {
    suspension: {
      request,
      token,
      state,
      replicas: [...replicas],
      ...(heldMs === undefined ? {} : { heldMs }),
      ...(message === undefined ? {} : { message }),
    },
  };
}

function legStatus(
  leg: LegFacts,
  facts: ConnectionFacts,
  memory: VolumeMemory,
  previous: Status | undefined,
  now: Date,
): LegStatus {
  const state = legState(leg);
  const before = previous?.legs?.find((found) => found.replica === leg.replica);
  const trace = memory.leg(leg.nqn);
  const progress = state === 'Syncing' ? facts.array?.sync : undefined;
  const since = before?.state === state && before.since !== undefined ? before.since : now.toISOString();
  const isIn = state === 'InSync' || state === 'Syncing';
  const waits =
    leg.drained || leg.member ? undefined : 'waits until its storage node proves that earlier I/O has ended';
  const error = isIn ? undefined : (waits ?? trace.failure);
  const drain = memory.drain(leg.replica);
  return {
    replica: leg.replica,
    state,
    since,
    path: leg.controller?.state ?? '',
    ...(drain === undefined ? {} : { drain }),
    ...(trace.tracker.latencyMs === undefined ? {} : { latencyMs: Math.round(trace.tracker.latencyMs * 100) / 100 }),
    ...(error === undefined ? {} : { message: error.slice(0, 1024) }),
    ...(progress
      ? {
          sync: {
            kind: trace.sync?.kind ?? 'Full',
            doneBytes: progress.doneBytes,
            totalBytes: progress.totalBytes,
            ...(trace.sync ? { startedAt: new Date(trace.sync.startedAtMs).toISOString() } : {}),
          },
        }
      : {}),
  };
}

function legState(leg: LegFacts): LegStatus['state'] {
  if (leg.member?.state.has('faulty')) return 'Failed';
  if (leg.member) {
    const answers = leg.controller?.state === 'live' && leg.quietMs < STALLED_MS;
    if (!answers) return 'Stalled';
    return leg.recorded && leg.member.state.has('in_sync') ? 'InSync' : 'Syncing';
  }
  if (leg.controller?.state === 'live') return 'Connecting';
  return leg.quietMs >= STALLED_MS ? 'Unreachable' : 'Connecting';
}

function syncText(leg: LegStatus): string {
  const { sync } = leg;
  if (!sync || sync.totalBytes === 0) return leg.replica;
  return `${leg.replica} ${Math.floor((100 * sync.doneBytes) / sync.totalBytes)}% (${sync.kind.toLowerCase()})`;
}

/**
 * Whether the difference is worth a write to the API server at once. Progress and latency are not: they ride along with
 * the next write, which comes at the latest after `PROGRESS_MS`.
 */
export function isUrgent(before: Status | undefined, after: Status): boolean {
  return JSON.stringify(essence(before)) !== JSON.stringify(essence(after));
}

function essence(status: Status | undefined): unknown {
  if (!status) return undefined;
  const { syncSummary: _, legs, ...rest } = status;
  return {
    ...rest,
    legs: legs?.map(({ replica, state, path, drain, message }) => ({ replica, state, path, drain, message })),
  };
}
