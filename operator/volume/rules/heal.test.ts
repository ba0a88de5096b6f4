import { describe, expect, test } from '@jest/globals';
import { parseDurationMs } from '../../../lib/api/duration.ts';
import type { Decision } from '../decision.ts';
import { factsOf } from '../facts.ts';
import type { ReplicaSketch, WorldSketch } from '../testing/world.ts';
import { ago, candidate, facts, nowMs, world } from '../testing/world.ts';
import { heal } from './heal.ts';

/** An attached volume of two replicas whose r1 was lost that long ago. */
function lost(forMs: number, more: WorldSketch = {}): WorldSketch {
  const { replicas = [{}, { leg: 'Unreachable' }], status, ...rest } = more;
  return {
    attachment: { node: 'c1', epoch: 3 },
    inSync: ['v-r0'],
    replicas,
    status: { outOfSync: { 'v-r1': { epoch: 3, at: ago(forMs), reason: 'no answer' } }, ...status },
    ...rest,
  };
}

function replaced(decision: Decision): readonly string[] {
  const { record } = decision;
  return record?.kind === 'replace' ? record.replicas.map((r) => `${r.name} ${r.role} ${r.storageNode}`) : [];
}

const note = (decision: Decision) => decision.notes?.[0];

describe('a replica that stays away is replaced', () => {
  // Given an attached volume whose replica is out of sync
  // When replicaTimeout has passed since the client recorded it, to the millisecond
  // Then it leaves and a new member is recorded in the same write
  test.each(['1ms', '250ms', '10s', '59m', '60m', '61m', '1h30m', '2h', '100h'])(
    'after exactly %s',
    (replicaTimeout) => {
      const timeoutMs = parseDurationMs(replicaTimeout);
      const spec = { healing: { replicaTimeout } };
      const sketch = { ...lost(timeoutMs - 1, { spec }), connectedForMs: 1000 * 3_600_000 };
      const before = heal(facts(sketch));
      expect(before.record).toBeUndefined();
      expect(before.lookAgainMs).toBe(1);
      const after = heal(factsOf(world(sketch), nowMs + 1));
      expect(replaced(after)).toEqual([
        'v-r0 Member s1',
        'v-r1 Leaving s2',
        expect.stringMatching(/^v-r2 Member s[34]$/),
      ]);
    },
  );

  test('the new replica gets a name that was never used, and the time of now', () => {
    const { record } = heal(facts(lost(700_000, { status: { nextReplica: 9 } })));
    expect(record).toMatchObject({ kind: 'replace', nextReplica: 10, leaving: ['v-r1'] });
    expect(record?.kind === 'replace' && record.replicas[2]).toMatchObject({ name: 'v-r9', since: ago(0) });
  });

  // Given an API server that was restored from a backup, when it has forgotten v-r2, which disks bear, then another is made.
  test('the new replica gets no name that a forgotten one may have had', () => {
    const { record } = heal(facts(lost(700_000, { metadata: { creationTimestamp: ago(86_400_000) } })));
    expect(record).toMatchObject({ nextReplica: 86_401 });
    expect(record?.kind === 'replace' && record.replicas[2]?.name).toBe('v-r86400');
    const early = heal(facts(lost(700_000, { metadata: { creationTimestamp: ago(-1000) } })));
    expect(early.record).toMatchObject({ nextReplica: 3 });
  });

  test('the same constraints hold: only a zone that the members that stay do not use', () => {
    const candidates = [candidate('s1', 'a'), candidate('s2', 'b'), candidate('x', 'a'), candidate('y', 'b')];
    expect(replaced(heal(facts(lost(700_000, { candidates }))))).toContain('v-r2 Member y');
  });

  test("the failed replica's own node is not chosen again", () => {
    const candidates = [candidate('s1', 'a'), candidate('s2', 'b')];
    const decision = heal(facts(lost(700_000, { candidates })));
    expect(decision.record).toBeUndefined();
    expect(note(decision)).toMatchObject({ reason: 'NoPlace', blocked: true });
    expect(note(decision)?.message).toMatch('held the failed replica');
    expect(decision.lookAgainMs).toBe(30_000);
  });
});

describe('a replica is not replaced', () => {
  test.each<[string, WorldSketch, string | undefined]>([
    ['while data is being copied to it', lost(700_000, { replicas: [{}, { leg: 'Syncing' }] }), undefined],
    ['while healing is paused', lost(700_000, { spec: { healing: { paused: true } } }), 'Paused'],
    ['while the client does not renew its lease', lost(700_000, { dead: { c1: nowMs - 20_000 } }), 'ClientAway'],
    [
      'while the client has no device',
      lost(700_000, { connection: { status: { phase: 'Waiting', epoch: 3 } } }),
      undefined,
    ],
    ['while the volume is detached', { ...lost(700_000), attachment: { node: '', epoch: 3 } }, undefined],
    ['while the volume is being detached', lost(700_000, { spec: { attachTo: '' } }), undefined],
    ['that is in sync, whatever its node says', { attachment: { node: 'c1', epoch: 3 }, dead: { s2: 0 } }, undefined],
  ])('%s', (_when, sketch, reason) => {
    const decision = heal(facts(sketch));
    expect(decision.record).toBeUndefined();
    expect(note(decision)?.reason).toBe(reason);
  });

  test('when it comes back to a client that has just got its device, before that had time to fetch it', () => {
    const decision = heal(facts(lost(7_000_000, { connectedForMs: 5_000 })));
    expect(decision.record).toBeUndefined();
    expect(decision.lookAgainMs).toBe(15_000);
    expect(heal(facts(lost(7_000_000, { connectedForMs: 20_000 }))).record?.kind).toBe('replace');
  });
});

// A long copy meets a hiccup of the network: throwing it away for that would begin it anew for ever.
describe('a replica whose copy stands still', () => {
  const stalled = (forMs: number): WorldSketch => {
    const sketch = lost(7_000_000, { replicas: [{}, { leg: 'Stalled' }] });
    const object = factsOf(world(sketch), nowMs).connection;
    const legs = object?.status?.legs?.map((leg) => ({ ...leg, since: ago(forMs) })) ?? [];
    return { ...sketch, connection: { status: { ...object?.status, legs } } };
  };

  test('is waited for from then on, for replicaTimeout', () => {
    const decision = heal(facts(stalled(1000)));
    expect(decision.record).toBeUndefined();
    expect(decision.lookAgainMs).toBe(599_000);
  });

  test('is replaced when it does not go on', () => {
    expect(heal(facts(stalled(600_000))).record).toMatchObject({ kind: 'replace', leaving: ['v-r1'] });
  });
});

// Found by the simulation (seed 40014096): of three storage nodes one had a new disk, and the volume never healed.
describe('a replica whose logical volume is gone', () => {
  const condition = {
    type: 'DataPresent',
    status: 'False',
    reason: 'LogicalVolumeGone',
    message: '',
    lastTransitionTime: ago(0),
  } as const;
  const gone: ReplicaSketch = { status: { phase: 'Failed', conditions: [condition] } };
  const candidates = [candidate('s1', 'a'), candidate('s2', 'b')];

  test('is replaced at once, also on its own storage node', () => {
    expect(replaced(heal(facts(lost(1000, { replicas: [{}, gone], candidates }))))).toEqual([
      'v-r0 Member s1',
      'v-r1 Leaving s2',
      'v-r2 Member s2',
    ]);
  });

  test('keeps no other replacement from its storage node while it leaves', () => {
    const replicas: ReplicaSketch[] = [{}, { ...gone, role: 'Leaving' }, { node: 's3', sinceMs: 700_000 }];
    const sketch = lost(700_000, { replicas, candidates });
    expect(replaced(heal(facts(sketch)))).toContain('v-r3 Member s2');
  });

  test('is waited for when it is there again', () => {
    const found: ReplicaSketch = { status: { conditions: [{ ...condition, status: 'True' }] } };
    expect(heal(facts(lost(1000, { replicas: [{}, found] }))).record).toBeUndefined();
  });
});

describe('further failures', () => {
  // Given a heal whose new replica does not come in sync, When its own replicaTimeout passes, Then it is replaced, too
  test('the replacement fails as well', () => {
    const sketch: WorldSketch = {
      attachment: { node: 'c1', epoch: 3 },
      inSync: ['v-r0'],
      replicas: [{}, { role: 'Leaving' }, { sinceMs: 600_000, leg: 'Connecting' }],
      status: { outOfSync: { 'v-r1': { epoch: 3, at: ago(1_300_000) } } },
    };
    expect(replaced(heal(facts(sketch)))).toEqual([
      'v-r0 Member s1',
      'v-r1 Leaving s2',
      'v-r2 Leaving s3',
      'v-r3 Member s4',
    ]);
  });

  // Given a volume that has lacked a copy for some time, When its replacement is not filled within replicaTimeout, Then it is
  // waited for as long as that: a row of replacements that come to nothing takes twice as long each, up to a bound
  test.each([
    ['not yet', 1_800_000, 1_799_999, undefined],
    ['then', 1_800_000, 1_800_000, 'replace'],
    ['at the latest after 16 times replicaTimeout', 1_000_000_000, 9_600_000, 'replace'],
  ])('a replacement of a replacement gets more time: %s', (_when, lackedMs, sinceMs, kind) => {
    const conditions = [
      {
        type: 'Redundant',
        status: 'False',
        reason: 'ReplicasAway',
        message: '',
        lastTransitionTime: ago(lackedMs + sinceMs),
      },
      { type: 'Attached', status: 'True', reason: 'Connected', message: '', lastTransitionTime: ago(2_000_000_000) },
    ] as const;
    const sketch: WorldSketch = {
      attachment: { node: 'c1', epoch: 3 },
      inSync: ['v-r0'],
      replicas: [{}, { role: 'Leaving' }, { sinceMs, leg: 'Connecting' }],
      status: { outOfSync: { 'v-r1': { epoch: 3, at: ago(lackedMs + sinceMs) } }, conditions: [...conditions] },
    };
    expect(heal(facts(sketch)).record?.kind).toBe(kind);
  });

  test('two of three replicas fail: both are replaced in one write', () => {
    const at = ago(700_000);
    const decision = heal(
      facts({
        spec: { replicas: 3, placement: { constraints: [], goals: [] } },
        attachment: { node: 'c1', epoch: 3 },
        inSync: ['v-r0'],
        replicas: [{}, {}, {}],
        status: { outOfSync: { 'v-r1': { epoch: 3, at }, 'v-r2': { epoch: 3, at } } },
        candidates: ['s1', 's2', 's3', 's4', 's5'].map((name) => candidate(name, name)),
      }),
    );
    expect(replaced(decision).filter((line) => line.includes('Leaving'))).toHaveLength(2);
    expect(replaced(decision).filter((line) => line.includes('Member'))).toHaveLength(3);
  });

  test('one of two is due, the other is due later: only the first is replaced, and the other is looked at in time', () => {
    const decision = heal(
      facts({
        spec: { replicas: 3 },
        attachment: { node: 'c1', epoch: 3 },
        inSync: ['v-r0'],
        replicas: [{}, {}, {}],
        status: { outOfSync: { 'v-r1': { epoch: 3, at: ago(600_000) }, 'v-r2': { epoch: 3, at: ago(599_000) } } },
      }),
    );
    expect(decision.record).toMatchObject({ leaving: ['v-r1'] });
  });

  test('a replica whose object someone deleted is not waited for once it is out of sync', () => {
    const decision = heal(facts(lost(1_000, { replicas: [{}, { deleted: true, leg: 'Syncing' }] })));
    expect(decision.record).toMatchObject({ kind: 'replace', leaving: ['v-r1'] });
  });
});
