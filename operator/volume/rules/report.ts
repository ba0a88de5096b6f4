/** What people read: phase, one line, conditions. It answers "is my volume safe, and if not, why and what next". */
import { volumeBytes } from '../../../lib/api/size.ts';
import { counted, formatBytes, listing } from '../../placement/words.ts';
import type { Note } from '../decision.ts';
import type { Facts } from '../facts.ts';
import { named } from '../facts.ts';
import type { ConditionState, Phase } from '../model.ts';
import { usableBytes } from './expand.ts';
import { awaySentence, growthSentence, reasons } from './sentences.ts';

export interface Report {
  readonly phase: Phase;
  readonly message: string;
  readonly inSyncSummary: string;
  readonly size: string;
  readonly capacityBytes?: number;
  readonly conditions: readonly ConditionState[];
}

/** What is true of the volume now, given what the rules noted. Pure; says nothing that changes by itself with time. */
export function report(facts: Facts, notes: readonly Note[]): Report {
  const phase = phaseOf(facts, notes);
  const capacityBytes = usableBytes(facts);
  return {
    ...(capacityBytes === undefined ? {} : { capacityBytes }),
    phase,
    message: clip(messageOf(facts, notes, phase), 1024),
    inSyncSummary: `${inSyncMembers(facts)}/${facts.world.volume.spec.replicas}`,
    size: formatBytes(volumeBytes(facts.world.volume)),
    conditions: [placed, ready, redundant, attached, healing, consistent].map((observe) => observe(facts, notes)),
  };
}

function phaseOf(facts: Facts, notes: readonly Note[]): Phase {
  if (facts.deleting) return 'Deleting';
  if (notes.some(({ topic }) => topic === 'conflict')) return 'Waiting';
  if (facts.recorded.length === 0) return 'Pending';
  if (!facts.initialised) return 'Creating';
  if (isWaiting(facts, notes)) return 'Waiting';
  if (isRedundant(facts)) return 'Healthy';
  return isHealing(facts) ? 'Healing' : 'Degraded';
}

const stopping: ReadonlySet<Note['topic']> = new Set(['attach', 'detach']);

/** Nobody can read or write, and nothing of ours is going to change that. */
function isWaiting(facts: Facts, notes: readonly Note[]): boolean {
  const stuck = notes.some(({ topic, blocked }) => stopping.has(topic) && blocked === true);
  return stuck || (facts.session.kind === 'attached' && facts.connection?.status?.phase === 'Waiting');
}

function inSyncMembers(facts: Facts): number {
  return facts.members.filter(({ inSync }) => inSync).length;
}

/** As many copies as wanted hold every acknowledged write, and none is on a node that is away while nobody uses it. */
function isRedundant(facts: Facts): boolean {
  return (
    facts.members.every(({ inSync }) => inSync) &&
    facts.members.length >= facts.world.volume.spec.replicas &&
    absentAtRest(facts).length === 0
  );
}

/** While a volume is detached no client watches its legs: the storage agents' leases are what is known. */
function absentAtRest(facts: Facts) {
  const atRest = facts.session.kind === 'detached' || facts.session.kind === 'attaching';
  return atRest ? facts.members.filter(({ inSync, node }) => inSync && !node.alive) : [];
}

/** Data is on its way to a replica, or a replacement is being made. */
function isHealing(facts: Facts): boolean {
  if (facts.session.kind !== 'attached') return false;
  return facts.members.some(({ inSync, leg, hasHistory }) => !inSync && (leg?.state === 'Syncing' || !hasHistory));
}

function messageOf(facts: Facts, notes: readonly Note[], phase: Phase): string {
  switch (phase) {
    case 'Deleting':
      return text(notes, 'delete') ?? 'the replicas are being erased';
    case 'Pending':
      return text(notes, 'place') ?? 'is being placed';
    case 'Creating':
      return text(notes, 'place') ?? text(notes, 'create') ?? 'the replicas are being made';
    case 'Waiting':
      return join([
        text(notes, 'conflict') ?? text(notes, 'attach') ?? text(notes, 'detach') ?? clientSentence(facts),
        text(notes, 'force'),
      ]);
    case 'Healthy':
      return join([
        healthySentence(facts),
        ...progress(facts, notes),
        text(notes, 'expand'),
        text(notes, 'replicas'),
        text(notes, 'force'),
      ]);
    case 'Healing':
    case 'Degraded':
      return join([
        safety(facts),
        ...absent(facts),
        ...progress(facts, notes),
        text(notes, 'heal'),
        text(notes, 'expand'),
        text(notes, 'replicas'),
        text(notes, 'force'),
      ]);
  }
}

function healthySentence(facts: Facts): string {
  const { length } = facts.members;
  return length === 1 ? 'the only replica is in sync' : `all ${length} replicas are in sync`;
}

function safety(facts: Facts): string {
  return `${inSyncMembers(facts)} of ${counted(facts.world.volume.spec.replicas, 'replica')} in sync`;
}

function absent(facts: Facts): readonly string[] {
  const quiet = absentAtRest(facts);
  const away = quiet.length === 0 ? [] : [`the storage agent of ${listing(quiet.map(named))} does not answer`];
  return [...away, ...facts.members.filter(({ inSync }) => !inSync).map((replica) => awaySentence(facts, replica))];
}

function progress(facts: Facts, notes: readonly Note[]): readonly (string | undefined)[] {
  const client = facts.session.kind === 'attached' ? deadClient(facts, facts.session.node) : undefined;
  return [text(notes, 'attach'), text(notes, 'detach'), client];
}

function deadClient(facts: Facts, node: string): string | undefined {
  const alive = facts.world.clients.get(node)?.alive ?? false;
  return alive ? undefined : `${node} does not renew its lease; to use the volume elsewhere, detach it from ${node}`;
}

function clientSentence(facts: Facts): string {
  const told = facts.connection?.status?.message;
  return `${facts.attachment.node} waits for its legs${told === undefined || told === '' ? '' : `: ${told}`}`;
}

function condition(
  type: ConditionState['type'],
  status: ConditionState['status'],
  reason: string,
  message: string,
): ConditionState {
  return { type, status, reason, message };
}

function placed(facts: Facts, notes: readonly Note[]): ConditionState {
  const refused = notes.find(({ topic }) => topic === 'place');
  if (facts.recorded.length === 0 || refused !== undefined) {
    const reason = refused?.reason ?? 'Pending';
    return condition('Placed', 'False', reason, refused?.message ?? 'is being placed');
  }
  const message = facts.members.map((replica) => `${named(replica)}${reasons(replica.record.why)}`).join(', ');
  return condition('Placed', 'True', 'Placed', message);
}

function ready(facts: Facts, notes: readonly Note[]): ConditionState {
  const phase = phaseOf(facts, notes);
  switch (phase) {
    case 'Deleting':
    case 'Pending':
    case 'Creating':
    case 'Waiting':
      return condition('Ready', 'False', phase, messageOf(facts, notes, phase));
    case 'Healthy':
    case 'Healing':
    case 'Degraded':
      return condition(
        'Ready',
        'True',
        'Usable',
        facts.attachment.node === '' ? 'can be attached' : `in use by ${facts.attachment.node}`,
      );
  }
}

function redundant(facts: Facts): ConditionState {
  if (!facts.initialised) return condition('Redundant', 'False', 'Creating', 'the replicas are being made');
  return isRedundant(facts)
    ? condition('Redundant', 'True', 'AllInSync', healthySentence(facts))
    : condition('Redundant', 'False', 'ReplicasAway', join([safety(facts), ...absent(facts)]));
}

function attached(facts: Facts, notes: readonly Note[]): ConditionState {
  const { session, connection } = facts;
  const note = notes.find(({ topic }) => topic === 'attach' || topic === 'detach');
  switch (session.kind) {
    case 'detached':
      return condition('Attached', 'False', 'Detached', 'nobody has the volume');
    case 'attached': {
      const { phase, devicePath, message = '', epoch } = connection?.status ?? {};
      if (phase === 'Connected' && epoch === facts.attachment.epoch) {
        return condition(
          'Attached',
          'True',
          'Connected',
          `${session.node} has it as ${devicePath ?? 'a device'}, epoch ${epoch}`,
        );
      }
      const told = message === '' ? '' : `: ${message}`;
      return condition(
        'Attached',
        'False',
        phase ?? 'Attaching',
        note?.message ?? `${session.node} connects its legs${told}`,
      );
    }
    case 'attaching':
    case 'releasing':
    case 'released':
    case 'fencing':
      return condition('Attached', 'False', note?.reason ?? 'Detaching', note?.message ?? 'the volume changes hands');
  }
}

function healing(facts: Facts, notes: readonly Note[]): ConditionState {
  if (!facts.initialised || isRedundant(facts))
    return condition('Healing', 'False', 'NotNeeded', 'nothing is to be healed');
  const note = notes.find(({ topic }) => topic === 'heal' || (topic === 'replicas' && notes.length > 0));
  if (isHealing(facts)) {
    const replaced = facts.leaving.length > 0;
    return condition('Healing', 'True', replaced ? 'Replacing' : 'Syncing', growthSentence(facts));
  }
  if (note !== undefined) return condition('Healing', 'False', note.reason, note.message);
  return facts.session.kind === 'attached'
    ? condition('Healing', 'False', 'WaitingForReplica', join(absent(facts)))
    : condition('Healing', 'False', 'Detached', 'only a client copies data: heals when the volume is attached next');
}

function consistent(_facts: Facts, notes: readonly Note[]): ConditionState {
  const found = notes.find(({ topic }) => topic === 'conflict');
  return found === undefined
    ? condition('Consistent', 'True', 'Agrees', 'no disk knows more than the record')
    : condition('Consistent', 'False', found.reason, found.message);
}

function text(notes: readonly Note[], topic: Note['topic']): string | undefined {
  const messages = notes.filter((note) => note.topic === topic).map(({ message }) => message);
  return messages.length === 0 ? undefined : messages.join('; ');
}

function join(parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join('; ');
}

function clip(message: string, length: number): string {
  return message.length <= length ? message : `${message.slice(0, length - 1)}…`;
}
