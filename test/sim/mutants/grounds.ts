/** Families of schedules in which a bug can show that random ones hardly ever meet. Each seed is another one of the family. */
import { SMALL } from '../model/worlds.ts';
import { createDice, type Dice } from '../random.ts';
import type { Schedule, Shape, Step } from '../schedule.ts';
import type { World } from '../world.ts';

export interface Ground {
  schedule(seed: number): Schedule;
  /** What no step can do. */
  prepare?(world: World, schedule: Schedule): void;
}

const shape: Shape = { ...SMALL, thinkMs: 40 };

const move = (atMs: number, to: string, orderly = true): Step => ({ kind: 'move', atMs, to, orderly });
const cut = (atMs: number, machine: string, forMs: number): Step => ({
  kind: 'cut',
  atMs,
  from: machine,
  to: 'c1',
  both: true,
  forMs,
});
const power = (atMs: number, machines: readonly string[], offMs: number): Step => ({
  kind: 'power',
  atMs,
  machines,
  offMs,
});

const family =
  (healMs: number, steps: (dice: Dice) => readonly Step[], changes: Partial<Shape> = {}): Ground['schedule'] =>
  (seed) => ({
    seed,
    shape: { ...shape, ...changes },
    steps: [move(200, 'c1'), ...steps(createDice(seed, 4))],
    healMs,
  });

/** The client dies with the only in-sync replica, and what can be reached lacks writes. */
export const onlyStale: Ground = {
  schedule: family(9000, (dice) => [
    cut(1200, 's2', 2000),
    power(3000 + dice.integer(200), ['c1', 's1'], 3000 + dice.integer(2000)),
    move(3300, 'c2', false),
  ]),
};

/** One write gets stuck in the storage node; its leg is lost, comes back and is filled, and then the write lands. */
export const stuckWrite: Ground = {
  schedule: family(9000, (dice) => {
    const atMs = 1500 + dice.integer(500);
    return [
      { kind: 'disk', atMs, machine: 's2', health: 'sticks', forMs: 6500 },
      cut(atMs + 100 + dice.integer(200), 's2', 1500),
    ];
  }),
};

/** A disk finds no room for what is written, while its leg is in sync or while it is filled. */
export const fullDisk: Ground = {
  schedule: family(8000, (dice) => [
    cut(1200, 's2', 1500),
    {
      kind: 'disk',
      atMs: 1000 + dice.integer(5000),
      machine: 's2',
      health: 'full',
      forMs: 100 + dice.integer(900),
    },
  ]),
};

/** A replica stays away until it is replaced, and comes back. */
export const replaced: Ground = {
  schedule: family(9000, (dice) => [power(1200, ['s2'], 3500 + dice.integer(3000))], {
    storageNodes: 3,
    replicaTimeout: '2s',
  }),
};

/** The volume is taken from a client that writes and can't be told. */
export const fencedWriting: Ground = {
  schedule: family(9000, (dice) => [
    { kind: 'cut', atMs: 1400, from: 'c1', to: 'api', both: true, forMs: 4000 + dice.integer(2000) },
    move(1500, 'c2', false),
  ]),
};

/** The client dies while a leg lacks a write that it was sent. */
export const diedWriting: Ground = {
  schedule: family(
    4500,
    (dice) => [
      cut(2500, dice.pick(['s1', 's2']), 800),
      power(2600 + dice.integer(500), ['c1'], 1000),
      ...(dice.oneIn(2) ? [move(3200, 'c2', false)] : []),
    ],
    { thinkMs: 200 },
  ),
};

/** A leg is dropped, and then the API server is restored from a backup in which it was in sync. */
export const restoredBackup: Ground = {
  schedule: family(9000, (dice) => [
    cut(1200, dice.pick(['s1', 's2']), 2500),
    power(3500, ['c1'], 1000),
    move(4200, 'c2', false),
  ]),
  prepare: ({ api, scheduler, services }) => {
    scheduler.after(undefined, 3800, 'restored from the backup', () => {
      api.restore(1150, true);
      // Nobody's watch outlives it.
      for (const service of services.values()) service.kill(100);
    });
  },
};

/** The in-sync replica is lost for a while, a person goes on from the other one, and then it comes back. */
export const forcedStart: Ground = {
  schedule: family(14_000, (dice) => [
    cut(1200, 's1', 2000),
    power(3200, ['c1'], 1500),
    power(3200, ['s2'], 7000 + dice.integer(3000)),
    { kind: 'force', atMs: 8000, forMs: 4000 },
    move(8500, 'c2'),
  ]),
};

/** Snapshots are taken again and again of a volume that is written to without a pause. */
export const takenOften: Ground = {
  schedule: family(
    7000,
    (dice) =>
      Array.from({ length: 16 }, (_, at): Step => ({ kind: 'snapshot', atMs: 1000 + 300 * at + dice.integer(200) })),
    { thinkMs: 2 },
  ),
};
