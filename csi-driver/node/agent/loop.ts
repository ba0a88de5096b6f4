import type { ReplicatedVolume, VolumeConnection } from '../../../lib/api/index.ts';
import { arrayName, CLIENT_AGENT_FINALIZER } from '../../../lib/api/names.ts';
import { KubeError, type Resource } from '../../../lib/kube/client.ts';
import { removeFinalizer } from '../../../lib/kube/finalizer.ts';
import type { Logger } from '../../../lib/log.ts';
import { execute } from './execute.ts';
import type { Action, ConnectionFacts } from './facts.ts';
import { Glance, type Calm } from './glance.ts';
import { VolumeMemory } from './memory.ts';
import { observe, type SharedHostFacts } from './observe.ts';
import type { AgentPorts } from './ports.ts';
import { isCalm, lookAgainMs, plan, slowLegs } from './plan.ts';
import { EpochLostError, isForgotten } from './record.ts';
import { connectionStatus, isUrgent } from './status.ts';

/** Progress of a sync is written at most this often. */
const PROGRESS_MS = 1000;
/** Between two looks there is always a pause. */
const LEAST_PAUSE_MS = 20;
/** Figures alone (latencies) are written at most this often. */
const FIGURES_MS = 30_000;
/** Caches that are behind for longer are no matter of a slow watch alone. */
const BEHIND_MS = 5_000;
/** I/O that has just entered a valve has reached the device below it by then. */
const UNSURE_MS = 20;
/** A calm volume is looked at in full at least this often. */
const FULL_LOOK_MS = 10_000;

export interface LoopDependencies {
  readonly node: string;
  readonly ports: AgentPorts;
  readonly volumes: Resource<ReplicatedVolume>;
  readonly connections: Resource<VolumeConnection>;
  readonly log: Logger;
  readonly event: (volume: ReplicatedVolume, type: 'Normal' | 'Warning', reason: string, message: string) => void;
  readonly observeHost: SharedHostFacts;
  /** Ends when nothing is held any more that a process before this one had held for a snapshot. */
  readonly resumed: Promise<void>;
  cachedVolume(name: string): ReplicatedVolume | undefined;
  cachedConnection(name: string): VolumeConnection | undefined;
}

/**
 * Keeps one volume connected on this node: look, plan, act, every few hundred milliseconds while there is something to
 * watch. The kernel tells of a silent leg in no other way than by looking.
 */
export class VolumeLoop {
  private readonly name: string;
  private readonly deps: LoopDependencies;
  private readonly memory = new VolumeMemory();
  private connection: VolumeConnection;
  private volume: ReplicatedVolume | undefined;
  private published: VolumeConnection['status'];
  private publishedAtMs = 0;
  private publishing: Promise<void> | undefined;
  /** There was more to tell while the last report was under way. */
  private isUnpublished = false;
  private stopping = false;
  private wakeUp: (() => void) | undefined;
  /** Something called for a look while one was under way. */
  private isAwake = false;
  private finished = false;
  /** Since when the caches have been behind what is known here. */
  private behindSinceMs: number | undefined;
  /** The last glance has to be followed by another soon. */
  private isUnsure = false;
  /** The last full look, when it found all calm. */
  private calm:
    | {
        readonly glance: Glance;
        readonly legTimeoutMs: number;
        readonly atMs: number;
        readonly objects: readonly unknown[];
      }
    | undefined;

  constructor(connection: VolumeConnection, deps: LoopDependencies) {
    this.name = connection.metadata.name;
    this.connection = connection;
    this.deps = deps;
    this.published = connection.status;
    // A new standstill would be ended together with an old one.
    const { suspension } = this.memory;
    suspension.busy = true;
    void deps.resumed.then(() => {
      suspension.busy = false;
    });
  }

  /** Looks again at once. */
  wake(): void {
    this.isAwake = true;
    this.wakeUp?.();
  }

  /** NVMe names of the legs that this loop answers for. */
  legs(): string[] {
    return this.memory.legs().map((leg) => leg.nqn);
  }

  /** Whether nothing of the volume is left here, and its connection was let go. */
  isReleased(): boolean {
    return this.finished;
  }

  /** Ends the loop after the action that runs now. The kernel's state stays as it is: I/O goes on. */
  stop(): void {
    this.stopping = true;
    this.wake();
  }

  /** Runs until stopped, or until nothing of the volume is left on this node. */
  async run(): Promise<void> {
    while (!this.stopping && !this.finished) {
      const startedMs = this.nowMs();
      this.isAwake = false;
      let intervalMs = 250;
      try {
        intervalMs = await this.tick();
      } catch (error) {
        this.memory.failures = [this.failed('look', error)];
      }
      const restMs = this.isAwake ? 0 : intervalMs - (this.nowMs() - startedMs);
      await this.pause(Math.max(LEAST_PAUSE_MS, restMs));
    }
    this.calm?.glance.close();
    await this.memory.endStandstill?.(false);
    await this.publishing;
  }

  private nowMs(): number {
    return this.deps.ports.clock.monotonicMs();
  }

  private pause(ms: number): Promise<void> {
    if (this.stopping || this.finished) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.deps.ports.clock.setTimeout(resolve, ms);
      this.wakeUp = () => {
        cancel();
        resolve();
      };
    });
  }

  /** One look. @returns milliseconds until the next. */
  private async tick(): Promise<number> {
    const { deps, memory } = this;
    await this.refresh();
    const calm = this.calm && this.glanceAt(this.calm);
    if (this.calm && calm !== 'Gone') return calm === 'Unsure' ? UNSURE_MS : lookAgainMs(this.calm.legTimeoutMs, true);
    this.calm?.glance.close();
    this.calm = undefined;
    const facts = await observe({
      node: deps.node,
      ports: deps.ports,
      connection: this.connection,
      volume: this.volume,
      host: deps.observeHost.read(),
      memory,
      nowMs: this.nowMs(),
    });
    const planned = plan(facts);
    const failures: string[] = [];
    for (const action of planned.actions) {
      const error = await this.act(action, facts);
      if (error !== undefined) failures.push(this.failed(action.kind, error));
      // What one can't do is no reason to leave out the others: one of them may be what it waits for.
      if (error instanceof EpochLostError) break;
    }
    memory.failures = failures;
    // What was to be told before a start is no longer so: the next look tells, at once.
    if (failures.length === 0 && planned.actions.some(({ kind }) => kind === 'Assemble')) return 0;
    this.tellOfSlowLegs(facts);
    if (!this.finished) this.publish(connectionStatus(this.connection, facts, planned, memory, deps.ports));
    // What is still to be reported keeps a volume under full looks, as only those report.
    const isNowCalm = failures.length === 0 && this.publishing === undefined && isCalm(facts, planned);
    if (isNowCalm) {
      this.calm = {
        glance: new Glance(
          arrayName(this.connection.spec.volumeUid),
          facts.legs,
          (nqn) => memory.leg(nqn).tracker,
          deps.ports.sysfs,
          () => this.wake(),
        ),
        legTimeoutMs: facts.legTimeoutMs,
        atMs: this.nowMs(),
        objects: [this.connection, this.volume],
      };
    }
    return lookAgainMs(facts.legTimeoutMs, isNowCalm);
  }

  private tellOfSlowLegs(facts: ConnectionFacts): void {
    const { memory, deps, volume } = this;
    const slow = slowLegs(facts).map((leg) => leg.replica);
    for (const replica of slow.filter((name) => !memory.slow.includes(name))) {
      const message = `${replica}: its I/O takes far longer than the fastest leg's, and every write waits for it`;
      if (volume) deps.event(volume, 'Warning', 'LegSlow', message);
    }
    memory.slow = slow;
  }

  /** Whether a glance is enough: all was calm a moment ago, no object has changed since, and the kernel shows nothing new. */
  private glanceAt({ glance, atMs, objects }: NonNullable<VolumeLoop['calm']>): Calm {
    const nowMs = this.nowMs();
    if (nowMs - atMs > FULL_LOOK_MS || objects[0] !== this.connection || objects[1] !== this.volume) return 'Gone';
    const found = glance.look(nowMs);
    // A busy volume is found so now and again: one closer glance each time is enough, as the first would be followed by an alarm.
    this.isUnsure = found === 'Unsure' && !this.isUnsure;
    return found === 'Unsure' && !this.isUnsure ? 'Calm' : found;
  }

  /** Takes the newest of what the caches and our own writes say. */
  private async refresh(): Promise<void> {
    const { deps } = this;
    const connection = deps.cachedConnection(this.name);
    if (connection) this.connection = newer(this.connection, connection);
    const { volume: name, volumeUid, epoch } = this.connection.spec;
    const cached = deps.cachedVolume(name);
    if (cached) this.learn(newer(this.volume, cached));
    // The cache holds volumes attached here. One that is gone from it was handed on or deleted: ask.
    if (!cached || !connection) {
      const found = await deps.volumes.get(name);
      // Its word counts, whatever its version: after a restore from a backup the versions begin anew from an old one.
      if (found?.metadata.uid === volumeUid) this.learn(found);
      else this.volume = lost(this.connection, epoch);
    }
    if (!connection) this.connection = deleted(this.connection, deps.ports.clock.now());
    await this.catchUp(cached, connection);
  }

  /**
   * Caches lag for a moment behind what was written here. When they stay behind, the API server was perhaps restored from a
   * backup, and is asked itself: of the connection its word counts; of the record ours, while the epoch is ours.
   */
  private async catchUp(cached: ReplicatedVolume | undefined, connection: VolumeConnection | undefined): Promise<void> {
    const { deps, volume } = this;
    const isBehind = isOlder(cached, volume) || isOlder(connection, this.connection);
    if (!isBehind) this.behindSinceMs = undefined;
    else this.behindSinceMs ??= this.nowMs();
    if (this.behindSinceMs === undefined || this.nowMs() - this.behindSinceMs < BEHIND_MS) return;
    this.behindSinceMs = undefined;
    const [found, wanted] = await Promise.all([
      deps.volumes.get(this.connection.spec.volume),
      deps.connections.get(this.name),
    ]);
    if (wanted?.metadata.uid === this.connection.metadata.uid && wanted) this.connection = wanted;
    if (!found || found.metadata.uid !== volume?.metadata.uid) return;
    this.learn(found);
  }

  /** Of a record of the present epoch that is older than ours ours counts, whatever else has been written to the object since. */
  private learn(found: ReplicatedVolume): void {
    const isSame = this.volume?.metadata.uid === found.metadata.uid;
    if (isSame && isForgotten(this.volume?.status, found.status)) this.memory.forgotten = true;
    else this.volume = found;
  }

  /** @returns what it failed with */
  private async act(action: Action, facts: ConnectionFacts): Promise<unknown> {
    const { deps, memory, volume } = this;
    if (!volume) return undefined;
    try {
      await execute(action, {
        node: deps.node,
        ports: deps.ports,
        volumes: deps.volumes,
        connections: deps.connections,
        connection: this.connection,
        volume,
        facts,
        memory,
        log: deps.log,
        // Whatever its version: after a restore from a backup the versions begin anew from an old one.
        recorded: (accepted) => {
          this.volume = accepted;
          memory.forgotten = false;
        },
        changed: () => {
          deps.observeHost.forget();
          this.wake();
        },
        released: () => this.released(),
        event: (type, reason, message) => deps.event(volume, type, reason, message),
      });
      return undefined;
    } catch (error) {
      if (error instanceof EpochLostError) this.volume = (await deps.volumes.get(volume.metadata.name)) ?? this.volume;
      return error;
    } finally {
      deps.observeHost.forget();
    }
  }

  private async released(): Promise<void> {
    const current = await this.deps.connections.get(this.name);
    if (current && current.metadata.uid === this.connection.metadata.uid && current.metadata.deletionTimestamp) {
      await removeFinalizer(this.deps.connections, current, CLIENT_AGENT_FINALIZER);
    }
    this.finished = true;
  }

  private failed(what: string, error: unknown): string {
    const message = `${what}: ${error instanceof Error ? error.message : String(error)}`;
    if (!this.memory.failures.includes(message)) this.deps.log.warn(message, { connection: this.name });
    return message;
  }

  /** Writes the status beside the loop: a slow API server must not delay a decision about a leg. */
  private publish(status: NonNullable<VolumeConnection['status']>): void {
    const nowMs = this.nowMs();
    const sinceMs = nowMs - this.publishedAtMs;
    const syncing = status.legs?.some((leg) => leg.sync) ?? false;
    const due = isUrgent(this.published, status) || sinceMs >= (syncing ? PROGRESS_MS : FIGURES_MS);
    if (!due) return;
    if (this.publishing) {
      this.isUnpublished = true;
      return;
    }
    this.isUnpublished = false;
    this.publishing = this.deps.connections
      .patch(this.name, { status: replacing(this.published, status) }, { subresource: 'status' })
      .then((accepted) => {
        this.connection = newer(this.connection, accepted);
        this.published = status;
        this.publishedAtMs = nowMs;
        this.memory.unrecordableSinceMs = undefined;
      })
      .catch((error: unknown) => {
        if (error instanceof KubeError && error.isNotFound) return;
        this.deps.log.debug('status not written', { connection: this.name, error: String(error) });
      })
      .finally(() => {
        this.publishing = undefined;
        if (this.isUnpublished) this.wake();
      });
  }
}

/** A merge patch keeps what it does not name: fields that are gone are named with null. */
function replacing(before: object | undefined, after: object): object {
  const gone = Object.keys(before ?? {}).filter((key) => !(key in after));
  return { ...after, ...Object.fromEntries(gone.map((key) => [key, null])) };
}

interface Versioned {
  readonly metadata: { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined };
}

function isOlder(cached: Versioned | undefined, held: Versioned | undefined): boolean {
  return cached !== undefined && held?.metadata.uid === cached.metadata.uid && newer(held, cached) !== cached;
}

/** The newer of two states of an object. Resource versions of one object grow (Kubernetes 1.35, KEP-5504). */
function newer<T extends Versioned>(held: T | undefined, found: T): T {
  if (!held || held.metadata.uid !== found.metadata.uid) return found;
  return BigInt(found.metadata.resourceVersion ?? '0') >= BigInt(held.metadata.resourceVersion ?? '0') ? found : held;
}

/** The record of a volume that no longer exists: its epoch is nobody's. */
function lost({ spec }: VolumeConnection, epoch: number): ReplicatedVolume {
  return {
    metadata: { name: spec.volume },
    spec: { capacityBytes: spec.sizeBytes },
    status: { attachment: { node: '', hostNqn: '', epoch: epoch + 1, clean: false } },
  } as unknown as ReplicatedVolume;
}

function deleted(connection: VolumeConnection, nowMs: number): VolumeConnection {
  if (connection.metadata.deletionTimestamp !== undefined) return connection;
  return { ...connection, metadata: { ...connection.metadata, deletionTimestamp: new Date(nowMs).toISOString() } };
}
