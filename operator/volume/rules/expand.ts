import { volumeBytes } from '../../../lib/api/size.ts';
import { lackForGrowth } from '../../placement/growth.ts';
import { formatBytes } from '../../placement/words.ts';
import type { Action } from '../actions.ts';
import type { Decision, Note, Rule } from '../decision.ts';
import { nothing } from '../decision.ts';
import type { Facts, Replica } from '../facts.ts';
import { activeObject, heldBytes, named } from '../facts.ts';

/*
 * A volume grows from below: the replicas first, each when its storage agent is there; when all that count have room, the
 * client's array (the connection's sizeBytes); then the volume says so in status.capacityBytes.
 */

/**
 * Given a volume whose capacityBytes was raised, or whose array was found to be larger than its members are to be (the API server
 * was restored from a backup), when the pools of all its members have room for it, then the members are to grow. Those that are away grow when they are back; a leg that is too small does not join.
 */
export const expand: Rule = (facts): Decision => {
  if (facts.ending || !facts.initialised) return nothing;
  const wantedBytes = volumeBytes(facts.world.volume);
  const small = facts.members.filter((replica) => (activeObject(replica)?.spec.sizeBytes ?? wantedBytes) < wantedBytes);
  const short = small.flatMap((replica) => lackOf(facts, replica, wantedBytes) ?? []);
  if (short.length > 0) {
    return {
      notes: [note('NoRoom', `can't grow to ${formatBytes(wantedBytes)}: ${short.join('; ')}`, true)],
      lookAgainMs: facts.settings.retryMs,
    };
  }
  return { actions: small.flatMap((replica) => setSize(replica, wantedBytes)), notes: progress(facts, wantedBytes) };
};

/** Why the pool of a replica has no room for what it is to grow by; undefined when it has, or nothing is known of it. */
function lackOf(facts: Facts, replica: Replica, wantedBytes: number): string | undefined {
  const { storageNode, pool } = replica.record;
  // One that is in sync has all that the volume has, also when the object is of an API server that was restored from a backup.
  const usedBytes = replica.inSync ? (facts.status.capacityBytes ?? 0) : 0;
  const presentBytes = Math.max(activeObject(replica)?.spec.sizeBytes ?? wantedBytes, usedBytes);
  if (presentBytes >= wantedBytes) return undefined;
  const thick = facts.world.volume.spec.provisioning === 'Thick';
  return lackForGrowth(facts.world.candidates(), { storageNode, pool, presentBytes, wantedBytes, thick });
}

/** An agent that doesn't report what its volume has room for would grow it and never say so. */
function setSize(replica: Replica, sizeBytes: number): readonly Action[] {
  const object = activeObject(replica);
  if (object?.status?.sizeBytes === undefined) return [];
  return [{ kind: 'setSize', name: replica.name, uid: object.metadata.uid ?? '', sizeBytes }];
}

/** What the growth waits for. */
function progress(facts: Facts, wantedBytes: number): readonly Note[] {
  if ((usableBytes(facts) ?? wantedBytes) >= wantedBytes) return [];
  const waiting = facts.members.filter((replica) => replica.inSync && heldOf(replica, wantedBytes) < wantedBytes);
  const array = facts.connection?.status?.sizeBytes ?? wantedBytes;
  const what =
    waiting.length > 0
      ? `waits for ${waiting.map(named).join(' and ')}`
      : array < wantedBytes
        ? `waits for the array on ${facts.attachment.node}`
        : 'is being finished';
  return [note('Growing', `grows to ${formatBytes(wantedBytes)}: ${what}`, false)];
}

function note(reason: string, message: string, blocked: boolean): Note {
  return { topic: 'expand', reason, message, blocked };
}

const heldOf = (replica: Replica, otherwise: number): number => {
  const object = activeObject(replica);
  return object === undefined ? otherwise : heldBytes(object);
};

/** What every in-sync replica has room for: as large may an array be that starts from any of them. */
export function offeredBytes(facts: Facts): number {
  const wantedBytes = volumeBytes(facts.world.volume);
  const counting = facts.members.filter(({ inSync }) => inSync);
  return Math.min(wantedBytes, ...counting.map((replica) => heldOf(replica, wantedBytes)));
}

/**
 * What can be used of the volume: of an attached one what its array has; of another what its in-sync replicas have room for, as
 * far as they can be asked (one that can't be is left out at the next start, or grows before it is used).
 */
export function usableBytes(facts: Facts): number | undefined {
  const { status, session, connection, initialised } = facts;
  const present = status.capacityBytes;
  if (!initialised) return present;
  const atRest = session.kind === 'detached' || session.kind === 'attaching';
  const found = atRest ? atRestBytes(facts) : connection?.status?.sizeBytes;
  return found === undefined ? present : Math.max(found, present ?? 0);
}

function atRestBytes(facts: Facts): number | undefined {
  const wantedBytes = volumeBytes(facts.world.volume);
  const asked = facts.members.filter((replica) => replica.inSync && replica.node.alive && activeObject(replica));
  if (asked.length === 0) return undefined;
  return Math.min(wantedBytes, ...asked.map((replica) => heldOf(replica, wantedBytes)));
}
