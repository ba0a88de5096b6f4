import type { ReplicatedVolume, VolumeConnection } from '../../../lib/api/index.ts';
import {
  arrayName,
  ARRAY_PREFIX,
  clientLeaseName,
  devicePath,
  MAX_VOLUMES_ANNOTATION,
} from '../../../lib/api/names.ts';
import { sleep } from '../../../lib/clock.ts';
import { kinds } from '../../../lib/kube/client.ts';
import type { EventRecorder } from '../../../lib/kube/events.ts';
import type { Kube } from '../../../lib/kube/kube.ts';
import { startHeartbeat } from '../../../lib/kube/lease.ts';
import type { Logger } from '../../../lib/log.ts';
import { fenceArray } from './fence.ts';
import { removeStrays } from './strays.ts';
import { VolumeLoop } from './loop.ts';
import { observeHost, type HostFacts, type SharedHostFacts } from './observe.ts';
import type { AgentPorts } from './ports.ts';
import { resumeAll } from './suspension.ts';

/** What the kernel has is looked at again when it is older than this. */
const HOST_FACTS_MS = 50;
const FENCE_RETRY_MS = 500;

export interface ClientAgentOptions {
  readonly node: string;
  readonly kube: Kube;
  readonly host: AgentPorts;
  readonly recorder: Pick<EventRecorder, 'event'>;
  readonly namespace: string;
  readonly leaseDurationMs: number;
  /** How many volumes the node takes; 0 for no limit. */
  readonly maxVolumes?: number;
  readonly log: Logger;
}

export interface ClientAgent {
  /** Stops watching. Arrays, legs and I/O stay as they are. */
  stop(): Promise<void>;
}

/**
 * Starts the client agent of this node: the keeper of the write gate. It holds one loop per VolumeConnection of the
 * node, and takes arrays away that the API no longer grants to it.
 */
export async function startClientAgent(options: ClientAgentOptions): Promise<ClientAgent> {
  const { node, kube, host, recorder, namespace, leaseDurationMs, log } = options;
  const { clock } = host;
  await host.prepare();
  // Before anything else, and not waited for: md may wait for a leg whose I/O only a loop can end, as with a valve in the middle of
  // which that process was killed.
  const resumed = resumeAll(host.md.list(ARRAY_PREFIX), host);
  const volumes = kube.resource(kinds.replicatedVolumes);
  const connections = kube.resource(kinds.volumeConnections);
  const loops = new Map<string, { loop: VolumeLoop; done: Promise<void>; isBack: boolean }>();
  const hostFacts = sharedHostFacts(host);
  let stopping = false;

  const volumeInformer = kube.informer<ReplicatedVolume>(kinds.replicatedVolumes, {
    fieldSelector: `status.attachment.node=${node}`,
    log,
    onChange: (volume) => loops.get(`${volume.metadata.name}.${node}`)?.loop.wake(),
  });
  const connectionInformer = kube.informer<VolumeConnection>(kinds.volumeConnections, {
    fieldSelector: `spec.node=${node}`,
    log,
    onChange: (object, _previous, gone) => {
      const known = loops.get(object.metadata.name);
      if (known) {
        // An API server that was restored from a backup has connections again that were released.
        known.isBack = !gone && known.loop.isReleased();
        known.loop.wake();
      } else if (!gone && !stopping) begin(object);
    },
  });

  function begin(object: VolumeConnection): void {
    const name = object.metadata.name;
    const loop = new VolumeLoop(object, {
      node,
      ports: host,
      volumes,
      connections,
      log,
      event: (volume, type, reason, message) => recorder.event(volume, type, reason, message),
      observeHost: hostFacts,
      resumed,
      cachedVolume: (volume) => volumeInformer.get(volume),
      cachedConnection: (wanted) => connectionInformer.get(wanted),
    });
    const done = loop.run().finally(() => {
      const isBack = loops.get(name)?.isBack === true;
      loops.delete(name);
      if (!stopping) clearStrays().catch((error: unknown) => log.error('strays stay', { error: String(error) }));
      // A new connection of the same name may have appeared while the old one was being released, or, after a restore from a
      // backup, the old one as it was before.
      const next = connectionInformer.get(name);
      const isOther = next?.metadata.uid !== object.metadata.uid || next?.metadata.deletionTimestamp === undefined;
      if (!stopping && next && (isBack || isOther)) begin(next);
    });
    loops.set(name, { loop, done, isBack: false });
  }

  /** NVMe names of the legs, and paths of the volumes, that somebody on this node answers for. */
  function known(): ReadonlySet<string> {
    const listed = connectionInformer
      .list()
      .flatMap(({ spec }) => [devicePath(spec.volume), ...spec.legs.map(({ nqn }) => nqn)]);
    const kept = [...loops].flatMap(([name, { loop }]) => [devicePath(volumeOf(name)), ...loop.legs()]);
    return new Set([...listed, ...kept]);
  }

  const clearStrays = (): Promise<void> => removeStrays(known, { ports: host, log });
  const volumeOf = (connection: string): string => connection.slice(0, -`.${node}`.length);

  const heartbeat = startHeartbeat({
    leases: kube.resource(kinds.leases, namespace),
    name: clientLeaseName(node),
    holder: node,
    durationMs: leaseDurationMs,
    annotations: { [MAX_VOLUMES_ANNOTATION]: String(options.maxVolumes ?? 0) },
    log,
    clock,
  });
  volumeInformer.start();
  connectionInformer.start();
  const sweeping = sweep();

  /** Arrays of volumes that are no longer attached here, by the record, were taken from us while we were away. */
  async function sweep(): Promise<void> {
    await Promise.all([volumeInformer.synced(), connectionInformer.synced()]);
    const connected = connectionInformer.list().map((object) => arrayName(object.spec.volumeUid));
    const attached = volumeInformer.list().map((volume) => arrayName(volume.metadata.uid ?? ''));
    const ours = new Set([...connected, ...attached]);
    let left = host.md.list(ARRAY_PREFIX).filter((name) => !ours.has(name));
    while (left.length > 0 && !stopping) {
      const still: string[] = [];
      for (const name of left) if (await fenceArray(name, { ports: host, log })) still.push(name);
      left = still;
      if (left.length > 0) await sleep(clock, FENCE_RETRY_MS);
    }
    if (!stopping) await clearStrays();
  }
  sweeping.catch((error: unknown) => log.error('sweep failed', { error: String(error) }));

  return {
    async stop() {
      stopping = true;
      for (const { loop } of loops.values()) loop.stop();
      await Promise.all([...loops.values()].map(({ done }) => done));
      await Promise.all([volumeInformer.stop(), connectionInformer.stop(), heartbeat.stop()]);
    },
  };
}

function sharedHostFacts(host: AgentPorts): SharedHostFacts {
  let takenMs = -Infinity;
  let facts: HostFacts | undefined;
  return {
    read() {
      const nowMs = host.clock.monotonicMs();
      if (!facts || nowMs - takenMs > HOST_FACTS_MS) {
        takenMs = nowMs;
        facts = observeHost(host);
      }
      return facts;
    },
    forget() {
      facts = undefined;
    },
  };
}
