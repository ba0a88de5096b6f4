import { formatBytes } from '../placement/words.ts';
import { setCondition } from '../../lib/api/conditions.ts';
import type { Action, PlannedEvent, RecordChange } from './actions.ts';
import { recordPatch } from './actions.ts';
import type { Rule, Verdict } from './decision.ts';
import { decide } from './decision.ts';
import type { Facts } from './facts.ts';
import { factsOf } from './facts.ts';
import { mergePatch, sameJson } from './merge-patch.ts';
import type { Condition, ReplicatedVolume, VolumeStatus } from './model.ts';
import { RECOVERING_ANNOTATION } from '../../lib/api/names.ts';
import { attach } from './rules/attach.ts';
import { connect } from './rules/connection.ts';
import { hold, hasConflict } from './rules/conflict.ts';
import { createReplicas, initialise, replaceUnborn } from './rules/create.ts';
import { deleteVolume, holdVolume, isHeld } from './rules/delete.ts';
import { drain } from './rules/drain.ts';
import { expand } from './rules/expand.ts';
import { fence, release, released, sweepConnections } from './rules/detach.ts';
import { forceStart, setLineages } from './rules/force-start.ts';
import { heal } from './rules/heal.ts';
import { retire, sweepStrangers } from './rules/orphans.ts';
import { placeVolume } from './rules/place.ts';
import { adjustReplicas } from './rules/replicas.ts';
import { report } from './rules/report.ts';
import type { World } from './world.ts';

/** The whole policy for one volume, in the order in which a change of the record is chosen. */
export const rules: readonly Rule[] = [
  deleteVolume,
  placeVolume,
  replaceUnborn,
  createReplicas,
  initialise,
  forceStart,
  setLineages,
  release,
  released,
  fence,
  attach,
  drain,
  connect,
  sweepConnections,
  expand,
  adjustReplicas,
  heal,
  retire,
  sweepStrangers,
];

const idle: Plan = { actions: [], status: undefined, record: undefined, events: [], lookAgainMs: undefined };

/** A disk that knows more than the record stops everything but the deletion: each step would rest on an old record. */
function rulesFor(facts: Facts): readonly Rule[] {
  return hasConflict(facts) ? [deleteVolume, hold] : rules;
}

export interface Plan {
  /**
   * Effects outside the volume's status, in order. Empty when the record changes: what follows from a change is planned
   * after it has been written.
   */
  readonly actions: readonly Action[];
  /** A merge patch of the volume's status; undefined when it is right as it is. Written before the actions. */
  readonly status: object | undefined;
  /** The change of the record that the status patch carries. */
  readonly record: RecordChange | undefined;
  /** To be told once the status is written. */
  readonly events: readonly PlannedEvent[];
  /** Milliseconds after which to plan again although nothing changed; undefined: no need. */
  readonly lookAgainMs: number | undefined;
}

/**
 * What to do about one volume now. Pure and deterministic: the same world at the same time gives the same plan, and a
 * plan that has been carried out leads to a world whose plan is smaller. Given a volume that does not hold the
 * operator's finalizer, the finalizer comes before everything else.
 */
export function plan(world: World, nowMs: number): Plan {
  const facts = factsOf(world, nowMs);
  // A person is rebuilding the record; the end of that is a change of the object.
  if (world.volume.metadata.annotations?.[RECOVERING_ANNOTATION] !== undefined) return idle;
  if (!isHeld(facts)) {
    const { actions = [] } = holdVolume(facts);
    return { actions, status: undefined, record: undefined, events: [], lookAgainMs: undefined };
  }
  const verdict = decide(rulesFor(facts), facts);
  if (verdict.record === undefined) {
    // Of a volume that is gone a moment later nothing has to be told.
    const isLast = verdict.actions.some(({ kind }) => kind === 'removeFinalizer');
    const status = isLast ? { status: undefined, events: [] } : reported(facts, verdict);
    return {
      actions: verdict.actions,
      ...status,
      record: undefined,
      lookAgainMs: verdict.lookAgainMs,
    };
  }
  return withRecord(world, nowMs, verdict.record);
}

/** The record changes: the status patch carries it, and tells how things stand after it. */
function withRecord(world: World, nowMs: number, record: RecordChange): Plan {
  const patch = recordPatch(record, world.volume.status?.outOfSync ?? {});
  const after = factsOf({ ...world, volume: patched(world.volume, patch) }, nowMs);
  const { status, events } = reported(after, decide(rulesFor(after), after));
  // Of a birth that goes well one event tells: that it is done.
  const isBirth = record.kind === 'place' || record.kind === 'initialise';
  return {
    actions: [],
    status: { ...patch, ...status },
    record,
    events: [
      ...(record.event === undefined ? [] : [record.event]),
      ...events.filter(({ type }) => !isBirth || type === 'Warning'),
    ],
    lookAgainMs: 0,
  };
}

function patched(volume: ReplicatedVolume, patch: object): ReplicatedVolume {
  return { ...volume, status: mergePatch(volume.status ?? {}, patch) as VolumeStatus };
}

/** The fields for people, as far as they changed. They never contain the in-sync set or anything of the client's. */
function reported(facts: Facts, verdict: Verdict): Pick<Plan, 'status' | 'events'> {
  const { conditions: states, ...fields } = report(facts, verdict.notes);
  const { generation } = facts.world.volume.metadata;
  const conditions = states.reduce<readonly Condition[]>(
    (list, state) => setCondition(list, { ...state, observedGeneration: generation }, new Date(facts.nowMs)),
    facts.status.conditions ?? [],
  );
  const wanted: Readonly<Record<string, unknown>> = { ...fields, conditions };
  const present: Readonly<Record<string, unknown>> = { ...facts.status };
  const changed = Object.entries(wanted).filter(([key, value]) => !sameJson(value, present[key]));
  return {
    status: changed.length === 0 ? undefined : Object.fromEntries(changed),
    events: [...phaseEvents(facts, fields), ...growthEvents(facts, fields.capacityBytes)],
  };
}

/** Once a volume has grown, that is told. */
function growthEvents({ status }: Facts, bytes: number | undefined): readonly PlannedEvent[] {
  const { capacityBytes: before } = status;
  if (before === undefined || bytes === undefined || bytes <= before) return [];
  const message = `grown from ${formatBytes(before)} to ${formatBytes(bytes)}`;
  return [{ type: 'Normal', reason: 'Expanded', message }];
}

/** A change of phase is told, and so is why a volume has to wait. */
function phaseEvents(
  facts: Facts,
  now: { readonly phase: NonNullable<VolumeStatus['phase']>; readonly message: string },
): readonly PlannedEvent[] {
  const { phase, message } = now;
  const changed = facts.status.phase !== phase;
  switch (phase) {
    case 'Pending':
    case 'Waiting':
    case 'Degraded': {
      const reason = phase === 'Pending' ? 'NoPlace' : phase;
      return changed || facts.status.message !== message ? [{ type: 'Warning', reason, message }] : [];
    }
    case 'Deleting':
    case 'Creating':
    case 'Healing':
    case 'Healthy':
      return changed ? [{ type: 'Normal', reason: phase, message }] : [];
  }
}
