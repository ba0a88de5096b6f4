import { describe, expect, test } from '@jest/globals';
import type { Cluster } from './testing/cluster.ts';
import { createCluster } from './testing/cluster.ts';

function fourZones(): Cluster {
  const cluster = createCluster();
  for (const zone of ['a', 'b', 'c', 'd']) cluster.addNode(`s-${zone}`, { zone });
  return cluster;
}

/** What the end of the story looks like, without what depends on how often the operator had to begin again. */
function summary(cluster: Cluster) {
  const { status } = cluster.volume('pg');
  return {
    phase: status?.phase,
    inSync: status?.inSyncSummary,
    members: status?.replicas?.map(({ role }) => role),
    node: status?.attachment?.node,
    clean: status?.attachment?.clean,
    replicas: cluster.api.replicas.rows.size,
    connections: cluster.api.connections.rows.size,
  };
}

/** Create, attach, lose a leg for good, heal, erase the orphan, lose the client, move on. Gives the state at each step. */
async function story(cluster: Cluster): Promise<readonly object[]> {
  const steps: object[] = [];
  const note = () => steps.push(summary(cluster));
  const member = (ordinal: number) => cluster.volume('pg').status?.replicas?.[ordinal]?.storageNode ?? '';

  await cluster.createVolume('pg');
  await cluster.settle();
  note();

  await cluster.edit('pg', { attachTo: 'c1' });
  await cluster.settle();
  expect(cluster.write('pg')).toBe(true);
  note();

  const failed = member(1);
  cluster.power(failed, false);
  expect(cluster.write('pg')).toBe(false);
  await cluster.settle();
  expect(cluster.write('pg')).toBe(true);
  note();

  await cluster.advance(61_000);
  expect(cluster.write('pg')).toBe(true);
  note();

  cluster.power(failed, true);
  await cluster.advance(1_000);
  note();

  cluster.power('c1', false);
  await cluster.edit('pg', { attachTo: '' });
  await cluster.advance(11_000);
  await cluster.edit('pg', { attachTo: 'c2' });
  await cluster.settle();
  expect(cluster.write('pg')).toBe(true);
  note();

  cluster.power('c1', true);
  await cluster.advance(1_000);
  expect(cluster.write('pg')).toBe(true);
  note();

  await cluster.edit('pg', { attachTo: '' });
  await cluster.settle();
  note();

  await cluster.deleteVolume('pg');
  await cluster.settle();
  expect([...cluster.api.volumes.rows.keys()]).toEqual([]);
  expect([...cluster.api.replicas.rows.keys()]).toEqual([]);
  expect([...cluster.api.connections.rows.keys()]).toEqual([]);
  return steps;
}

const both = ['Member', 'Member'];
const expected = [
  { phase: 'Healthy', inSync: '2/2', members: both, node: '', clean: true, replicas: 2, connections: 0 },
  { phase: 'Healthy', inSync: '2/2', members: both, node: 'c1', clean: false, replicas: 2, connections: 1 },
  { phase: 'Degraded', inSync: '1/2', members: both, node: 'c1', clean: false, replicas: 2, connections: 1 },
  // The failed node is still off: its orphan waits for it and the volume no longer names it.
  { phase: 'Healthy', inSync: '2/2', members: both, node: 'c1', clean: false, replicas: 3, connections: 1 },
  { phase: 'Healthy', inSync: '2/2', members: both, node: 'c1', clean: false, replicas: 2, connections: 1 },
  // The dead client has to clean up before it may have the volume again: its connection is kept until then.
  { phase: 'Healthy', inSync: '2/2', members: both, node: 'c2', clean: false, replicas: 2, connections: 2 },
  { phase: 'Healthy', inSync: '2/2', members: both, node: 'c2', clean: false, replicas: 2, connections: 1 },
  { phase: 'Healthy', inSync: '2/2', members: both, node: '', clean: true, replicas: 2, connections: 0 },
];

describe('the whole story of a volume', () => {
  test('every step ends as it should, and no write breaks a law', async () => {
    expect(await story(fourZones())).toEqual(expected);
  });

  test('it ends the same when the operator is killed after every single write', async () => {
    const cluster = fourZones();
    cluster.crashEvery(1);
    expect(await story(cluster)).toEqual(expected);
    expect(cluster.crashes()).toBeGreaterThan(30);
  });

  test.each([2, 3, 5, 7])('it ends the same when the operator is killed after every %i writes', async (writes) => {
    const cluster = fourZones();
    cluster.crashEvery(writes);
    expect(await story(cluster)).toEqual(expected);
  });

  test('it ends the same when the informers are behind, each on its own', async () => {
    const cluster = fourZones();
    cluster.lag(true);
    expect(await story(cluster)).toEqual(expected);
  });

  test('it ends the same when the informers are behind and the operator is killed all the time', async () => {
    const cluster = fourZones();
    cluster.lag(true);
    cluster.crashEvery(1);
    expect(await story(cluster)).toEqual(expected);
  });
});
