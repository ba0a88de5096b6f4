import { describe, expect, test } from '@jest/globals';
import { plan } from '../plan.ts';
import type { WorldSketch } from '../testing/world.ts';
import { ago, candidate, nowMs, world } from '../testing/world.ts';
import type { VolumeStatus } from '../model.ts';
import { mergePatch } from '../merge-patch.ts';

const attachment = { node: 'c1', epoch: 3 };

/** The status after the plan is written. */
function told(sketch: WorldSketch): VolumeStatus {
  const before = world(sketch);
  return mergePatch(before.volume.status ?? {}, plan(before, nowMs).status ?? {}) as VolumeStatus;
}

const lostReplica = (more: WorldSketch = {}): WorldSketch => ({
  attachment,
  inSync: ['v-r0'],
  replicas: [{}, { leg: 'Unreachable' }],
  status: { outOfSync: { 'v-r1': { epoch: 3, at: '2026-01-01T11:59:48Z', reason: 'no answer for 3000 ms' } } },
  ...more,
});

describe('phase and message answer whether the volume is safe', () => {
  test.each<[string, WorldSketch, string, string | RegExp]>([
    ['not placed', { attachment: null, replicas: [], candidates: [] }, 'Pending', 'there are no storage nodes'],
    [
      'being made',
      { attachment: null, replicas: [{}, { status: { phase: 'Pending', message: 'lvcreate runs' } }] },
      'Creating',
      'waits for v-r1 on s2: it is being made: lvcreate runs',
    ],
    ['at rest', {}, 'Healthy', 'all 2 replicas are in sync'],
    ['in use', { attachment }, 'Healthy', 'all 2 replicas are in sync'],
    [
      'a replica is away: since when, why, and what comes next',
      lostReplica(),
      'Degraded',
      '1 of 2 replicas in sync; v-r1 on s2 away since 2026-01-01T11:59:48Z (no answer for 3000 ms); heals onto another node at 2026-01-01T12:09:48Z',
    ],
    [
      'a replica is being caught up',
      lostReplica({ replicas: [{}, { leg: 'Syncing' }] }),
      'Healing',
      '1 of 2 replicas in sync; data is being copied to v-r1 on s2',
    ],
    [
      'a replica is due and there is no place',
      lostReplica({
        candidates: [candidate('s1', 'a'), candidate('s2', 'b')],
        spec: { healing: { replicaTimeout: '1s' } },
      }),
      'Degraded',
      /can't be replaced: 0 of 2 storage nodes fit: 1 .*, 1 held the failed replica/,
    ],
    ['healing is paused', lostReplica({ spec: { healing: { paused: true } } }), 'Degraded', /while healing is paused/],
    [
      'detached with a replica missing',
      lostReplica({ attachment: { node: '', epoch: 3 } }),
      'Degraded',
      /comes back when the volume is attached next/,
    ],
    ['detached, and a node is away', { dead: { s2: 0 } }, 'Degraded', /storage agent of v-r1 on s2 does not answer/],
    ['in use, and only the agent is away', { attachment, dead: { s2: 0 } }, 'Healthy', 'all 2 replicas are in sync'],
    [
      'no in-sync replica can be reached',
      {
        attachment: { node: '', epoch: 3 },
        spec: { attachTo: 'c1' },
        dead: { s1: 0, s2: 0 },
        replicas: [{ spec: { epoch: 4, hostNqn: 'nqn.2026-01.dev.holdfast:client:c1' }, status: { fencedEpoch: 3 } }],
        inSync: ['v-r0'],
      },
      'Waiting',
      /attaching to c1: waits for v-r0 on s1: no in-sync replica can be reached/,
    ],
    [
      'the client has lost all legs',
      { attachment, connection: { status: { phase: 'Waiting', epoch: 3, message: 'I/O waits' } } },
      'Waiting',
      'c1 waits for its legs: I/O waits',
    ],
    [
      'the client is not heard of',
      { attachment, dead: { c1: 0 } },
      'Healthy',
      /c1 does not renew its lease; to use the volume elsewhere, detach it from c1/,
    ],
    [
      'being deleted while attached',
      { attachment, metadata: { deletionTimestamp: ago(1) } },
      'Deleting',
      'deletion waits: the volume is attached to c1; detach it first',
    ],
  ])('%s', (_what, sketch, phase, message) => {
    const status = told(sketch);
    expect(status.phase).toBe(phase);
    expect(status.message).toEqual(typeof message === 'string' ? message : expect.stringMatching(message));
  });

  test('the figures for a glance', () => {
    expect(told(lostReplica())).toMatchObject({ inSyncSummary: '1/2', size: '1.0 GiB' });
  });
});

const of = (sketch: WorldSketch) =>
  Object.fromEntries((told(sketch).conditions ?? []).map(({ type, status, reason }) => [type, `${status} ${reason}`]));

describe('conditions', () => {
  test('of a volume in use', () => {
    expect(of({ attachment })).toEqual({
      Placed: 'True Placed',
      Ready: 'True Usable',
      Redundant: 'True AllInSync',
      Consistent: 'True Agrees',
      Attached: 'True Connected',
      Healing: 'False NotNeeded',
    });
  });

  test('of a volume that heals', () => {
    const replicas = [{}, { role: 'Leaving' as const }, { leg: 'Syncing' as const }];
    expect(of(lostReplica({ replicas }))).toMatchObject({
      Ready: 'True Usable',
      Redundant: 'False ReplicasAway',
      Healing: 'True Replacing',
    });
  });

  test('of one that waits for a place to heal onto', () => {
    const candidates = [candidate('s1', 'a'), candidate('s2', 'b')];
    expect(of(lostReplica({ candidates, spec: { healing: { replicaTimeout: '1s' } } })).Healing).toBe('False NoPlace');
  });

  test('of one that has no place', () => {
    expect(of({ attachment: null, replicas: [], candidates: [] })).toMatchObject({
      Placed: 'False NoPlace',
      Ready: 'False Pending',
    });
  });

  test('conditions of others stay', () => {
    const formatting = {
      type: 'Formatting',
      status: 'True' as const,
      reason: 'X',
      message: '',
      lastTransitionTime: ago(1),
    };
    expect(told({ status: { conditions: [formatting] } }).conditions).toContainEqual(formatting);
  });
});
