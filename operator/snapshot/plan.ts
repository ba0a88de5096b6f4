import { OPERATOR_FINALIZER } from '../../lib/api/names.ts';
import { planAttempt } from './attempt.ts';
import { statusAction, withdraw } from './status.ts';
import { subjectOf } from './subject.ts';
import type { Member, SnapshotAction, SnapshotPlan, SnapshotSet } from './world.ts';

/**
 * What to do about the snapshots of one set. Pure. Given a snapshot without the operator's finalizer, then that comes first;
 * given one that is being deleted, then its copies go; given one that is ready, then only its own copies stay; given the
 * rest, then they are taken together.
 */
export function planSnapshots(set: SnapshotSet, nowMs: number): SnapshotPlan {
  const isHeld = ({ snapshot }: Member): boolean => snapshot.metadata.finalizers?.includes(OPERATOR_FINALIZER) ?? false;
  const isDeleted = ({ snapshot }: Member): boolean => snapshot.metadata.deletionTimestamp !== undefined;
  const fresh = set.members.filter((member) => !isHeld(member) && !isDeleted(member));
  if (fresh.length > 0) {
    return { actions: fresh.map(({ snapshot }) => ({ kind: 'addFinalizer', name: snapshot.metadata.name })) };
  }
  const ending = set.members.filter((member) => isHeld(member) && isDeleted(member));
  const living = set.members.filter((member) => !isDeleted(member));
  const ready = living.filter(({ snapshot }) => snapshot.status?.phase === 'Ready');
  const kept = [...ending.flatMap(planEnd), ...ready.flatMap(planReady)];
  const taking = planTaking(living, ready, set, nowMs);
  return { actions: [...taking.actions, ...kept], lookAgainMs: taking.lookAgainMs };
}

/** Given a snapshot that is deleted, when no volume is being made from it, then its copies are, and then it goes. */
function planEnd(member: Member): readonly SnapshotAction[] {
  const { snapshot, copies, users } = member;
  if (users.length > 0) {
    const message = `it is kept until ${users.join(', ')} has its data`;
    return statusAction(snapshot, { phase: 'Deleting', message });
  }
  const left = copies.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  const actions: SnapshotAction[] = [
    ...withdraw(member),
    ...left.map(({ metadata }): SnapshotAction => ({
      kind: 'deleteCopy',
      name: metadata.name,
      uid: metadata.uid ?? '',
    })),
  ];
  return left.length > 0 ? actions : [...actions, { kind: 'removeFinalizer', name: snapshot.metadata.name }];
}

/** Given a snapshot that is ready, then what is left of other tries goes; and it goes itself when it was for a volume that has its data. */
function planReady(member: Member): readonly SnapshotAction[] {
  const { snapshot, copies, heir } = member;
  const { name, uid = '' } = snapshot.metadata;
  const counted = new Set((snapshot.status?.copies ?? []).map((copy) => copy.uid));
  const surplus = copies.filter(
    ({ metadata }) => metadata.deletionTimestamp === undefined && !counted.has(metadata.uid ?? ''),
  );
  const isDone = snapshot.spec.forVolume !== undefined && (heir?.status?.inSync ?? []).length > 0;
  return [
    ...withdraw(member),
    ...surplus.map(({ metadata }): SnapshotAction => ({
      kind: 'deleteCopy',
      name: metadata.name,
      uid: metadata.uid ?? '',
    })),
    ...(isDone || isForsaken(member) ? [{ kind: 'deleteSnapshot', name, uid } as const] : []),
  ];
}

/** The volume for which alone it is taken is gone. */
function isForsaken({ snapshot, heir }: Member): boolean {
  return snapshot.spec.forVolume !== undefined && (heir === undefined || heir.metadata.deletionTimestamp !== undefined);
}

function planTaking(
  living: readonly Member[],
  ready: readonly Member[],
  set: SnapshotSet,
  nowMs: number,
): SnapshotPlan {
  const pending = living.filter((member) => !ready.includes(member));
  if (pending.length === 0) return { actions: [] };
  const forsaken = pending.filter(isForsaken);
  if (forsaken.length > 0) {
    return {
      actions: forsaken.map(({ snapshot: { metadata } }) => ({
        kind: 'deleteSnapshot',
        name: metadata.name,
        uid: metadata.uid ?? '',
      })),
    };
  }
  // All of them were taken in one try, and some are told to be ready already: so are the others.
  if (isTakenTogether(living)) {
    return {
      actions: pending.flatMap(({ snapshot }) => statusAction(snapshot, { phase: 'Ready', message: 'taken' })),
    };
  }
  const failed = pending.flatMap((member) => {
    const subject = subjectOf(member, set);
    return subject.kind === 'gone' ? [{ member, why: subject.why }] : [];
  });
  if (failed.length > 0) {
    const why = failed.map((each) => each.why).join('; ');
    return {
      actions: pending.flatMap((member) => [
        ...withdraw(member),
        ...statusAction(member.snapshot, { phase: 'Failed', message: why }),
      ]),
    };
  }
  const missing = missingOf(living);
  if (missing.length > 0) {
    const message = `waits for the snapshots of ${missing.join(', ')} in its group`;
    return { actions: pending.flatMap(({ snapshot }) => statusAction(snapshot, { phase: 'Pending', message })) };
  }
  return planAttempt(pending, set, nowMs);
}

/** The volumes of a group of which there is no snapshot. */
function missingOf(members: readonly Member[]): readonly string[] {
  const wanted = new Set(members.flatMap(({ snapshot }) => snapshot.spec.group?.volumes ?? []));
  return [...wanted].filter((volume) => !members.some(({ snapshot }) => snapshot.spec.volume === volume));
}

function isTakenTogether(members: readonly Member[]): boolean {
  const [first] = members;
  const attempt = first?.snapshot.status?.takenAttempt;
  return (
    attempt !== undefined &&
    missingOf(members).length === 0 &&
    members.every(({ snapshot }) => snapshot.status?.takenAttempt === attempt && snapshot.status.attempt === attempt)
  );
}
