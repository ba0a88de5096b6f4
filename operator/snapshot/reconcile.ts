import { API_GROUP_VERSION, OPERATOR_FINALIZER, SNAPSHOT_LABEL, STORAGE_AGENT_FINALIZER } from '../../lib/api/names.ts';
import type {
  ReplicatedSnapshot,
  ReplicatedVolume,
  SnapshotReplica,
  VolumeConnection,
  VolumeReplica,
} from '../../lib/api/index.ts';
import type { Clock } from '../../lib/clock.ts';
import { isAlreadyExists, isConflict, isNotFound, type Logger, type Store } from '../volume/ports.ts';
import { planSnapshots } from './plan.ts';
import { isRequestOf } from './status.ts';
import type { Member, SnapshotAction, SnapshotSet, Untouched } from './world.ts';

/** What the informers know. */
export interface SnapshotCaches {
  readonly snapshot: (name: string) => ReplicatedSnapshot | undefined;
  readonly group: (name: string) => readonly ReplicatedSnapshot[];
  readonly snapshotsOf: (volume: string) => readonly ReplicatedSnapshot[];
  readonly copiesOf: (snapshot: string) => readonly SnapshotReplica[];
  readonly volume: (name: string) => ReplicatedVolume | undefined;
  /** Volumes without data that are to be made from the snapshot, or are clones of which it is the snapshot. */
  readonly madeFrom: (snapshot: string) => readonly ReplicatedVolume[];
  readonly replicasOf: (volume: string) => readonly VolumeReplica[];
  readonly connectionsOf: (volume: string) => readonly VolumeConnection[];
}

export interface SnapshotPorts {
  readonly snapshots: Store<ReplicatedSnapshot>;
  readonly copies: Store<SnapshotReplica>;
  readonly connections: Store<VolumeConnection>;
  readonly volumes: Pick<Store<ReplicatedVolume>, 'get'>;
  readonly log: Logger;
}

export interface SnapshotReconcilerOptions {
  readonly caches: SnapshotCaches;
  readonly ports: SnapshotPorts;
  readonly clock: Clock;
  readonly isStorageAlive: (node: string) => boolean;
  readonly isClientAlive: (node: string) => boolean;
  /** Writes are held no longer than this for a snapshot. */
  readonly standstillMs: number;
}

const STALE_MS = 50;

/** The key under which a snapshot is worked on: those of a group together. */
export function keyOf({ metadata, spec }: Pick<ReplicatedSnapshot, 'metadata' | 'spec'>): string {
  return spec.group === undefined ? `s/${metadata.name}` : `g/${spec.group.name}`;
}

/** The loop of one set of snapshots: observe, plan, execute. It keeps only since when it has seen writes held. */
export function createSnapshotReconciler(options: SnapshotReconcilerOptions) {
  const { caches, ports, clock } = options;
  const held = new Map<string, { readonly requests: string; readonly sinceMs: number }>();

  const memberOf = (snapshot: ReplicatedSnapshot): Member => {
    const { name, uid } = snapshot.metadata;
    const { volume: volumeName, forVolume } = snapshot.spec;
    const volume = caches.volume(volumeName);
    const attachment = volume?.status?.attachment;
    const connection = caches
      .connectionsOf(volumeName)
      .find(
        ({ spec }) =>
          spec.volumeUid === volume?.metadata.uid && spec.node === attachment?.node && spec.epoch === attachment.epoch,
      );
    return {
      snapshot,
      volume,
      replicas: caches.replicasOf(volumeName),
      connection,
      rival: rivalOf(snapshot, connection),
      copies: caches.copiesOf(name).filter(({ spec }) => spec.snapshotUid === uid),
      users: caches.madeFrom(name).map(({ metadata }) => metadata.name),
      heir: forVolume === undefined ? undefined : caches.volume(forVolume),
    };
  };

  /** Sets that want the same volumes all have the same order, so that none waits for another one that waits for it. */
  const turnOf = ({ metadata, spec }: ReplicatedSnapshot): string => {
    const set = spec.group === undefined ? [metadata] : caches.group(spec.group.name).map((each) => each.metadata);
    const [first = ''] = set.map(({ creationTimestamp = '' }) => creationTimestamp).toSorted();
    return `${first} ${keyOf({ metadata, spec })}`;
  };

  /**
   * A client holds writes for one snapshot at a time. Given a request of another one that is still being taken, then that one comes
   * first, unless it came later and nothing is held for it yet.
   */
  const rivalOf = (snapshot: ReplicatedSnapshot, connection: VolumeConnection | undefined): string | undefined => {
    const { suspend } = connection?.spec ?? {};
    if (suspend === undefined) return undefined;
    const other = caches.snapshotsOf(snapshot.spec.volume).find((each) => isRequestOf(each, suspend.request));
    if (other === undefined || keyOf(other) === keyOf(snapshot)) return undefined;
    const isOver = other.status?.phase === 'Ready' || other.metadata.deletionTimestamp !== undefined;
    return isOver || (!suspend.hold && turnOf(snapshot) < turnOf(other)) ? undefined : other.metadata.name;
  };

  /** Since when all clients of the set have been seen to hold writes. */
  const heldSince = (key: string, members: readonly Member[]): number | undefined => {
    const standing = members.flatMap(({ connection }) => {
      const { suspension } = connection?.status ?? {};
      return suspension?.state === 'Suspended' ? [suspension.request] : [];
    });
    const requests = standing.join();
    if (requests === '') held.delete(key);
    else if (held.get(key)?.requests !== requests) held.set(key, { requests, sinceMs: clock.now() });
    return held.get(key)?.sinceMs;
  };

  return async (key: string): Promise<{ requeueAfterMs?: number } | void> => {
    const name = key.slice(2);
    const snapshots = key.startsWith('g/')
      ? caches.group(name)
      : [caches.snapshot(name)].filter((each) => each !== undefined);
    if (snapshots.length === 0) held.delete(key);
    const members = snapshots.map(memberOf);
    const names = key.startsWith('s/') ? [name] : snapshots.map(({ metadata }) => metadata.name);
    const actions = names.flatMap((each) => planBeside(each, caches.snapshot(each)));
    const set: SnapshotSet = { ...options, members, heldSinceMs: heldSince(key, members) };
    const plan = members.length === 0 ? { actions: [] } : planSnapshots(set, clock.now());
    try {
      // Side by side: while writes are held, each of them is waited for.
      await Promise.all([...actions, ...plan.actions].map((action) => perform(action)));
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
      ports.log.debug('the plan was out of date', { snapshots: key, why: String(error) });
      return { requeueAfterMs: STALE_MS };
    }
    return plan.lookAgainMs === undefined ? undefined : { requeueAfterMs: Math.max(1, Math.ceil(plan.lookAgainMs)) };
  };

  /** Given a clone that waits for its snapshot, then it is made; given copies of a snapshot that is gone, then they go. */
  function planBeside(name: string, present: ReplicatedSnapshot | undefined): readonly SnapshotAction[] {
    const strays = caches
      .copiesOf(name)
      .filter(
        ({ metadata, spec }) => metadata.deletionTimestamp === undefined && spec.snapshotUid !== present?.metadata.uid,
      );
    const drop = strays.map(({ metadata }) => ({
      kind: 'deleteCopy' as const,
      name: metadata.name,
      uid: metadata.uid ?? '',
    }));
    if (present !== undefined) return drop;
    const [clone] = caches
      .madeFrom(name)
      .filter(({ metadata, spec }) => metadata.deletionTimestamp === undefined && spec.source?.volume !== undefined);
    if (clone?.spec.source?.volume === undefined) return drop;
    const spec = { volume: clone.spec.source.volume, forVolume: clone.metadata.name };
    return [...drop, { kind: 'createSnapshot', name, spec }];
  }

  async function perform(action: SnapshotAction): Promise<void> {
    const { snapshots, copies, connections, log } = ports;
    if (action.kind !== 'setStatus') log.info('done', { action });
    switch (action.kind) {
      case 'addFinalizer':
      case 'removeFinalizer': {
        const found = caches.snapshot(action.name);
        if (found === undefined) return;
        const { uid, resourceVersion, finalizers = [] } = found.metadata;
        const rest = finalizers.filter((each) => each !== OPERATOR_FINALIZER);
        const next = action.kind === 'addFinalizer' ? [...rest, OPERATOR_FINALIZER] : rest;
        await snapshots.patch(action.name, { metadata: { uid, resourceVersion, finalizers: next } });
        return;
      }
      case 'setStatus': {
        const found = caches.snapshot(action.name);
        if (found === undefined) return;
        const { uid, resourceVersion } = found.metadata;
        if (action.unless !== undefined) await checkUntouched(action.unless);
        const patch = { metadata: { uid, resourceVersion }, status: action.status };
        const { status } = await snapshots.patch(action.name, patch, { subresource: 'status' });
        log.info('status written', { snapshot: action.name, phase: status?.phase, told: status?.message });
        return;
      }
      case 'createCopy':
        await unlessThere(() =>
          copies.create({
            apiVersion: API_GROUP_VERSION,
            kind: 'SnapshotReplica',
            metadata: {
              name: action.name,
              labels: { [SNAPSHOT_LABEL]: action.spec.snapshot },
              finalizers: [STORAGE_AGENT_FINALIZER],
            },
            spec: action.spec,
          }),
        );
        return;
      case 'take':
        await copies.patch(action.name, { metadata: { uid: action.uid }, spec: { take: action.take } });
        return;
      case 'deleteCopy':
        await copies.delete(action.name, { uid: action.uid });
        return;
      case 'suspend':
        await connections.patch(action.connection, {
          metadata: { uid: action.uid },
          spec: { suspend: action.suspend ?? null },
        });
        return;
      case 'createSnapshot':
        await unlessThere(() =>
          snapshots.create({
            apiVersion: API_GROUP_VERSION,
            kind: 'ReplicatedSnapshot',
            metadata: { name: action.name, finalizers: [OPERATOR_FINALIZER] },
            spec: action.spec,
          }),
        );
        return;
      case 'deleteSnapshot':
        await snapshots.delete(action.name, { uid: action.uid });
        return;
    }
  }

  /**
   * What the API server says now, after every copy was reported: the volume has been handed to nobody since its copies were
   * asked for, so all of them have the content that it has now.
   * @throws Error with status 409 when it has been touched
   */
  async function checkUntouched({
    volume: name,
    volumeUid,
    epoch,
    lineage,
    clean,
    replicas,
  }: Untouched): Promise<void> {
    const volume = await ports.volumes.get(name);
    const { attachment, inSync = [], lineage: now = 1 } = volume?.status ?? {};
    const isSame =
      volume?.metadata.uid === volumeUid &&
      attachment?.node === '' &&
      attachment.epoch === epoch &&
      attachment.clean === clean &&
      now === lineage &&
      replicas.every((replica) => inSync.includes(replica));
    if (!isSame) throw Object.assign(new Error(`volume ${name} was touched meanwhile`), { status: 409 });
  }

  async function unlessThere(create: () => Promise<unknown>): Promise<void> {
    try {
      await create();
    } catch (error) {
      // The cache is behind.
      if (!isAlreadyExists(error)) throw error;
    }
  }
}

/** Whether a change of a connection matters to snapshots: a standstill was asked for, or answered. */
export function concernsSnapshots(after: VolumeConnection, before: VolumeConnection | undefined): boolean {
  return (
    after.spec.suspend !== undefined &&
    (JSON.stringify(after.status?.suspension) !== JSON.stringify(before?.status?.suspension) ||
      JSON.stringify(after.spec.suspend) !== JSON.stringify(before?.spec.suspend) ||
      after.status?.phase !== before?.status?.phase)
  );
}
