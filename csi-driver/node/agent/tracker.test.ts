import { describe, expect, test } from '@jest/globals';
import { LegTracker } from './tracker.ts';

const stat = (
  completed: number,
  inFlight: number,
  ioTimeMs = 0,
): { completed: number; inFlight: number; ioTimeMs: number; writtenBytes: number } => ({
  completed,
  inFlight,
  ioTimeMs,
  writtenBytes: 0,
});

describe('a leg is followed over time', () => {
  test('it works while it owes nothing or completes something', () => {
    const leg = new LegTracker(0);
    leg.sample({ live: true, stat: stat(10, 0) }, 250);
    leg.sample({ live: true, stat: stat(14, 3) }, 500);
    expect(leg.quietMs(500)).toBe(0);
    expect(leg.goodForMs(500)).toBe(250);
  });

  // Given a node that was powered off, when the kernel still believes in the controller, then I/O that stands still tells.
  test('it is quiet from the last proof on, also while the controller still counts as live', () => {
    const leg = new LegTracker(0);
    leg.sample({ live: true, stat: stat(10, 1) }, 250);
    leg.sample({ live: true, stat: stat(10, 1) }, 500);
    leg.sample({ live: true, stat: stat(10, 1) }, 2000);
    leg.sample({ live: false, stat: stat(10, 0) }, 2250);
    expect(leg.quietMs(3250)).toBe(3000);
    expect(leg.goodForMs(3250)).toBe(0);
  });

  test('a short standstill does not make it unsteady, a dead controller does', () => {
    const leg = new LegTracker(0);
    leg.sample({ live: true, stat: stat(1, 0) }, 0);
    leg.sample({ live: true, stat: stat(1, 1) }, 500);
    expect(leg.goodForMs(500)).toBe(500);
    leg.sample({ live: false, stat: stat(1, 1) }, 600);
    expect(leg.goodForMs(600)).toBe(0);
  });

  test('its latency is the mean of what ended', () => {
    const leg = new LegTracker(0);
    leg.sample({ live: true, stat: stat(10, 0, 100) }, 0);
    leg.sample({ live: true, stat: stat(14, 0, 110) }, 250);
    expect(leg.latencyMs).toBe(2.5);
  });

  test('a namespace that appears again starts anew', () => {
    const leg = new LegTracker(0);
    leg.sample({ live: true, stat: stat(500, 0) }, 0);
    leg.sample({ live: false, stat: undefined }, 1000);
    leg.sample({ live: true, stat: stat(0, 1) }, 2000);
    expect(leg.quietMs(2000)).toBe(0);
  });
});
