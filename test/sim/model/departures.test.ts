import { expect, test } from '@jest/globals';
import type { Departure } from './departures.ts';
import { departuresOf } from './departures.ts';
import type { Traced } from './trace.ts';

const event = (at: number, program: string, label: string, more: Partial<Traced> = {}): Traced => ({
  at,
  atMs: at,
  label,
  program,
  isOwn: true,
  cause: -1,
  reads: 0,
  writes: 0,
  links: [],
  ...more,
});

const range = { fromMs: 0, untilMs: 1000, from: 0 };
const of = (kind: Departure['kind'], trace: readonly Traced[], each?: number): Departure[] =>
  departuresOf(trace, range, each).filter((departure) => departure.kind === kind);

test('a program is killed before each of its events, but not before what a watch brings it', () => {
  const trace = [
    event(0, 'agent c1', 'echo frozen > sync_action'),
    event(1, 'agent c1', 'agent c1 watches VolumeConnection'),
    event(2, 'agent c1', 'agent c1 patch Lease client-c1 answered'),
    event(3, 'kernel of c1', 'md thread'),
    event(4, 'operator', 'timer'),
  ];
  expect(of('kill', trace).map(({ at, who }) => [at, who])).toEqual([
    [0, 'agent c1'],
    [4, 'operator'],
  ]);
});

test('a machine loses power where something of it is left that was not there the last time', () => {
  const trace = [
    event(0, 'kernel of s1', 'command'),
    event(1, 'kernel of s1', 'bookkeeping'),
    event(2, 'kernel of s1', 'disk'),
    event(3, 'kernel of s1', 'bookkeeping'),
    event(4, 'agent s1', 'agent s1 get VolumeReplica pg-r0 answered'),
    event(5, 'agent s1', 'mkdir subsystems/x'),
    event(6, 'agent s1', 'timer'),
  ];
  expect(of('power', trace).map(({ at, who }) => [at, who])).toEqual([
    [0, 's1'],
    [3, 's1'],
    [6, 's1'],
  ]);
});

test('a link is cut before each event that sends something over it', () => {
  const trace = [
    event(0, 'kernel of c1', 'pod', { links: ['c1-s1', 'c1-s2'] }),
    event(1, 'kernel of c1', 'raid1d'),
    event(2, 'agent c1', 'agent c1 get x', { isOwn: false, links: ['api-c1'] }),
  ];
  expect(of('cut', trace).map(({ at, who }) => `${at} ${who}`)).toEqual(['0 c1-s1', '0 c1-s2', '2 api-c1']);
});

test('an event is overtaken only by what does not commute with it, and never by what comes from it', () => {
  const trace = [
    event(0, 'agent c1', 'agent c1 patch ReplicatedVolume pg', { isOwn: false, writes: 1 }),
    event(1, 'agent s1', 'mkdir subsystems/x', { writes: 4 }),
    event(2, 'agent c1', 'agent c1 patch ReplicatedVolume pg answered', { cause: 0, writes: 1 }),
    event(3, 'operator', 'operator get ReplicatedVolume pg', { isOwn: false, reads: 1 }),
    event(4, 'operator', 'operator patch ReplicatedVolume pg', { isOwn: false, writes: 1 }),
  ];
  const late = of('late', trace).filter(({ at }) => at === 0);
  expect(late.map(({ waitMs }) => Math.floor(waitMs ?? 0))).toEqual([3, 4]);
});

test('lateness goes one by one, and then in doubling steps', () => {
  const trace = [
    event(0, 'agent c1', 'one', { writes: 1 }),
    ...Array.from({ length: 20 }, (_, i) => event(i + 1, 'kernel of c1', 'md thread', { writes: 1 })),
  ];
  const waits = (each: number): number[] =>
    of('late', trace, each)
      .filter(({ at }) => at === 0)
      .map(({ waitMs }) => Math.floor(waitMs ?? 0));
  expect(waits(1)).toEqual([1, 2, 4, 8, 16]);
  expect(waits(3)).toEqual([1, 2, 3, 6, 12]);
});
