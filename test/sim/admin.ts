/** The person who looks after Holdfast, with the real commands: a forced start, and `holdfast recover`. */
import type { Context } from '../../cli/context.ts';
import { forceStart } from '../../cli/force-start.ts';
import { recover } from '../../cli/recover/recover.ts';
import { describeError } from '../../lib/describe-error.ts';
import { kinds } from '../../lib/kube/client.ts';
import type { Kube } from '../../lib/kube/kube.ts';
import type { ProgramHandle, Scheduler } from './scheduler.ts';
import { WORLD_BEGAN_MS } from './scheduler.ts';

export interface Admin {
  /** From now on runs `holdfast recover --apply` when a volume says that the storage nodes know more of it than the API server does. */
  recoverWhenAsked(): void;
  /** The API server has been restored: runs it in any case, again and again. */
  recoverAlways(): void;
  /** For so long looks for a volume that waits for replicas out of reach, and then gives their writes up. */
  force(forMs: number): void;
  /** Does nothing more. */
  rest(): void;
}

export interface AdminOptions {
  readonly scheduler: Scheduler;
  readonly kubeOf: (handle: ProgramHandle) => Kube;
  readonly namespace: string;
  readonly volume: string;
  readonly say: (what: string) => void;
  /** One of several replicas from which the volume may go on. */
  readonly choose: (replicas: readonly string[]) => string;
  /** The person is about to accept the loss of what others hold. */
  readonly onDecision: () => void;
}

const LOOK_MS = 1000;
/** A person who is asked to decide waits first whether it is still necessary. */
const HOPE_MS = 8000;

export function startAdmin(options: AdminOptions): Admin {
  const { scheduler, kubeOf, namespace, volume: name, say } = options;
  const handle: ProgramHandle = { name: 'admin', alive: true };
  const kube = kubeOf(handle);
  const context: Context = {
    volumes: kube.resource(kinds.replicatedVolumes),
    replicas: kube.resource(kinds.volumeReplicas),
    connections: kube.resource(kinds.volumeConnections),
    storageNodes: kube.resource(kinds.storageNodes),
    snapshots: kube.resource(kinds.replicatedSnapshots),
    copies: kube.resource(kinds.snapshotReplicas),
    leases: kube.resource(kinds.leases, namespace),
    nowMs: () => WORLD_BEGAN_MS + scheduler.now(),
    out: (text) => {
      offered.push(...[...text.matchAll(/--keep (\S+)/g)].map((match) => match[1] ?? ''));
      say(text.trim());
    },
    paint: (text) => text,
  };
  let isDone = false;
  let recovers: 'when asked' | 'always' | undefined;
  /** What the last command offered to go on from, and since when there was something to decide. */
  const offered: string[] = [];
  let undecidedMs: number | undefined;

  /** Looks again and again, until there is nothing more to do; what fails is done again. */
  const look = async (work: () => Promise<boolean>): Promise<void> => {
    while (!isDone) {
      try {
        if (await work()) return;
      } catch (error) {
        say(describeError(error));
      }
      await scheduler.timer(handle, LOOK_MS, 'the admin looks');
    }
  };
  const recoverOnce = async (): Promise<boolean> => {
    const volume = await context.volumes.get(name);
    if (recovers !== 'always' && volume?.status?.message?.includes('HF200') !== true) return false;
    offered.length = 0;
    await recover(context, { volume: undefined, without: [], apply: true, json: false });
    undecidedMs = offered.length === 0 ? undefined : (undecidedMs ?? scheduler.now());
    if (undecidedMs === undefined || scheduler.now() < undecidedMs + HOPE_MS) return false;
    options.onDecision();
    const keep = options.choose([...offered]);
    await recover(context, { volume: name, without: [], keep, acceptDataLoss: true, apply: true, json: false });
    return false;
  };
  const forceOnce = async (): Promise<boolean> => {
    const { status, spec } = (await context.volumes.get(name)) ?? {};
    const [replica] = Object.keys(status?.outOfSync ?? {}).filter((each) => !status?.inSync?.includes(each));
    const isAsked = (spec?.forceStart?.lineage ?? 0) > (status?.lineage ?? 1);
    if (status?.phase !== 'Waiting' || replica === undefined || isAsked) return false;
    await forceStart(context, name, { replica, acceptDataLoss: true, json: false });
    return true;
  };

  const begin = (how: 'when asked' | 'always'): void => {
    if (recovers === undefined) void look(recoverOnce);
    recovers = how;
  };

  return {
    recoverWhenAsked: () => begin('when asked'),
    recoverAlways: () => begin('always'),
    rest: () => {
      isDone = true;
    },
    force: (forMs) => {
      const endMs = scheduler.now() + forMs;
      void look(async () => scheduler.now() >= endMs || (await forceOnce()));
    },
  };
}
