/** What is done to a world: its shape and a list of faults and wishes, all from one seed. Plain data, so it can be shrunk. */
import type { PodMode } from './csi.ts';
import type { DiskHealth } from './kernel/types.ts';
import { createDice, type Dice } from './random.ts';

export interface Shape {
  readonly storageNodes: number;
  readonly replicas: number;
  readonly clients: number;
  readonly legTimeout: string;
  readonly replicaTimeout: string;
  /** Missing: Wait. */
  readonly onControlPlaneLoss?: string;
  /** Missing: Report. */
  readonly onSlowLeg?: string;
  /** Candidates for the lead. One alone holds no election. */
  readonly operators: number;
  /** Lease of the nodes; the operator renews its own ten times as often. */
  readonly leaseMs: number;
  /** Disks forget what was not flushed when the power goes. */
  readonly volatileCache: boolean;
  /** One in so many operations of a pod is a flush, and its writes are durable only by that; 0 or missing: each is by itself. */
  readonly flushOneIn?: number;
  /** How the pod uses the volume: as a device, or through a filesystem. */
  readonly mode: PodMode;
  /** Pause of a pod between an answer and its next read or write. */
  readonly thinkMs: number;
  /** The volume begins with so many bytes, and grows at some time; missing: it has its size from the beginning. */
  readonly startBytes?: number;
  /** By machine, how far its wall clock is off; missing: all are right. */
  readonly clocksOffMs?: Readonly<Record<string, number>>;
  /** The volume is deleted in the end, and nothing may be left. */
  readonly teardown: boolean;
}

/** Everything has an end of its own: a step can be left out without the others losing their meaning. */
export type Step = { readonly atMs: number } &
  /** A program dies right after its n-th effect or request from now on. */
  (
    | { readonly kind: 'kill'; readonly program: string; readonly afterTurns: number; readonly downMs: number }
    /** A program stands still. */
    | { readonly kind: 'pause'; readonly program: string; readonly forMs: number }
    | { readonly kind: 'power'; readonly machines: readonly string[]; readonly offMs: number }
    | {
        readonly kind: 'cut';
        readonly from: string;
        readonly to: string;
        readonly both: boolean;
        readonly forMs: number;
      }
    | { readonly kind: 'slow'; readonly from: string; readonly to: string; readonly ms: number; readonly forMs: number }
    | { readonly kind: 'api'; readonly what: 'down' | 'slow' | 'lag' | 'lost-answers'; readonly forMs: number }
    | { readonly kind: 'disk'; readonly machine: string; readonly health: DiskHealth; readonly forMs: number }
    /** Somebody wants the volume there (nowhere: ''); orderly: its user is stopped first. */
    | { readonly kind: 'move'; readonly to: string; readonly orderly: boolean }
    /** The API server is restored from a backup that is so old. All machines and programs are up by then, and a person recovers. */
    | { readonly kind: 'restore'; readonly backMs: number; readonly bumped: boolean }
    /** Somebody wants the volume larger. */
    | { readonly kind: 'expand' }
    /** Somebody wants a snapshot of it. */
    | { readonly kind: 'snapshot' }
    /** Somebody wants it in so many copies. */
    | { readonly kind: 'replicas'; readonly count: number }
    /** Somebody sets a machine's wall clock. */
    | { readonly kind: 'clock'; readonly machine: string; readonly byMs: number }
    /** For so long a person is ready to give up what only replicas out of reach hold. */
    | { readonly kind: 'force'; readonly forMs: number }
  );

export interface Schedule {
  readonly seed: number;
  readonly shape: Shape;
  readonly steps: readonly Step[];
  /** When all faults have ended. */
  readonly healMs: number;
  /** The client on which the volume is wanted then; default c1. */
  readonly restsOn?: string;
}

/** What a volume has that is to grow. */
const START_BYTES = 2 * 2 ** 20;

/** Its first candidate; the others are `operator 2` and so on. */
export const OPERATOR = 'operator';
export const CONTROLLER = 'csi-controller';
/** Where the operator and the CSI controller run; a second operator runs at `control 2`. */
export const CONTROL = 'control';
export const storageNames = (count: number): string[] => Array.from({ length: count }, (_, i) => `s${i + 1}`);
export const clientNames = (count: number): string[] => Array.from({ length: count }, (_, i) => `c${i + 1}`);
export const operatorNames = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => (i === 0 ? OPERATOR : `${OPERATOR} ${i + 1}`));
export const agentOf = (machine: string): string => `agent ${machine}`;

export function scheduleOf(seed: number): Schedule {
  const dice = createDice(seed, 1);
  const replicas = dice.pick([2, 2, 2, 2, 3, 3, 1]);
  const shape: Shape = {
    replicas,
    storageNodes: replicas + dice.pick([0, 1, 1, 2]),
    clients: 2,
    legTimeout: dice.pick(['1s', '3s', '3s', '6s']),
    replicaTimeout: dice.pick(['2s', '8s', '1h']),
    leaseMs: dice.pick([4000, 10_000]),
    operators: dice.pick([1, 1, 1, 2]),
    volatileCache: false,
    mode: 'block',
    thinkMs: dice.pick([40, 200, 200, 600]),
    teardown: dice.oneIn(3),
  };
  const healMs = dice.pick([8000, 14_000, 20_000]);
  const count = 1 + dice.integer(10);
  const steps = Array.from({ length: count }, () => step(dice, shape, healMs));
  steps.push({ kind: 'move', atMs: 1 + dice.integer(500), to: 'c1', orderly: true });
  const plain = comingApart(varied({ seed, shape, steps: steps.sort((a, b) => a.atMs - b.atMs), healMs }));
  return snapshotted(recounted(withClocks(growing(plain))));
}

const withStep = (plain: Schedule, step: Step): Schedule => {
  const late = plain.steps.filter((each) => each.atMs >= plain.healMs);
  const inTime = [...plain.steps.filter((each) => !late.includes(each)), step].sort((a, b) => a.atMs - b.atMs);
  return { ...plain, steps: [...inTime, ...late] };
};

/** In some schedules snapshots are taken, in the midst of everything else. */
function snapshotted(plain: Schedule): Schedule {
  const dice = createDice(plain.seed, 8);
  if (!dice.oneIn(4)) return plain;
  const atMs = Array.from({ length: 1 + dice.integer(3) }, () => dice.integer(plain.healMs));
  return atMs.reduce((schedule, at) => withStep(schedule, { kind: 'snapshot', atMs: at }), plain);
}

/** In some schedules the volume is to have more replicas, or fewer, from some time on. */
function recounted(plain: Schedule): Schedule {
  const dice = createDice(plain.seed, 7);
  if (!dice.oneIn(8)) return plain;
  const { replicas, storageNodes } = plain.shape;
  const count = dice.pick([replicas - 1, replicas + 1, replicas + 1]);
  if (count < 1 || count > storageNodes) return plain;
  return withStep(plain, { kind: 'replicas', count, atMs: dice.integer(plain.healMs) });
}

/** In half of the schedules the machines' clocks differ, and one may be set. */
function withClocks(plain: Schedule): Schedule {
  const dice = createDice(plain.seed, 6);
  if (dice.oneIn(2)) return plain;
  const { shape, steps, healMs } = plain;
  const machines = [CONTROL, `${CONTROL} 2`, ...storageNames(shape.storageNodes), ...clientNames(shape.clients)];
  const off = machines.map((machine) => [machine, dice.pick([0, 0, 40, -700, 3000, -30_000])] as const);
  const byMs = dice.pick([-20_000, -1500, 1500, 20_000]);
  const set: Step = { kind: 'clock', atMs: dice.integer(healMs), machine: dice.pick(machines), byMs };
  return {
    ...plain,
    shape: { ...shape, clocksOffMs: Object.fromEntries(off) },
    steps: dice.oneIn(2) ? steps : [...steps, set].sort((a, b) => a.atMs - b.atMs),
  };
}

/** In some schedules the volume grows, in the midst of everything else. */
function growing(plain: Schedule): Schedule {
  const dice = createDice(plain.seed, 5);
  if (!dice.oneIn(5)) return plain;
  const expand: Step = { kind: 'expand', atMs: dice.integer(plain.healMs) };
  return withStep({ ...plain, shape: { ...plain.shape, startBytes: START_BYTES } }, expand);
}

/** What came later is drawn from a stream of its own, and changes half of the schedules: the other seeds mean what they always meant. */
function varied(plain: Schedule): Schedule {
  const dice = createDice(plain.seed, 3);
  if (dice.oneIn(2)) return plain;
  const volatileCache = dice.oneIn(2);
  const shape: Shape = {
    ...plain.shape,
    volatileCache,
    flushOneIn: volatileCache ? dice.pick([0, 4, 12]) : 0,
    mode: dice.pick(['block', 'block', 'mount']),
    onControlPlaneLoss: dice.pick(['Wait', 'Wait', 'Wait', 'Continue after 2s']),
    onSlowLeg: dice.pick(['Report', 'Report', 'Drop after 2s']),
  };
  const storage = storageNames(shape.storageNodes);
  const machines = [...storage, ...clientNames(shape.clients)];
  const steps = [...plain.steps];
  const atMs = dice.integer(plain.healMs);
  const forMs = dice.pick([400, 5000, 12_000]);
  if (dice.oneIn(3)) {
    const health = dice.pick(['slow', 'slow', 'full'] as const);
    steps.push({ kind: 'disk', atMs, machine: dice.pick(storage), health, forMs });
  }
  if (volatileCache && dice.oneIn(3)) steps.push({ kind: 'power', atMs, machines, offMs: 400 });
  if (shape.onControlPlaneLoss !== 'Wait') steps.push(...unrecordable(dice, atMs, storage));
  const isForced = dice.oneIn(8);
  if (isForced) steps.push(...forced(dice, atMs, storage));
  const healMs = isForced ? Math.max(plain.healMs, 26_000) : plain.healMs;
  const inTime = steps.filter((each) => each.atMs < healMs).sort((a, b) => a.atMs - b.atMs);
  if (dice.oneIn(8)) {
    const backMs = dice.pick([500, 3000, 8000, 15_000]);
    inTime.push({ kind: 'restore', atMs: healMs, backMs: Math.min(backMs, healMs), bumped: dice.oneIn(2) });
  }
  return { ...plain, shape, steps: inTime, healMs };
}

/** A leg is dropped, comes back, and then everything else goes: a person decides to go on with it. */
function forced(dice: Dice, fromMs: number, storage: readonly string[]): Step[] {
  const atMs = fromMs % 4000;
  // Which ones have replicas is the operator's choice, and it likes the first.
  const left = dice.pick(storage.slice(0, 2));
  const rest = storage.filter((machine) => machine !== left);
  const alone: Step = { kind: 'power', atMs: atMs + 5500, machines: [...rest, 'c1'], offMs: 14_000 };
  return [
    { kind: 'cut', atMs, from: left, to: 'c1', both: true, forMs: 8000 },
    ...(rest.length === 0 ? [] : [alone]),
    { kind: 'force', atMs: atMs + 6000, forMs: 14_000 },
  ];
}

/** A client goes on without a leg and can't tell, dies, and the volume goes on from that very leg: two histories, for a person. */
export function apart([left, kept]: readonly [string, string], fromMs: number): Step[] {
  const forMs = 8000;
  return [
    { kind: 'cut', atMs: fromMs, from: 'c1', to: 'api', both: true, forMs },
    { kind: 'cut', atMs: fromMs + 100, from: left, to: 'c1', both: true, forMs: forMs - 100 },
    { kind: 'kill', atMs: fromMs + 7000, program: agentOf(kept), afterTurns: 0, downMs: 12_000 },
    { kind: 'power', atMs: fromMs + 7100, machines: ['c1', kept], offMs: 1500 },
  ];
}

/** In some schedules of volumes that may go on without a record. */
function comingApart(plain: Schedule): Schedule {
  const dice = createDice(plain.seed, 8);
  const { shape, steps } = plain;
  if (!(shape.onControlPlaneLoss ?? 'Wait').startsWith('Continue') || shape.replicas < 2 || !dice.oneIn(4))
    return plain;
  const healMs = Math.max(plain.healMs, 18_000);
  const [first = 's1', second = 's2'] = storageNames(shape.storageNodes);
  const more = apart(dice.oneIn(2) ? [first, second] : [second, first], 2000 + dice.integer(4000));
  const late = steps.filter((each) => each.atMs >= plain.healMs).map((each) => ({ ...each, atMs: healMs }));
  const inTime = [...steps.filter((each) => each.atMs < plain.healMs), ...more].sort((a, b) => a.atMs - b.atMs);
  return { ...plain, steps: [...inTime, ...late], healMs };
}

/** A leg goes while the client can't tell the API server, and then maybe the client, too. */
function unrecordable(dice: Dice, atMs: number, storage: readonly string[]): Step[] {
  const forMs = 12_000;
  const machine = dice.pick(storage);
  return [
    dice.oneIn(2)
      ? { kind: 'cut', atMs, from: 'c1', to: 'api', both: true, forMs }
      : { kind: 'api', atMs, what: dice.pick(['down', 'lost-answers', 'slow']), forMs },
    dice.oneIn(2)
      ? { kind: 'cut', atMs: atMs + 100, from: machine, to: 'c1', both: true, forMs }
      : { kind: 'power', atMs: atMs + 100, machines: [machine], offMs: forMs },
    ...(dice.oneIn(2) ? [{ kind: 'power', atMs: atMs + 8000, machines: ['c1'], offMs: 1500 } as const] : []),
  ];
}

function step(dice: Dice, shape: Shape, healMs: number): Step {
  const storage = storageNames(shape.storageNodes);
  const clients = clientNames(shape.clients);
  const machines = [...storage, ...clients];
  const programs = [
    ...operatorNames(shape.operators),
    CONTROLLER,
    ...machines.map(agentOf),
    agentOf('c1'),
    agentOf('c1'),
  ];
  const atMs = dice.integer(healMs);
  const forMs = dice.pick([50, 400, 1500, 5000, 12_000]);
  switch (dice.integer(12)) {
    case 0:
    case 1:
    case 2:
      return { kind: 'kill', atMs, program: dice.pick(programs), afterTurns: dice.integer(20), downMs: forMs };
    case 3:
      return { kind: 'pause', atMs, program: dice.pick(programs), forMs: Math.min(forMs, healMs - atMs) };
    case 4:
      return { kind: 'power', atMs, machines: [dice.pick(machines)], offMs: forMs };
    case 5: {
      const several = machines.filter(() => dice.oneIn(2));
      return { kind: 'power', atMs, machines: several.length === 0 ? machines : several, offMs: forMs };
    }
    case 6:
    case 7: {
      const [from, to] = link(dice, storage, clients);
      return { kind: 'cut', atMs, from, to, both: !dice.oneIn(3), forMs };
    }
    case 8: {
      const [from, to] = link(dice, storage, clients);
      return { kind: 'slow', atMs, from, to, ms: dice.pick([20, 200, 2000]), forMs };
    }
    case 9:
      return { kind: 'api', atMs, what: dice.pick(['down', 'slow', 'lag', 'lag', 'lost-answers']), forMs };
    case 10:
      return { kind: 'disk', atMs, machine: dice.pick(storage), health: dice.pick(['errors', 'hangs']), forMs };
    default:
      return { kind: 'move', atMs, to: dice.pick([...clients, ...clients, '']), orderly: dice.oneIn(2) };
  }
}

function link(dice: Dice, storage: readonly string[], clients: readonly string[]): [string, string] {
  const ends: [string, string] =
    dice.integer(3) > 0
      ? [dice.pick(clients), dice.pick(storage)]
      : [dice.pick([...clients, ...storage, CONTROL]), 'api'];
  return dice.oneIn(2) ? ends : [ends[1], ends[0]];
}
