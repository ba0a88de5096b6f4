import type { StorageNodeStatus } from '../../lib/api/index.ts';
import { describeError } from '../../lib/log.ts';
import type { Ports } from '../ports.ts';
import type { VolumeCache } from '../volumes.ts';
import { setUpPools } from './setup.ts';
import { nodeStatus } from './status.ts';
import { createUnknownFinder } from './unknown.ts';

/** How often capacity is looked at. */
const REFRESH_MS = 10_000;

export interface NodeLoopOptions {
  readonly agentVersion: string;
  /** Called when pools became usable (or stopped to be), because replicas wait for them. */
  readonly onPoolsChanged: () => void;
}

/** The loop over this node: its target, its pools, its status. */
export interface NodeLoop {
  reconcile(): Promise<{ requeueAfterMs: number }>;
}

/** Makes the loop. It remembers whether the target was prepared, and which pools could be used the last time. */
export function createNodeLoop(ports: Ports, volumes: VolumeCache, options: NodeLoopOptions): NodeLoop {
  let isPrepared = false;
  let usable: string | undefined;
  const findUnknown = createUnknownFinder(ports);

  const prepareTarget = async (): Promise<string | undefined> => {
    if (isPrepared) return undefined;
    try {
      await ports.nvmet.prepare();
      isPrepared = true;
      return undefined;
    } catch (error) {
      return describeError(error);
    }
  };

  return {
    reconcile: async () => {
      const node = ports.api.cachedNode();
      // No object: the administrator hasn't made it yet, or has taken it away. What stands, stands.
      if (node === undefined) return { requeueAfterMs: REFRESH_MS };
      const targetProblem = await prepareTarget();
      const outcomes = await setUpPools(ports, volumes, node);
      const now = outcomes.flatMap((outcome) => (outcome.figures === undefined ? [] : [outcome.pool])).join(',');
      if (usable !== now) {
        usable = now;
        options.onPoolsChanged();
      }
      // What an object is about to take over is no more unknown than what has its own.
      const known = new Set(
        ports.api.cachedReplicas().flatMap(({ metadata, spec }) => [metadata.uid ?? '', spec.adopt?.replicaUid ?? '']),
      );
      const facts = {
        outcomes,
        targetProblem,
        unknownReplicas: await findUnknown(node, await volumes.get(), known),
        agentVersion: options.agentVersion,
        bootId: ports.bootId,
      };
      const status = nodeStatus(node, facts, new Date(ports.now()));
      if (!isSame(node.status, status)) await ports.api.writeNodeStatus(status);
      return { requeueAfterMs: REFRESH_MS };
    },
  };
}

/** Whether two statuses say the same, whatever the order of their fields. */
function isSame(before: StorageNodeStatus | undefined, after: StorageNodeStatus): boolean {
  return canonical(before) === canonical(after);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) =>
    each !== null && typeof each === 'object' && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}
