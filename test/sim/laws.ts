/** The laws of data safety (docs/explanation/data-safety.md), judged by what the whole world knows and no program does. */
import { hostNqn, replicaUidOfNqn } from '../../lib/api/names.ts';
import type { ReplicatedVolume, VolumeReplica } from '../../operator/volume/model.ts';
import { checkLaws, LawBroken } from '../../operator/volume/testing/laws.ts';
import type { Write as ApiWrite } from '../../operator/volume/testing/store.ts';
import { checkHistory, readsOf } from '../history/check.ts';
import { explainAll } from '../history/explain.ts';
import type { Operation } from '../history/history.ts';
import type { ApiServer, Change } from './api.ts';
import type { Acknowledged, StorageKernel } from './kernel/types.ts';
import { createTruth } from './truth.ts';

export interface Violation {
  readonly law: string;
  readonly message: string;
  readonly atMs: number;
}

export interface LawsOptions {
  readonly api: ApiServer;
  readonly storage: ReadonlyMap<string, StorageKernel>;
  readonly nowMs: () => number;
  /** Blocks that are written. */
  readonly blocks: readonly number[];
  readonly history: Operation[];
  /** How long ago a client's agent last had an answer to a change of the record. */
  readonly unrecordableMs: (client: string) => number;
}

/** Who writes: a client, under the epoch at which its user found the device. */
export interface Session {
  readonly client: string;
  readonly volume: string;
  readonly epoch: number;
}

export interface Laws {
  violation(): Violation | undefined;
  /** The next value to write; never the same twice. */
  nextValue(): number;
  onCommit(change: Change): void;
  /** A user is about to be told that its write is done. */
  onAcknowledge(session: Session, write: Acknowledged): void;
  /** A user asks for a flush. @returns to be called when it is about to be told that it is done */
  onFlush(session: Session, writer: string): () => void;
  /** A machine has lost its power. */
  onPowerLoss(machine: string): void;
  /** A client is about to use an array that it has started. */
  onArrayStart(): void;
  /** A filesystem is about to be made on the volume. */
  onFormat(): void;
  /** A person accepts the loss of what a replica lacks, and goes on from it: the record as it is now. */
  onDecision(): void;
  /** The API server forgets: until a client has the volume under a later epoch than ever, the record says nothing of the truth. */
  onRestore(restore: () => void): void;
  wasRestored(): boolean;
  /** A storage agent has changed its machine. */
  onStorageEffect(machine: string, label: string): void;
  broken(law: string, message: string): void;
  /** What survives on each in-sync replica is one state, and the history explains it. */
  atRest(volume: ReplicatedVolume): void;
  /** By block, the last value that was acknowledged. */
  readonly acknowledged: ReadonlyMap<number, number>;
}

type Status = NonNullable<ReplicatedVolume['status']>;

const kindOfChange: Readonly<Record<string, ApiWrite['kind']>> = {
  ReplicatedVolume: 'volume',
  VolumeReplica: 'replica',
  VolumeConnection: 'connection',
};

export function createLaws(options: LawsOptions): Laws {
  const { api, storage, nowMs, blocks, history, unrecordableMs } = options;
  let violation: Violation | undefined;
  let value = 0;
  const truth = createTruth({ api, storage, nowMs, history });
  const { acknowledged, flushed, damaged, unrecorded, heldBy, durableOn, lacking, unflushed } = truth;
  /** The highest epoch of before the API server was restored, as long as that matters. */
  let forgottenEpoch: number | undefined;
  let restored = false;
  /** The record under which a person has accepted the loss. */
  let accepted = -1;
  /** Replicas that were in sync at some time. */
  const wasInSync = new Set<string>();
  /** Replicas that lacked data when a restored record said that they are in sync, until it says otherwise. */
  const staleByRestore = new Set<string>();
  /** By replica, whether its volume was ever seen on its machine. */
  const born = new Set<string>();

  const broken = (law: string, message: string): void => {
    violation ??= { law, message, atMs: nowMs() };
  };

  const volumeOf = (name: string): ReplicatedVolume | undefined => api.volumes.rows.get(name);
  const inSyncNow = (): readonly string[] =>
    [...api.volumes.rows.values()].flatMap(({ status }) => status?.inSync ?? []);

  /** Whether a client may let a write count that a replica of the record lacks: it could not tell the API server for so long. */
  const mayContinue = ({ client, volume }: Session): boolean => {
    const seconds = /^Continue after (\d+)s$/.exec(volumeOf(volume)?.spec.healing.onControlPlaneLoss ?? '')?.[1];
    return seconds !== undefined && unrecordableMs(client) >= 1000 * Number(seconds);
  };

  const isGranted = (session: Session, what: string): void => {
    const { client, volume, epoch } = session;
    // Who goes on without a record is told of its end as late as of anything: that is what `Continue` risks.
    if (forgottenEpoch !== undefined || mayContinue(session) || unrecorded.size > 0) return;
    const attachment = volumeOf(volume)?.status?.attachment;
    if (attachment?.node === client && attachment.epoch === epoch && attachment.hostNqn === hostNqn(client)) return;
    const message = `${what} under epoch ${epoch}, and the record says ${attachment?.node || 'nobody'} has epoch ${attachment?.epoch}`;
    broken('a fenced client never acknowledges', message);
  };

  const volumeChanged = (before: ReplicatedVolume | undefined, after: ReplicatedVolume | undefined): void => {
    const old: Status = before?.status ?? {};
    const now: Status = after?.status ?? {};
    const isAsked = JSON.stringify(after?.spec.forceStart) !== JSON.stringify(before?.spec.forceStart);
    if (isAsked) accepted = now.recordGeneration ?? 0;
    if ((now.lineage ?? 1) > (old.lineage ?? 1)) lineageBegins(old, now);
    if (now.attachment?.node && now.attachment.epoch > (old.attachment?.epoch ?? 0)) {
      truth.granted(now.attachment.epoch, now.inSync ?? []);
    }
    if (now.attachment?.node && now.attachment.epoch > (forgottenEpoch ?? Infinity)) forgottenEpoch = undefined;
    compareSets(before, after);
  };

  /** What users saw up to now is explained by what they were told; what they see at the end as well, when it is given. */
  const checkReads = (last: readonly Operation[]): void => {
    const done = truth.history().filter(({ kind, completedMs }) => kind === 'write' || completedMs !== undefined);
    const found = checkHistory([...done, ...last]);
    if (found.length > 0 && !truth.isOpen()) broken('acknowledged writes are never lost', explainAll(found));
  };

  const lineageBegins = (old: Status, now: Status): void => {
    const isDecided = accepted === (old.recordGeneration ?? 0);
    // Another one is what the disks know and the API server had forgotten.
    if (!isDecided && forgottenEpoch !== undefined) return;
    if (!isDecided)
      broken(
        'a person decides',
        `a start is forced that was asked for when the record was ${accepted}, and it is ${old.recordGeneration} by now`,
      );
    accepted = -1;
    // The history that ends here is judged now: of its reads nothing is left afterwards.
    if (forgottenEpoch === undefined && unrecorded.size === 0) checkReads([]);
    const { inSync = [] } = now;
    if (inSync.length > 1)
      broken('start only from the record', `after a forced start ${inSync.join(', ')} are in sync`);
    const epochs = [old.attachment?.epoch ?? 0, (now.attachment?.epoch ?? 0) - 1];
    const lacks = truth.goOnFrom(inSync[0] ?? '', Math.max(...epochs));
    if (lacks.length > 0)
      broken('a person decides', `${inSync[0]} lacks more than it was told to: ${lacks.join('; ')}`);
  };

  const compareSets = (before: ReplicatedVolume | undefined, after: ReplicatedVolume | undefined): void => {
    const was = before?.status?.inSync ?? [];
    const is = after?.status?.inSync ?? [];
    for (const name of is) wasInSync.add(name);
    // A replica that is taken over from a disk has no object at first, or an empty one in its way.
    const isKnown = (name: string): boolean => {
      const { metadata, spec } = api.replicas.rows.get(name) ?? {};
      const there = storage.get(spec?.storageNode ?? '')?.replicas() ?? [];
      return forgottenEpoch === undefined || there.includes(metadata?.uid ?? '');
    };
    if (was !== is && (was.length > 0 || acknowledged.size > 0)) {
      for (const name of is.filter((each) => !was.includes(each) && isKnown(each))) {
        const missing = lacking(name);
        if (missing.length > 0) broken('in sync means proven', `${name} joins the in-sync set: ${missing.join('; ')}`);
        const volatile = unflushed(name, flushed);
        if (volatile.length > 0)
          broken('in sync means proven', `${name} joins the in-sync set: ${volatile.join('; ')}`);
      }
    }
    for (const name of was.filter((each) => !is.includes(each))) {
      staleByRestore.delete(name);
      if (after !== undefined) truth.left(name);
    }
    truth.onlyThese(is);
    const [old, now] = [before?.status?.attachment, after?.status?.attachment];
    if (old !== undefined && now !== undefined && now.epoch > old.epoch) entomb();
  };

  /** Every leg of the new epoch is closed to earlier hosts: what they had under way can't happen any more. */
  const entomb = (): void => {
    for (const operation of history) {
      if (operation.kind === 'write' && operation.completedMs === undefined && operation.goneMs === undefined) {
        (operation as { goneMs?: number }).goneMs = nowMs();
      }
    }
  };

  /** A copy that counted goes when the members hold the data as often as the volume wants it. */
  const leaves = (before: VolumeReplica | undefined, after: VolumeReplica | undefined): void => {
    if (after?.spec.state !== 'Orphan' || before?.spec.state !== 'Active' || !wasInSync.has(after.metadata.name))
      return;
    const volume = volumeOf(after.spec.volume);
    if (volume === undefined || volume.metadata.deletionTimestamp !== undefined || restored) return;
    const { inSync = [], replicas = [] } = volume.status ?? {};
    const members = replicas.filter(({ role }) => role === 'Member');
    const good = members.filter(({ name }) => inSync.includes(name)).length;
    // What is wanted since a moment ago is not yet recorded.
    const wanted = Math.min(volume.spec.replicas, members.length);
    if (good >= wanted) return;
    broken('add before remove', `${after.metadata.name} leaves, and ${good} of ${wanted} are in sync`);
  };

  const replicaChanged = (after: VolumeReplica | undefined): void => {
    if (after === undefined || after.status?.fencedEpoch !== after.spec.epoch) return;
    // What an object of a backup says of its storage node is not what the storage node says.
    if (forgottenEpoch !== undefined) return;
    const { hostNqn: host } = after.spec;
    const uid = after.metadata.uid ?? '';
    for (const each of storage.get(after.spec.storageNode)?.exports() ?? []) {
      if (replicaUidOfNqn(each.nqn) !== uid) continue;
      const strangers = [...each.controllers, ...each.allowedHosts].filter((name) => name !== host);
      if (strangers.length > 0) {
        const message = `${after.metadata.name} says that epoch ${after.spec.epoch} is fenced, and ${strangers.join(', ')} is still let in`;
        broken('one writer', message);
      }
    }
  };

  return {
    violation: () => violation,
    nextValue: () => (value += 1),
    acknowledged,
    broken,
    onCommit: (change) => {
      const kind = kindOfChange[change.kind];
      if (kind === undefined) return;
      try {
        // People write the record as it has to be, whatever it was.
        if (forgottenEpoch === undefined)
          checkLaws({ kind, before: change.before, after: change.after } as unknown as ApiWrite, api);
      } catch (error) {
        if (!(error instanceof LawBroken)) throw error;
        broken('the record', error.message);
      }
      if (kind === 'volume') {
        volumeChanged(change.before as ReplicatedVolume | undefined, change.after as ReplicatedVolume | undefined);
      }
      if (kind === 'replica') {
        leaves(change.before as VolumeReplica | undefined, change.after as VolumeReplica | undefined);
        replicaChanged(change.after as VolumeReplica | undefined);
      }
    },
    onAcknowledge: (session, { block, value, writer, isDurable }) => {
      if (truth.isAbandoned(session.epoch)) return;
      // What every replica of the record had before the epoch went is written, also when another leg kept the answer back.
      const isEarlier = history.some(
        (each) => each.kind === 'write' && each.value === value && each.goneMs !== undefined,
      );
      const { inSync = [] } = volumeOf(session.volume)?.status ?? {};
      if (!isEarlier || inSync.some((replica) => heldBy(replica, block) < value))
        isGranted(session, `${writer} on ${session.client} is told that ${value} is written`);
      truth.acknowledge(block, value, isDurable);
      if (forgottenEpoch !== undefined) return;
      for (const replica of inSync) {
        const held = isDurable ? durableOn(replica, block) : heldBy(replica, block);
        if (held >= value || (!isDurable && damaged.has(replica)) || unrecorded.has(replica)) continue;
        if (mayContinue(session)) unrecorded.add(replica);
        else {
          const message = `${value} in block ${block} is acknowledged, the in-sync set is ${inSync.join(', ')}, and ${replica} holds ${held}`;
          broken('record before acknowledge', message);
        }
      }
      if (inSync.length === 0) broken('record before acknowledge', 'acknowledged with an empty in-sync set');
      // Nothing that was acknowledged earlier may go again, either.
      for (const replica of inSync) {
        const missing = damaged.has(replica) || unrecorded.has(replica) ? [] : lacking(replica);
        if (missing.length > 0) broken('in sync means proven', `${replica} is in sync: ${missing.join('; ')}`);
      }
    },
    onFlush: (session, writer) => {
      const asked = new Map(acknowledged);
      return () => {
        if (truth.isAbandoned(session.epoch)) return;
        isGranted(session, `${writer} on ${session.client} is told that all is flushed`);
        for (const [block, value] of asked) flushed.set(block, Math.max(value, flushed.get(block) ?? 0));
        const { inSync = [] } = volumeOf(session.volume)?.status ?? {};
        for (const replica of forgottenEpoch === undefined ? inSync : []) {
          const missing = unrecorded.has(replica) ? [] : unflushed(replica, asked);
          if (missing.length === 0) continue;
          if (mayContinue(session)) unrecorded.add(replica);
          else broken('record before acknowledge', `a flush is acknowledged, and of ${replica} ${missing.join('; ')}`);
        }
      };
    },
    onPowerLoss: (machine) => {
      for (const { metadata, spec } of api.replicas.rows.values()) {
        if (spec.storageNode === machine) truth.lostPower(metadata.name);
      }
      for (const name of forgottenEpoch === undefined ? inSyncNow() : []) {
        if (api.replicas.rows.get(name)?.spec.storageNode !== machine) continue;
        // An array that was stopped in order has left nothing in a cache.
        const isClean = [...api.volumes.rows.values()].some(({ status }) => status?.attachment?.clean === true);
        const lost = isClean ? lacking(name) : [];
        if (lost.length > 0)
          broken(
            'what was flushed survives',
            `${machine} lost its power after a clean stop, and of ${name} ${lost.join('; ')}`,
          );
        damaged.add(name);
        const missing = unrecorded.has(name) ? [] : unflushed(name, flushed);
        if (missing.length > 0)
          broken('what was flushed survives', `${machine} lost its power, and of ${name} ${missing.join('; ')}`);
      }
    },
    onArrayStart: () => truth.startFrom(inSyncNow()),
    onFormat: () => {
      const written = [...acknowledged.values()].filter((each) => each > 0).length;
      if (written > 0) broken('what is there is never formatted', `mkfs, and users have written ${written} blocks`);
    },
    onDecision: () => {
      const [volume] = api.volumes.rows.values();
      accepted = volume?.status?.recordGeneration ?? 0;
    },
    onRestore: (restore) => {
      restored = true;
      accepted = -1;
      const epochs = (): number[] => [...api.volumes.rows.values()].map(({ status }) => status?.attachment?.epoch ?? 0);
      forgottenEpoch = Math.max(0, forgottenEpoch ?? 0, ...epochs());
      born.clear();
      truth.forget();
      restore();
      for (const name of inSyncNow()) if (lacking(name).length > 0) staleByRestore.add(name);
    },
    wasRestored: () => restored,
    onStorageEffect: (machine, label) => {
      const kernel = storage.get(machine);
      const there = new Set(kernel?.replicas());
      for (const volume of api.volumes.rows.values()) {
        for (const entry of volume.status?.replicas ?? []) {
          if (entry.storageNode !== machine) continue;
          const uid = api.replicas.rows.get(entry.name)?.metadata.uid ?? '';
          if (there.has(uid)) born.add(uid);
          else if (born.has(uid))
            broken('erase means erased', `${label}: ${entry.name} is erased and the record names it`);
          if (volume.status?.inSync?.includes(entry.name) === true && /discard|zero|erase/i.test(label)) {
            // What it lacked before that, by a policy, a loss of power or a backup's record, was not erased.
            const lacks = [damaged, unrecorded, staleByRestore].some((each) => each.has(entry.name));
            const missing = lacks ? [] : lacking(entry.name);
            if (missing.length > 0)
              broken('erase means erased', `${label}: ${entry.name} is in sync; ${missing.join('; ')}`);
          }
        }
      }
    },
    atRest: ({ status }) => {
      const atMs = nowMs();
      const dumps = (status?.inSync ?? []).map((name) => {
        const object = api.replicas.rows.get(name);
        const kernel = storage.get(object?.spec.storageNode ?? '');
        const values = Array.from({ length: Math.max(...blocks) + 1 }, (_, block) =>
          blocks.includes(block) ? (kernel?.readBlock(object?.metadata.uid ?? '', block) ?? 0) : 0,
        );
        return { name, values };
      });
      const [first] = dumps;
      for (const { name, values } of dumps) {
        const differing = values.flatMap((held, block) => {
          const other = first?.values[block];
          return held === other ? [] : [`block ${block} holds ${held} there and ${other} on ${first?.name}`];
        });
        if (differing.length > 0) broken('legs are identical', `${name}: ${differing.join('; ')}`);
      }
      const reads = first === undefined ? [] : readsOf(first.values, first.name, atMs, atMs);
      checkReads(reads.filter(({ block }) => blocks.includes(block)));
    },
  };
}
