import type { Seen } from './scenarios.ts';

/** What Debian's 6.12 kernel showed. A scenario that is not in here has not been seen on a real kernel yet. */
export const expected: Readonly<Record<string, Seen>> = {
  firstWrite: {
    started: 'clean',
    waiting: {
      state: 'write-pending',
      write: 'waits',
    },
    after: 'done',
    state: 'active',
    bits: [0],
  },
  cutDropRejoin: {
    cut: {
      write: 'waits',
      state: 'active',
      members: ['in_sync', 'in_sync'],
      controller: 'connecting',
      path: 'failed',
    },
    dropped: {
      released: true,
      member: 'faulty,write_error',
      state: 'active',
    },
    degraded: ['done', 'done'],
    kept: [3, 7],
    lacks: [48, 112, 113],
    removed: true,
    live: true,
    back: true,
    after: {
      members: ['in_sync', 'in_sync'],
      differ: [],
    },
    cleared: [[], []],
  },
  pathErrors: {
    broken: {
      write: 'waits',
      state: 'active',
      member: 'in_sync',
      controller: 'live',
      path: 'failed',
    },
    released: true,
    member: 'in_sync',
    differ: [],
  },
  fullDisk: {
    held: { writes: ['waits', 'waits'], state: 'write-pending', isBlocked: true },
    unblocked: { writes: ['waits', 'waits'], state: 'write-pending' },
    released: ['done', 'done'],
    isFaulty: true,
  },
  fullBitmap: {
    first: {
      write: 'done',
      state: 'write-pending',
      member: 'faulty,blocked,write_error,want_replacement',
    },
    later: 'waits',
  },
  faultyFirst: {
    failed: {
      write: 'waits',
      state: 'write-pending',
      member: 'faulty,blocked',
    },
    opened: 'done',
    state: 'write-pending',
  },
  allLegsAway: {
    away: {
      write: 'waits',
      members: ['in_sync', 'in_sync'],
    },
    live: {
      write: 'waits',
      paths: ['failed', 'failed'],
    },
    released: true,
    state: 'active',
    differ: [],
  },
  uncleanResync: {
    stopped: [],
    back: true,
    differ: [144],
    isResynced: true,
    bits: [[], []],
  },
  uncleanNone: {
    stopped: [],
    back: true,
    differ: [49, 144],
    isResynced: true,
    bits: [[], []],
  },
  fullRecovery: {
    alone: ['done', 'done'],
    during: 'done',
    back: true,
    members: ['in_sync', 'in_sync'],
    differ: [],
  },
  degradedRestart: {
    degraded: [4],
    stopped: [4],
    isResynced: true,
    restarted: [6],
    back: true,
    differ: 1,
  },
  fenced: {
    gone: false,
    after: {
      write: 'waits',
      member: 'in_sync',
      path: 'failed',
      below: 1,
    },
    released: true,
  },
  refused: {
    gone: true,
    after: {
      write: 'waits',
      member: 'in_sync',
      path: 'failed',
      below: 1,
    },
    released: true,
  },
  lastLeg: {
    before: 'done',
    asked: 'EBUSY',
    member: 'in_sync',
    state: 'active',
    after: 'error',
  },
  refusals: {
    held: 'EBUSY',
    inSync: 'EBUSY',
    valve: 'refused',
    twice: 'EEXIST',
    free: 'done',
    left: 'gone',
  },
  halfJoined: {
    before: {
      action: 'frozen',
      member: 'spare',
    },
    later: {
      action: 'frozen',
      member: 'spare',
    },
    back: true,
    differ: [],
  },
  stopWhileCut: { waiting: { stopped: false, path: 'failed' }, stopped: true, left: 'gone' },
  assembleWhileCut: { waiting: { started: false, path: 'failed' }, came: true, state: 'readonly' },
  removeWhileWaiting: {
    waiting: { removed: 'waits', writes: ['waits', 'waits'] },
    released: true,
    removed: 'done',
    member: 'gone',
  },
  flushed: {
    array: [true, true],
    leg: [false, true],
    cleared: [true, true],
    copy: [false, false],
  },
  whichBitmap: { back: true, differ: [48] },
};
