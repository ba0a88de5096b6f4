/**
 * The small worlds that are searched. Each is one thing that Holdfast does, in the fewest machines in which it can be done:
 * two or three replicas, two clients, a write now and then to one of two blocks.
 */
import type { Shape } from '../schedule.ts';
import type { World } from '../world.ts';

/** Something that has come to pass, and so many milliseconds since. */
export interface Moment {
  readonly when: (world: World) => boolean;
  readonly afterMs: number;
}

export type Act =
  | { readonly kind: 'move'; readonly to: string; readonly orderly: boolean }
  | { readonly kind: 'cut'; readonly from: string; readonly to: string }
  | { readonly kind: 'power'; readonly machines: readonly string[] };

/** Something that is done to the world, and undone. */
export interface Deed {
  readonly act: Act;
  readonly at: Moment;
  readonly until?: Moment;
}

export interface Story {
  readonly name: string;
  readonly about: string;
  readonly shape?: Partial<Shape>;
  readonly deeds: readonly Deed[];
  /** Departures are made between the two. */
  readonly from: Moment;
  readonly until: Moment;
  /** The client that has it in the end; default c1. */
  readonly restsOn?: string;
}

export const SMALL: Shape = {
  storageNodes: 2,
  replicas: 2,
  clients: 2,
  legTimeout: '1s',
  replicaTimeout: '1h',
  leaseMs: 4000,
  operators: 1,
  volatileCache: false,
  mode: 'block',
  thinkMs: 300,
  teardown: false,
};

/** Two blocks of the volume, in two chunks of the bitmap. */
export const BLOCKS = [1, 17] as const;

const at = (ms: number): Moment => ({ when: () => true, afterMs: ms });
const after = (afterMs: number, when: Moment['when']): Moment => ({ when, afterMs });

const inSync = (world: World): readonly string[] => world.volume()?.status?.inSync ?? [];
/** A client has started the volume's array. */
const runsOn =
  (client: string): Moment['when'] =>
  (world) => {
    const { node, clean } = world.volume()?.status?.attachment ?? {};
    return node === client && clean === false;
  };
const isWhole: Moment['when'] = (world) => inSync(world).length === world.volume()?.spec.replicas;
const isDropped: Moment['when'] = (world) => runsOn('c1')(world) && !isWhole(world);
const isFencing: Moment['when'] = ({ api }) => [...api.replicas.rows.values()].some(({ spec }) => spec.epoch > 1);

const attached: Deed = { act: { kind: 'move', to: 'c1', orderly: true }, at: at(200) };
const move = (moment: Moment, to: string, orderly: boolean): Deed => ({
  act: { kind: 'move', to, orderly },
  at: moment,
});
/** The second leg falls silent under the first client, some writes after the start. */
const silent = (until: Moment): Deed => ({
  act: { kind: 'cut', from: 's2', to: 'c1' },
  at: after(600, runsOn('c1')),
  until,
});

export const stories: readonly Story[] = [
  {
    name: 'attach',
    about: 'a new volume is attached for the first time, and written',
    deeds: [attached],
    from: at(400),
    until: after(400, runsOn('c1')),
  },
  {
    name: 'drop',
    about: 'a leg falls silent under a writer, and is dropped',
    deeds: [attached, silent(after(1500, isDropped))],
    from: after(1600, runsOn('c1')),
    until: after(200, isDropped),
  },
  {
    name: 'rejoin',
    about: 'a leg that was dropped is drained, copied and recorded',
    deeds: [attached, silent(after(50, isDropped))],
    from: after(0, isDropped),
    until: after(100, (world) => isWhole(world) && world.network.reachable('c1', 's2') && drained(world) === 1),
  },
  {
    name: 'second',
    about: 'of three legs a second one is lost while the first one comes back',
    shape: { storageNodes: 3, replicas: 3 },
    deeds: [
      attached,
      silent(after(50, isDropped)),
      { act: { kind: 'cut', from: 's3', to: 'c1' }, at: after(100, isDropped), until: after(100, lacksThird) },
    ],
    from: after(100, isDropped),
    until: after(50, (world) => isWhole(world) && drained(world) === 2),
  },
  {
    name: 'release',
    about: 'the volume moves to another client in order',
    deeds: [attached, move(after(600, runsOn('c1')), 'c2', true)],
    from: after(600, runsOn('c1')),
    until: after(400, runsOn('c2')),
    restsOn: 'c2',
  },
  {
    name: 'fail-over',
    about: 'the volume moves to another client, while the first one writes and hears nothing; then it hears of it',
    deeds: [
      attached,
      { act: { kind: 'cut', from: 'c1', to: 'api' }, at: after(600, runsOn('c1')), until: after(300, runsOn('c2')) },
      move(after(700, runsOn('c1')), 'c2', false),
    ],
    from: after(0, isFencing),
    until: after(900, runsOn('c2')),
    restsOn: 'c2',
  },
  {
    name: 'heal',
    about: 'a replica stays away for too long and is replaced; the old one comes back and is erased',
    shape: { storageNodes: 3, replicaTimeout: '1s' },
    deeds: [
      attached,
      {
        act: { kind: 'power', machines: ['s2'] },
        at: after(600, runsOn('c1')),
        until: after(50, (world) => inSync(world).some(isReplacement)),
      },
    ],
    from: after(0, ({ api }) => [...api.replicas.rows.keys()].some(isReplacement)),
    until: after(50, ({ api }) => [...api.replicas.rows.keys()].some(isReplacement) && !api.replicas.rows.has('pg-r1')),
  },
  {
    name: 'stale',
    about: 'the client dies after a leg was dropped, and the only leg that can be reached lacks writes',
    deeds: [
      attached,
      silent(after(100, isDropped)),
      { act: { kind: 'power', machines: ['c1', 's1'] }, at: after(100, isDropped), until: after(1600, isDropped) },
      move(after(150, isDropped), 'c2', false),
    ],
    from: after(100, isDropped),
    until: after(150, runsOn('c2')),
    restsOn: 'c2',
  },
];

/** A replica that was not there from the beginning. */
const isReplacement = (name: string): boolean => name !== 'pg-r0' && name !== 'pg-r1';

function lacksThird(world: World): boolean {
  return runsOn('c1')(world) && !inSync(world).includes('pg-r2');
}

/** How many legs were asked to be drained, as they had been dropped. */
function drained({ api }: World): number {
  return [...api.replicas.rows.values()].filter(({ spec }) => spec.drain > 0).length;
}
