import type { ReplicatedVolume, VolumeConnection } from '../../../lib/api/index.ts';
import { KubeError, type Resource } from '../../../lib/kube/client.ts';
import type { Logger } from '../../../lib/log.ts';
import type { ConnectionFacts, LegFacts } from './facts.ts';
import type { VolumeMemory } from './memory.ts';
import type { AgentPorts } from './ports.ts';
import { changeRecord, type RecordChange } from './record.ts';

/** What the effects on one volume work with. */
export interface ExecuteContext {
  readonly node: string;
  readonly ports: AgentPorts;
  readonly volumes: Resource<ReplicatedVolume>;
  readonly connections: Pick<Resource<VolumeConnection>, 'get'>;
  readonly connection: VolumeConnection;
  readonly volume: ReplicatedVolume;
  readonly facts: ConnectionFacts;
  readonly memory: VolumeMemory;
  readonly log: Logger;
  /** Called with each state of the record that the API server accepted. */
  recorded(volume: ReplicatedVolume): void;
  /** Called when the kernel has been changed beside the loop. */
  changed(): void;
  /** Called when a released connection may go. */
  released(): Promise<void>;
  event(type: 'Normal' | 'Warning', reason: string, message: string): void;
}

export function factsOf(nqn: string, { facts }: ExecuteContext): LegFacts {
  const leg = facts.legs.find((found) => found.nqn === nqn);
  if (!leg) throw new Error(`no leg ${nqn}`);
  return leg;
}

/** The volume may have replaced it meanwhile, of which the connection tells a moment later. */
export function isMember(replica: string, status: Pick<NonNullable<ReplicatedVolume['status']>, 'replicas'>): boolean {
  return (status.replicas ?? []).some(({ name, role }) => name === replica && role === 'Member');
}

/** Whether a replica that the API server lists is, by its UID, the one of that name whose leg is a member here. */
async function sameReplicas({ connection, connections, facts }: ExecuteContext): Promise<(replica: string) => boolean> {
  const listed = (await connections.get(connection.metadata.name))?.spec.legs ?? [];
  return (replica) => {
    const legs = facts.legs.filter((leg) => leg.replica === replica && leg.desired);
    const members = facts.legs.filter((leg) => leg.replica === replica && leg.member !== undefined);
    const known = members.length > 0 ? members : legs;
    return listed.some((leg) => leg.replica === replica && known.some(({ uid }) => uid === leg.uid));
  };
}

/** A request takes no longer than this, and where the policy sets a limit no less than the other. */
const RECORD_TIMEOUT_MAX_MS = 10_000;
const RECORD_TIMEOUT_MIN_MS = 200;

/**
 * Changes the volume's record while its epoch is ours. Returns what the API server has accepted. Remembers since when
 * it could not be reached; a refusal is an answer.
 */
export async function record(
  context: ExecuteContext,
  change: (status: NonNullable<ReplicatedVolume['status']>) => RecordChange | undefined,
): Promise<ReplicatedVolume> {
  const { memory, ports, facts } = context;
  const owner = { node: context.node, epoch: context.connection.spec.epoch };
  const startedMs = ports.clock.monotonicMs();
  // Who may go on without the API server must not wait for its silence any longer than that.
  const leftMs = (facts.continueAfterMs ?? Infinity) - facts.unrecordableForMs;
  const timeoutMs = Math.min(RECORD_TIMEOUT_MAX_MS, Math.max(RECORD_TIMEOUT_MIN_MS, leftMs));
  try {
    const options = { timeoutMs, knownGeneration: memory.recordGeneration, isSame: () => sameReplicas(context) };
    const accepted = await changeRecord(context.volumes, context.volume, owner, change, options);
    context.recorded(accepted);
    memory.unrecordableSinceMs = undefined;
    return accepted;
  } catch (error) {
    const away = error instanceof KubeError && (error.isUnanswered || error.status >= 500);
    memory.unrecordableSinceMs = away ? (memory.unrecordableSinceMs ?? startedMs) : undefined;
    throw error;
  }
}
