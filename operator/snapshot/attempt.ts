import { formatBytes, volumeBytes } from '../../lib/api/size.ts';
import type { SnapshotReplica, VolumeReplica } from '../../lib/api/index.ts';
import { requestOf, statusAction, withdraw } from './status.ts';
import { copiesOf, detachedToken, sourcesOf, subjectOf, type Subject } from './subject.ts';
import type { Member, SnapshotAction, SnapshotPlan, SnapshotSet } from './world.ts';

/*
 * One try to take the snapshots of a set, from what the API shows of it (docs/adr/0030): make ready, hold, take, release. It succeeds as a
 * whole or is made anew; copies of two tries are never mixed.
 */

/** How long a node may take to make ready before the others go on without it. */
const PREPARE_PATIENCE_MS = 3_000;
/** While writes are held: for this part of the limit a copy is waited for when another one is there. */
const TAKE_PATIENCE = 0.6;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 600_000;

/** A member of the set in the present try. */
interface Part {
  readonly member: Member;
  readonly subject: Exclude<Subject, { kind: 'gone' }>;
  readonly sources: readonly VolumeReplica[];
  readonly copies: readonly SnapshotReplica[];
  readonly request: string;
  /** What marks its copies; undefined until its content stands still. */
  readonly token: string | undefined;
}

/** The next step for snapshots that are to be taken together. All are there, and none is ready. */
export function planAttempt(members: readonly Member[], set: SnapshotSet, nowMs: number): SnapshotPlan {
  const attempt = Math.max(...members.map(({ snapshot }) => snapshot.status?.attempt ?? 1));
  const notBeforeMs = Math.max(
    ...members.map(({ snapshot }) => (snapshot.status?.attemptAt ? Date.parse(snapshot.status.attemptAt) : 0)),
  );
  const old = members.flatMap(({ copies }) => copies.filter(({ spec }) => spec.attempt !== attempt)).flatMap(dropCopy);
  const behind = members.filter(({ snapshot }) => snapshot.status?.attempt !== attempt);
  if (behind.length > 0) {
    const actions = behind.flatMap(({ snapshot, volume }) =>
      statusAction(snapshot, {
        phase: 'Taking',
        message: 'being taken',
        attempt,
        volumeUid: volume?.metadata.uid ?? '',
        attemptAt: new Date(Math.max(nowMs, notBeforeMs)).toISOString(),
      }),
    );
    return { actions: [...actions, ...old] };
  }
  if (notBeforeMs > nowMs) {
    return { actions: [...members.flatMap(withdraw), ...old], lookAgainMs: notBeforeMs - nowMs };
  }
  const parts = members.map((member) => partOf(member, attempt, set));
  const step =
    broken(parts, attempt, nowMs) ??
    waits(parts) ??
    make(parts, attempt, set) ??
    prepare(parts, set, nowMs, notBeforeMs) ??
    hold(parts, set) ??
    take(parts) ??
    release(parts, set, nowMs) ??
    finish(parts, attempt, nowMs);
  return { actions: [...step.actions, ...old], lookAgainMs: step.lookAgainMs };
}

function partOf(member: Member, attempt: number, set: SnapshotSet): Part {
  const found = subjectOf(member, set);
  const subject = found.kind === 'gone' ? ({ kind: 'waits', why: found.why } as const) : found;
  const request = requestOf(member.snapshot, attempt);
  const suspension = member.connection?.status?.suspension;
  const isHeld = suspension?.request === request && suspension.state !== 'Ready';
  return {
    member,
    subject,
    sources: sourcesOf(member, subject, set),
    copies: copiesOf(member, attempt),
    request,
    token:
      subject.kind === 'detached'
        ? detachedToken(subject.untouched)
        : subject.kind === 'attached' && isHeld
          ? suspension.token
          : undefined,
  };
}

const dropCopy = ({ metadata }: SnapshotReplica): readonly SnapshotAction[] =>
  metadata.deletionTimestamp === undefined
    ? [{ kind: 'deleteCopy', name: metadata.name, uid: metadata.uid ?? '' }]
    : [];

const isTaken = ({ status }: SnapshotReplica, token: string | undefined): boolean =>
  token !== undefined && token !== '' && status?.phase === 'Taken' && status.take === token;

/** Given a standstill that ended early, or a copy of another one, then the whole try is made anew, after a pause that grows. */
function broken(parts: readonly Part[], attempt: number, nowMs: number): SnapshotPlan | undefined {
  const reasons = parts.flatMap((part) => brokenBy(part) ?? []);
  if (reasons.length === 0) return undefined;
  const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt - 1, 16));
  return again(parts, attempt, nowMs + pauseMs, reasons.join('; '));
}

function again(parts: readonly Part[], attempt: number, atMs: number, why: string): SnapshotPlan {
  return {
    actions: parts.flatMap(({ member }) => [
      ...withdraw(member),
      ...statusAction(member.snapshot, {
        message: `try ${attempt} failed: ${why}`.slice(0, 1024),
        attempt: attempt + 1,
        attemptAt: new Date(atMs).toISOString(),
      }),
    ]),
  };
}

function brokenBy({ member, subject, copies, request, token }: Part): string | undefined {
  const { volume } = member.snapshot.spec;
  const suspension = member.connection?.status?.suspension;
  const wanted = member.connection?.spec.suspend;
  if (subject.kind === 'attached' && suspension?.request === request) {
    const isReleased = suspension.state === 'Released' && wanted?.release === suspension.token;
    if (suspension.state === 'Broken' || (suspension.state === 'Released' && !isReleased)) {
      return `the writes of ${volume} were not held for long enough (${suspension.heldMs ?? 0} ms)`;
    }
  }
  // The volume has been attached, or detached, or its client has begun anew since the copies were asked for.
  const strange = copies.find(({ spec }) => spec.take !== '' && spec.take !== token);
  return strange === undefined
    ? undefined
    : `volume ${volume} changed hands, or its client began anew, while its snapshot was taken`;
}

function waits(parts: readonly Part[]): SnapshotPlan | undefined {
  const waiting = parts.flatMap(({ subject }) => (subject.kind === 'waits' ? [subject.why] : []));
  const sourceless = parts
    .filter(({ subject, sources, copies }) => subject.kind !== 'waits' && sources.length + copies.length === 0)
    .map(({ member }) => `no storage node with an in-sync replica of ${member.snapshot.spec.volume} answers`);
  const reasons = [...waiting, ...sourceless];
  if (reasons.length === 0) return undefined;
  const message = `waits: ${reasons.join('; ')}`;
  return {
    actions: parts.flatMap(({ member }) => [...withdraw(member), ...statusAction(member.snapshot, { message })]),
    // A lease that is renewed again tells of itself only to the volumes.
    lookAgainMs: 1_000,
  };
}

/** The objects of the copies; none is added once one is to be taken. */
function make(parts: readonly Part[], attempt: number, set: SnapshotSet): SnapshotPlan | undefined {
  const actions = parts.flatMap(({ member, sources, copies }) => {
    if (copies.some(({ spec }) => spec.take !== '')) return [];
    const missing = sources.filter(({ metadata }) => !copies.some(({ spec }) => spec.replicaUid === metadata.uid));
    return missing.map((replica): SnapshotAction => createCopy(member, replica, attempt));
  });
  return actions.length === 0 ? undefined : { actions: [...actions, ...ask(parts, false, set.standstillMs)] };
}

function createCopy({ snapshot, volume }: Member, { metadata, spec }: VolumeReplica, attempt: number): SnapshotAction {
  const { name, uid = '' } = snapshot.metadata;
  return {
    kind: 'createCopy',
    name: `${name}.${metadata.name}.${attempt}`,
    spec: {
      snapshot: name,
      snapshotUid: uid,
      volume: spec.volume,
      volumeUid: spec.volumeUid,
      replica: metadata.name,
      replicaUid: metadata.uid ?? '',
      storageNode: spec.storageNode,
      pool: spec.pool,
      sizeBytes: volume === undefined ? spec.sizeBytes : volumeBytes(volume),
      provisioning: spec.provisioning,
      attempt,
      take: '',
    },
  };
}

/** Asks the clients to get ready, or to hold; of a group none holds while another volume of it is another snapshot's. */
function ask(parts: readonly Part[], hold: boolean, limitMs: number): readonly SnapshotAction[] {
  if (hold && parts.some(({ member }) => member.rival !== undefined)) return [];
  return parts.flatMap(({ member: { connection, rival }, subject, request }): readonly SnapshotAction[] => {
    if (subject.kind !== 'attached' || connection === undefined || rival !== undefined) return [];
    const { suspend } = connection.spec;
    if (suspend?.request === request && (suspend.hold || !hold)) return [];
    const { name, uid = '' } = connection.metadata;
    return [{ kind: 'suspend', connection: name, uid, suspend: { request, hold, release: '', limitMs } }];
  });
}

const nothing: SnapshotPlan = { actions: [] };

/** Given nodes that make ready, then all are waited for, but the slow ones not for long. */
function prepare(parts: readonly Part[], set: SnapshotSet, nowMs: number, startedMs: number): SnapshotPlan | undefined {
  const asked = ask(parts, false, set.standstillMs);
  if (asked.length > 0) return { actions: asked };
  const phaseOf = ({ status }: SnapshotReplica) => status?.phase ?? 'Pending';
  const isReady = (copy: SnapshotReplica): boolean => ['Prepared', 'Taken'].includes(phaseOf(copy));
  const isLate = nowMs - startedMs >= PREPARE_PATIENCE_MS;
  const reasons = parts.flatMap(({ member, subject, copies, request }) => {
    const { volume } = member.snapshot.spec;
    const open = copies.filter(
      (copy) => !isReady(copy) && phaseOf(copy) !== 'Failed' && set.isStorageAlive(copy.spec.storageNode),
    );
    const none = !copies.some(isReady);
    if (none && open.length === 0) {
      return copies.map(({ spec, status }) => `${spec.storageNode}: ${status?.message ?? 'does not answer'}`);
    }
    const slow = none || !isLate ? open.map(({ spec }) => `waits for ${spec.storageNode} to make ready`) : [];
    const isClientReady = subject.kind !== 'attached' || member.connection?.status?.suspension?.request === request;
    const { rival } = member;
    const awaited = rival === undefined ? `until the array of ${volume} on its client is at peace` : `for ${rival}`;
    return isClientReady ? slow : [...slow, `waits ${awaited}`];
  });
  if (reasons.length === 0) return undefined;
  return {
    actions: parts.flatMap(({ member }) =>
      statusAction(member.snapshot, { message: reasons.join('; ').slice(0, 1024) }),
    ),
    lookAgainMs: isLate ? 1_000 : PREPARE_PATIENCE_MS - (nowMs - startedMs),
  };
}

function hold(parts: readonly Part[], set: SnapshotSet): SnapshotPlan | undefined {
  const asked = ask(parts, true, set.standstillMs);
  if (asked.length > 0) return { actions: asked };
  return parts.every(({ token }) => token !== undefined && token !== '') ? undefined : nothing;
}

/** Given that all volumes stand still, then every copy is taken of what was equal then. */
function take(parts: readonly Part[]): SnapshotPlan | undefined {
  const actions = parts.flatMap(({ member, subject, copies, token = '' }) => {
    const equal = member.connection?.status?.suspension?.replicas ?? [];
    return copies
      .filter(
        ({ spec, status }) =>
          spec.take === '' &&
          status?.phase === 'Prepared' &&
          (subject.kind === 'detached' || equal.includes(spec.replica)),
      )
      .map(({ metadata }): SnapshotAction => ({
        kind: 'take',
        name: metadata.name,
        uid: metadata.uid ?? '',
        take: token,
      }));
  });
  return actions.length === 0 ? undefined : { actions };
}

/** Given copies that were taken, then the clients go on; what is not there by then never counts. */
function release(parts: readonly Part[], set: SnapshotSet, nowMs: number): SnapshotPlan | undefined {
  const open = parts.filter((part) => !isReleased(part));
  if (open.length === 0) return undefined;
  const heldMs = nowMs - (set.heldSinceMs ?? nowMs);
  const patienceMs = TAKE_PATIENCE * set.standstillMs;
  const isWhole = (part: Part): boolean => {
    const awaited = part.copies.filter(
      (copy) =>
        copy.spec.take !== '' &&
        !isTaken(copy, part.token) &&
        copy.status?.phase !== 'Failed' &&
        set.isStorageAlive(copy.spec.storageNode),
    );
    return awaited.length === 0 || heldMs >= patienceMs;
  };
  const hasOne = (part: Part): boolean => part.copies.some((copy) => isTaken(copy, part.token));
  if (!parts.every((part) => hasOne(part) && isWhole(part))) {
    return { actions: [], lookAgainMs: Math.max(50, patienceMs - heldMs) };
  }
  return {
    actions: open.flatMap((part): readonly SnapshotAction[] => {
      const { connection } = part.member;
      if (connection === undefined || part.token === undefined) return [];
      const copies = part.copies.filter((copy) => isTaken(copy, part.token)).map(({ metadata }) => metadata.name);
      const suspend = {
        request: part.request,
        hold: true,
        release: part.token,
        copies,
        limitMs: set.standstillMs,
      };
      const { name, uid = '' } = connection.metadata;
      return [{ kind: 'suspend', connection: name, uid, suspend }];
    }),
  };
}

/** The client was told to go on; a volume that nobody has needs no such thing. */
function isReleased({ member, subject, request, token }: Part): boolean {
  if (subject.kind !== 'attached') return true;
  const { suspend } = member.connection?.spec ?? {};
  return suspend?.request === request && suspend.release === token;
}

/** Given that every standstill lasted until its release, then the copies that were there by then are the snapshot. */
function finish(parts: readonly Part[], attempt: number, nowMs: number): SnapshotPlan {
  const isAlone = parts.length === 1 && parts[0]?.member.snapshot.spec.group === undefined;
  const actions = parts.flatMap((part): readonly SnapshotAction[] => {
    const { snapshot, connection, volume } = part.member;
    const counted = countedOf(part);
    if (counted === undefined || counted.length === 0 || snapshot.status?.takenAttempt === attempt) return [];
    const { subject } = part;
    const replicas = counted.map(({ spec }) => spec.replica);
    const unless = subject.kind === 'detached' ? { ...subject.untouched, replicas } : undefined;
    const sizeBytes = counted[0]?.spec.sizeBytes ?? 0;
    const heldMs = connection?.status?.suspension?.heldMs;
    const held = subject.kind === 'attached' && heldMs !== undefined ? `; writes waited for ${heldMs} ms` : '';
    return statusAction(
      snapshot,
      {
        phase: isAlone ? 'Ready' : 'Taking',
        message: `taken of ${replicas.join(', ')}${held}`,
        takenAt: new Date(nowMs).toISOString(),
        takenAttempt: attempt,
        sizeBytes,
        size: formatBytes(sizeBytes),
        copiesSummary: `${counted.length}/${volume?.spec.replicas ?? counted.length}`,
        copies: counted.map(({ metadata, spec }) => ({
          name: metadata.name,
          uid: metadata.uid ?? '',
          replica: spec.replica,
          storageNode: spec.storageNode,
          pool: spec.pool,
        })),
      },
      unless,
    );
  });
  return { actions, lookAgainMs: actions.length === 0 ? 1_000 : undefined };
}

/** The copies that count; undefined until that is known. */
function countedOf({ member, subject, copies, token }: Part): readonly SnapshotReplica[] | undefined {
  const taken = copies.filter((copy) => isTaken(copy, token));
  if (subject.kind === 'detached') {
    // Replicas that may differ: one content only.
    return subject.untouched.clean ? taken : taken.slice(0, 1);
  }
  const { suspension } = member.connection?.status ?? {};
  const { suspend } = member.connection?.spec ?? {};
  if (suspension?.state !== 'Released' || suspension.token !== token || suspend?.release !== token) return undefined;
  return taken.filter(
    ({ metadata, spec }) =>
      suspend.copies?.includes(metadata.name) === true && suspension.replicas?.includes(spec.replica) === true,
  );
}
