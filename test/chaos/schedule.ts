import { random, type Random } from '../../operator/placement/fixtures.ts';

/** Which way a link is cut: both, or only what the first of the two sends, or only what it should receive. */
export type Way = 'both' | 'sent' | 'received';

export type Program = 'client-agent' | 'storage-agent' | 'operator' | 'controller' | 'writer';

/**
 * Something that goes wrong. `leg` is an index into the replicas of the round's volume as they are when it happens (counted
 * round), so that a schedule hits what is in use wherever the volume was placed. The client is the one that has that volume.
 */
export type Fault =
  | { readonly kind: 'storage-power'; readonly leg: number }
  | { readonly kind: 'client-power' }
  | { readonly kind: 'all-power' }
  | { readonly kind: 'leg-cut'; readonly leg: number; readonly way: Way }
  | { readonly kind: 'client-api-cut'; readonly way: Way }
  | { readonly kind: 'storage-api-cut'; readonly leg: number; readonly way: Way }
  /** The client loses its whole network; with `failOver` the volume is moved away meanwhile. */
  | { readonly kind: 'client-cut'; readonly failOver: boolean }
  | { readonly kind: 'kill'; readonly program: Program; readonly leg: number }
  | { readonly kind: 'freeze'; readonly program: 'client-agent' | 'storage-agent'; readonly leg: number }
  | { readonly kind: 'api-down'; readonly how: 'crash' | 'freeze' }
  | { readonly kind: 'disk-errors'; readonly leg: number; readonly requests: 'all' | 'read' | 'write' }
  | { readonly kind: 'disk-slow'; readonly leg: number }
  /** The data of the thin pool lies on a disk that fails everything, or fails every other second, or is late (device-mapper). */
  | { readonly kind: 'dm-error'; readonly leg: number }
  | { readonly kind: 'dm-flakey'; readonly leg: number }
  | { readonly kind: 'dm-delay'; readonly leg: number; readonly byMs: number }
  | { readonly kind: 'pool-full'; readonly leg: number }
  | { readonly kind: 'clock-jump'; readonly where: 'client' | 'storage'; readonly leg: number; readonly byMs: number }
  /** The storage node's CPU stands still, its links stay up. */
  | { readonly kind: 'storage-stall'; readonly leg: number }
  /** Not a fault: the volume moves to another client in order. */
  | { readonly kind: 'move' };

export type FaultKind = Fault['kind'];

/** A fault, when it begins (from the round's begin) and how long it lasts. */
export interface Step {
  readonly atMs: number;
  readonly forMs: number;
  readonly fault: Fault;
  /** It begins `atMs` after the round's volume begins to copy onto a leg (a resync or a heal), which it waits for. */
  readonly after?: 'sync';
}

export interface Round {
  /** What kind of trouble it is: `single`, `pair`, `second-in-resync`, … */
  readonly pattern: string;
  /** The volume whose legs and client are meant. The other one is in use too, and suffers what it has in common with it. */
  readonly volume: VolumeName;
  readonly steps: readonly Step[];
  /** The volumes are detached in the end, and attached anew for the next round; else they stay attached. */
  readonly detach: boolean;
}

/** `raw` is a block volume with three replicas, `file` an ext4 volume with two. */
export type VolumeName = 'raw' | 'file';

export interface Schedule {
  readonly seed: number;
  readonly rounds: readonly Round[];
}

/** Of the volumes of a chaos run. */
export const LEG_TIMEOUT_MS = 2000;
/** Short for `raw`, so that whatever lasts heals within a round; `file` gets its old replicas back. */
export const REPLICA_TIMEOUT_MS: Readonly<Record<VolumeName, number>> = { raw: 12_000, file: 60_000 };

/** Rounds from a seed; the same seed gives the same first rounds, however many are asked for. */
export function generate(seed: number, rounds: number): Schedule {
  return { seed, rounds: Array.from({ length: rounds }, (_, index) => roundOf(seed, index)) };
}

function roundOf(seed: number, index: number): Round {
  const dice = random((seed * 7919 + index * 104_729) >>> 0);
  for (let warmUp = 0; warmUp < 3; warmUp++) dice.integer(2);
  const pattern = dice.pick(PATTERNS);
  // A heal is what `raw` does soon.
  const volume = pattern === 'second-in-heal' || index % 2 === 1 ? 'raw' : 'file';
  const steps = makers[pattern](dice).sort((a, b) => Number(isAwaited(a)) - Number(isAwaited(b)) || a.atMs - b.atMs);
  return { pattern, volume, steps, detach: dice.integer(4) === 0 };
}

const isAwaited = ({ after }: Step): boolean => after !== undefined;

type Pattern =
  | 'single'
  | 'pair'
  | 'second-in-resync'
  | 'second-in-heal'
  | 'agent-away'
  | 'api-away'
  | 'api-away-long'
  | 'everything'
  | 'storm';

/** How often each comes. */
const WEIGHTS: Readonly<Record<Pattern, number>> = {
  single: 10,
  pair: 10,
  'second-in-resync': 7,
  'second-in-heal': 3,
  'agent-away': 6,
  'api-away': 3,
  'api-away-long': 1,
  everything: 3,
  storm: 5,
};

const PATTERNS = (Object.keys(WEIGHTS) as Pattern[]).flatMap((name) =>
  Array.from({ length: WEIGHTS[name] }, () => name),
) as [Pattern, ...Pattern[]];

const SECOND = 1000;

const makers: Readonly<Record<Pattern, (dice: Random) => Step[]>> = {
  single: (dice) => [{ atMs: 0, forMs: length(dice), fault: anyFault(dice) }],
  pair: (dice) => [
    { atMs: 0, forMs: length(dice), fault: anyFault(dice) },
    { atMs: dice.integer(5 * SECOND), forMs: length(dice), fault: anyFault(dice) },
  ],
  'second-in-resync': (dice) => {
    const leg = dice.integer(3);
    const first = dice.pick<Fault>([cut(dice, leg), cut(dice, leg), { kind: 'dm-error', leg }]);
    return [
      { atMs: 0, forMs: LEG_TIMEOUT_MS + 2 * SECOND, fault: first },
      { after: 'sync', atMs: dice.integer(300), forMs: length(dice), fault: harsh(dice, leg + dice.integer(2)) },
    ];
  },
  'second-in-heal': (dice) => {
    const leg = dice.integer(3);
    const first = dice.pick<Fault>([{ kind: 'storage-power', leg }, cut(dice, leg)]);
    const forMs = LEG_TIMEOUT_MS + REPLICA_TIMEOUT_MS.raw + 8 * SECOND;
    return [
      { atMs: 0, forMs, fault: first },
      {
        after: 'sync',
        atMs: dice.integer(SECOND),
        forMs: 2 * SECOND + dice.integer(4000),
        fault: harsh(dice, leg + 1),
      },
    ];
  },
  'agent-away': (dice) => {
    const leg = dice.integer(3);
    const program = { program: 'client-agent', leg } as const;
    const away: Fault = dice.pick<Fault>([
      { kind: 'kill', ...program },
      { kind: 'freeze', ...program },
    ]);
    return [
      { atMs: 0, forMs: 3 * SECOND + dice.integer(5 * SECOND), fault: away },
      { atMs: 300 + dice.integer(2 * SECOND), forMs: length(dice), fault: harsh(dice, leg) },
    ];
  },
  'api-away': (dice) => [
    { atMs: 0, forMs: 5 * SECOND + dice.integer(6 * SECOND), fault: apiDown(dice) },
    { atMs: 300 + dice.integer(3 * SECOND), forMs: length(dice), fault: harsh(dice, dice.integer(3)) },
  ],
  'api-away-long': (dice) => [
    { atMs: 0, forMs: 60 * SECOND, fault: apiDown(dice) },
    { atMs: SECOND + dice.integer(40 * SECOND), forMs: length(dice), fault: anyFault(dice) },
  ],
  everything: (dice) => [
    { atMs: SECOND, forMs: 500 + dice.integer(SECOND), fault: { kind: 'all-power' } },
    ...(dice.integer(2) === 0 ? [{ atMs: 0, forMs: 6 * SECOND, fault: cut(dice, dice.integer(3)) }] : []),
  ],
  storm: (dice) =>
    Array.from({ length: 5 }, () => ({
      atMs: dice.integer(8 * SECOND),
      forMs: 300 + dice.integer(4 * SECOND),
      fault: anyFault(dice),
    })),
};

/** Shorter than legTimeout, longer than it, or longer than replicaTimeout of `raw`. */
function length(dice: Random): number {
  switch (dice.integer(8)) {
    case 0:
    case 1:
    case 2:
      return 300 + dice.integer(LEG_TIMEOUT_MS - 500);
    case 3:
      return LEG_TIMEOUT_MS + REPLICA_TIMEOUT_MS.raw + 1000 + dice.integer(3 * SECOND);
    default:
      return LEG_TIMEOUT_MS + 500 + dice.integer(4 * SECOND);
  }
}

const ways: readonly [Way, ...Way[]] = ['both', 'both', 'sent', 'received'];

const cut = (dice: Random, leg: number): Fault => ({ kind: 'leg-cut', leg, way: dice.pick(ways) });

const apiDown = (dice: Random): Fault => ({ kind: 'api-down', how: dice.pick(['crash', 'freeze'] as const) });

/** What takes a leg, the client or a program away for sure. */
function harsh(dice: Random, leg: number): Fault {
  return dice.pick<Fault>([
    { kind: 'storage-power', leg },
    cut(dice, leg),
    cut(dice, leg),
    { kind: 'client-power' },
    { kind: 'kill', program: 'client-agent', leg },
    { kind: 'disk-errors', leg, requests: 'all' },
    { kind: 'dm-error', leg },
    { kind: 'storage-stall', leg },
  ]);
}

function anyFault(dice: Random): Fault {
  const leg = dice.integer(3);
  const way = dice.pick(ways);
  const programs = ['client-agent', 'client-agent', 'storage-agent', 'operator', 'controller', 'writer'] as const;
  return dice.pick<Fault>([
    { kind: 'storage-power', leg },
    { kind: 'storage-power', leg },
    { kind: 'client-power' },
    { kind: 'client-power' },
    { kind: 'leg-cut', leg, way },
    { kind: 'leg-cut', leg, way },
    { kind: 'client-api-cut', way },
    { kind: 'storage-api-cut', leg, way },
    { kind: 'client-cut', failOver: false },
    { kind: 'client-cut', failOver: true },
    { kind: 'kill', program: dice.pick(programs), leg },
    { kind: 'kill', program: dice.pick(programs), leg },
    { kind: 'freeze', program: dice.pick(['client-agent', 'storage-agent'] as const), leg },
    apiDown(dice),
    { kind: 'disk-errors', leg, requests: dice.pick(['all', 'read', 'write'] as const) },
    { kind: 'disk-slow', leg },
    { kind: 'dm-error', leg },
    { kind: 'dm-flakey', leg },
    { kind: 'dm-delay', leg, byMs: dice.pick([50, 500]) },
    { kind: 'pool-full', leg },
    {
      kind: 'clock-jump',
      where: dice.pick(['client', 'storage'] as const),
      leg,
      byMs: dice.pick([-3_600_000, -20_000, 20_000, 3_600_000]),
    },
    { kind: 'storage-stall', leg },
    { kind: 'move' },
  ]);
}

/** `leg-cut 1 sent` */
export function describeFault(fault: Fault): string {
  return Object.values(fault).map(String).join(' ');
}

/** What a fault counts as in tables: its kind, and the program that is concerned. */
export function labelOf(fault: Fault): string {
  return fault.kind === 'kill' || fault.kind === 'freeze' ? `${fault.kind} ${fault.program}` : fault.kind;
}

/** What a round counts as: its fault when there is one, else the pattern. */
export function labelOfRound({ pattern, steps }: Round): string {
  const [only, ...more] = steps;
  return only && more.length === 0 ? labelOf(only.fault) : pattern;
}

/** When the last fault of a round is over. */
export function lengthOfRound({ steps }: Round): number {
  return Math.max(0, ...steps.map(({ atMs, forMs }) => atMs + forMs));
}
