import type { ReplicatedVolume, VolumeConnection } from '../../../lib/api/index.ts';
import type { Resource } from '../../../lib/kube/client.ts';
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
  readonly connection: VolumeConnection;
  readonly volume: ReplicatedVolume;
  readonly facts: ConnectionFacts;
  readonly memory: VolumeMemory;
  readonly log: Logger;
  /** Called with each state of the record that the API server accepted. */
  recorded(volume: ReplicatedVolume): void;
  /** Called when a released connection may go. */
  released(): Promise<void>;
  event(type: 'Normal' | 'Warning', reason: string, message: string): void;
}

export function factsOf(nqn: string, { facts }: ExecuteContext): LegFacts {
  const leg = facts.legs.find((found) => found.nqn === nqn);
  if (!leg) throw new Error(`no leg ${nqn}`);
  return leg;
}

/** Changes the volume's record while its epoch is ours. Returns when the API server has accepted it. */
export async function record(
  context: ExecuteContext,
  change: (status: NonNullable<ReplicatedVolume['status']>) => RecordChange | undefined,
): Promise<void> {
  const owner = { node: context.node, epoch: context.connection.spec.epoch };
  context.recorded(await changeRecord(context.volumes, context.volume, owner, change));
}
