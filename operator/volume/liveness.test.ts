import { expect, test } from '@jest/globals';
import { createLiveness } from './liveness.ts';

function setUp() {
  let nowMs = 0;
  let wallMs = 1_000_000;
  const flips: string[] = [];
  const liveness = createLiveness({
    witness: 'operator',
    defaultDurationMs: 10_000,
    clock: { now: () => wallMs + nowMs, monotonicMs: () => nowMs },
    onFlip: (lease, alive) => flips.push(`${nowMs / 1000} ${lease} ${alive ? 'alive' : 'stale'}`),
  });
  const renew = (name: string, seconds = 10) =>
    liveness.observe({ metadata: { name }, spec: { renewTime: String(nowMs), leaseDurationSeconds: seconds } });
  return {
    flips,
    liveness,
    renew,
    /** Lets a second pass at a time; the operator renews its own lease, and so do the others that are named. */
    pass: (seconds: number, ...alive: readonly string[]) => {
      for (let i = 0; i < seconds; i += 1) {
        nowMs += 1_000;
        for (const name of alive) renew(name);
        renew('operator', 6);
      }
    },
    setWall: (ms: number) => {
      wallMs = ms;
    },
    silence: (seconds: number) => {
      nowMs += seconds * 1_000;
    },
  };
}

test('a lease that is not renewed any more is told once, when its time has passed', () => {
  const { flips, renew, pass } = setUp();
  renew('operator', 6);
  renew('storage-s1');
  pass(30);
  expect(flips).toEqual(['0 storage-s1 alive', '10 storage-s1 stale']);
});

test('it is told when it is renewed again', () => {
  const { flips, renew, pass } = setUp();
  renew('operator', 6);
  pass(1, 'client-c1');
  pass(15);
  pass(3, 'client-c1');
  expect(flips).toEqual(['1 client-c1 alive', '11 client-c1 stale', '17 client-c1 alive']);
});

test('an operator that was cut off itself takes nobody for dead', () => {
  const { flips, pass, silence } = setUp();
  pass(3, 'storage-s1', 'client-c1');
  silence(60);
  pass(5, 'storage-s1', 'client-c1');
  expect(flips.filter((flip) => flip.includes('stale'))).toEqual([]);
});

test('a lease that is deleted belongs to nobody', () => {
  const { flips, liveness, pass } = setUp();
  pass(2, 'storage-s1');
  liveness.forget('storage-s1');
  pass(2);
  expect(flips.at(-1)).toBe('2 storage-s1 stale');
  expect(liveness.isFresh('storage-s1')).toBe(false);
});

test('a wall clock that is set makes nobody die earlier or later', () => {
  const { flips, liveness, renew, pass, setWall } = setUp();
  renew('operator', 6);
  renew('storage-s1');
  renew('storage-s2');
  pass(4, 'storage-s2');
  setWall(-3_600_000);
  pass(4, 'storage-s2');
  setWall(3_600_000);
  pass(8, 'storage-s2');
  expect(flips.slice(2)).toEqual(['10 storage-s1 stale']);
  expect(liveness.lastSeenMs('storage-s2')).toBe(3_600_000 + 16_000);
});
