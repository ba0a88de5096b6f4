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
  return varied({ seed, shape, steps: steps.sort((a, b) => a.atMs - b.atMs), healMs });
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
  };
  return { ...plain, shape };
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
